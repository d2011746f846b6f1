"""Solutions of batch_norm_input_grad as different students write them: dx after a TRAIN and after a PROBE pass."""

import numpy as np

from minidl.kernels.reference import batch_norm_dx, batch_norm_sums


def right_from_the_kernels(self, dy, cache):
    x, mean, inv_std, training = cache
    gamma = self.params["gamma"].value
    if training:
        dgamma, dbeta = batch_norm_sums(dy, x, mean, inv_std)
        return batch_norm_dx(dy, x, mean, inv_std, gamma, dgamma, dbeta)
    return gamma * inv_std * dy


def right_three_ways(self, dy, cache):
    axes = tuple(range(dy.ndim - 1))
    dxhat = dy * self.params["gamma"].value
    dx = dxhat * cache.inv_std
    if cache.training:
        m = cache.x.size // cache.x.shape[-1]
        centred = cache.x - cache.mean
        dvar = (dxhat * centred).sum(axis=axes) * -0.5 * cache.inv_std**3
        dmean = -cache.inv_std * dxhat.sum(axis=axes)
        dx = dx + dvar * 2 * centred / m + dmean / m
    return dx


def right_jacobian(self, dy, cache):
    gamma = self.params["gamma"].value
    dx = np.empty(dy.shape, dy.dtype)
    for c in range(dy.shape[-1]):
        g = dy[..., c].ravel()
        jacobian = np.eye(g.size, dtype=dy.dtype)
        if cache.training:
            xhat = (cache.x[..., c].ravel() - cache.mean[c]) * cache.inv_std[c]
            jacobian -= (1 + np.outer(xhat, xhat)) / g.size
        dx[..., c] = (gamma[c] * cache.inv_std[c] * (jacobian @ g)).reshape(dy.shape[:-1])
    return dx


def right_projection(self, dy, cache):
    scale = self.params["gamma"].value * cache.inv_std
    if not cache.training:
        return np.einsum("...c,c->...c", dy, scale)
    rows = dy.reshape(-1, dy.shape[-1])
    xhat = ((cache.x - cache.mean) * cache.inv_std).reshape(rows.shape)
    rest = rows - rows.mean(axis=0) - xhat * (rows * xhat).mean(axis=0)
    return (rest * scale).reshape(dy.shape)


def wrong_always_as_in_training(self, dy, cache):
    """uses the formula of training after a PROBE pass too, where mean and variance are constants"""
    gamma = self.params["gamma"].value
    axes = tuple(range(dy.ndim - 1))
    xhat = (cache.x - cache.mean) * cache.inv_std
    return gamma * cache.inv_std * (dy - dy.mean(axis=axes) - xhat * (dy * xhat).mean(axis=axes))


def wrong_always_as_in_probe(self, dy, cache):
    """takes mean and variance for constants in training too"""
    scale = self.params["gamma"].value * cache.inv_std
    return np.einsum("...c,c->...c", dy, scale)


def wrong_modes_swapped(self, dy, cache):
    """swaps the two formulas"""
    x, mean, inv_std, training = cache
    gamma = self.params["gamma"].value
    if training:
        return dy * gamma * inv_std
    dgamma, dbeta = batch_norm_sums(dy, x, mean, inv_std)
    return batch_norm_dx(dy, x, mean, inv_std, gamma, dgamma, dbeta)


def wrong_gamma_forgotten_in_probe(self, dy, cache):
    """forgets gamma after a PROBE pass"""
    if not cache.training:
        return dy * cache.inv_std
    m = dy.size // dy.shape[-1]
    axes = tuple(range(dy.ndim - 1))
    xhat = (cache.x - cache.mean) * cache.inv_std
    total = m * dy - dy.sum(axis=axes) - xhat * (dy * xhat).sum(axis=axes)
    return self.params["gamma"].value * cache.inv_std / m * total


def wrong_adds_to_the_parameters(self, dy, cache):
    """adds dgamma and dbeta to the gradients of the parameters, which input_grad must not change"""
    gamma = self.params["gamma"].value
    dgamma, dbeta = batch_norm_sums(dy, cache.x, cache.mean, cache.inv_std)
    self.params["gamma"].grad += dgamma
    self.params["beta"].grad += dbeta
    if cache.training:
        return batch_norm_dx(dy, cache.x, cache.mean, cache.inv_std, gamma, dgamma, dbeta)
    return dy * (gamma * cache.inv_std)


def wrong_beta_for_gamma(self, dy, cache):
    """multiplies by beta in place of gamma"""
    x, mean, inv_std, training = cache
    factor = self.params["beta"].value * inv_std
    if not training:
        return dy * factor
    rows, xhat = dy.reshape(-1, len(mean)), ((x - mean) * inv_std).reshape(-1, len(mean))
    dx = (rows - rows.mean(0) - xhat * (rows * xhat).mean(0)) * factor
    return dx.reshape(x.shape)


def wrong_mean_gradient_through_the_batch_axis(self, dy, cache):
    """takes the means over the batch axis only"""
    scale = self.params["gamma"].value * cache.inv_std
    if not cache.training:
        return scale * dy
    xhat = (cache.x - cache.mean) * cache.inv_std
    return scale * (dy - dy.mean(axis=0) - xhat * (dy * xhat).mean(axis=0))


def wrong_variance_without_the_cube(self, dy, cache):
    """uses inv_std in place of its cube in the derivative of the variance"""
    axes = tuple(range(dy.ndim - 1))
    dxhat = self.params["gamma"].value * dy
    if not cache.training:
        return dxhat * cache.inv_std
    m = dy.size // dy.shape[-1]
    dvar = np.sum(dxhat * (cache.x - cache.mean) * -0.5 * cache.inv_std, axis=axes)
    dmean = np.sum(-dxhat * cache.inv_std, axis=axes)
    return dxhat * cache.inv_std + dvar * 2 * (cache.x - cache.mean) / m + dmean / m


def wrong_running_variance(self, dy, cache):
    """takes the running variance in place of the cached inv_std"""
    inv_std = (1 / np.sqrt(self.buffers["running_var"] + self.eps)).astype(dy.dtype)
    gamma = self.params["gamma"].value
    if not cache.training:
        return dy * gamma * inv_std
    axes = tuple(range(dy.ndim - 1))
    xhat = (cache.x - cache.mean) * inv_std
    return gamma * inv_std * (dy - dy.mean(axis=axes) - xhat * (dy * xhat).mean(axis=axes))
