"""Solutions of batch_norm_sums as different students write them: dgamma and dbeta."""

import numpy as np


def right_einsum(dy, x, mean, inv_std):
    xhat = ((x - mean) * inv_std).reshape(-1, len(mean))
    g = dy.reshape(xhat.shape)
    return np.einsum("mc,mc->c", g, xhat), np.einsum("mc->c", g)


def right_one_channel_after_the_other(dy, x, mean, inv_std):
    c = x.shape[-1]
    dgamma, dbeta = np.zeros(c, dy.dtype), np.zeros(c, dy.dtype)
    for k in range(c):
        g = dy[..., k]
        dgamma[k] = np.vdot(g, (x[..., k] - mean[k]) * inv_std[k])
        dbeta[k] = g.sum()
    return dgamma, dbeta


def right_rows_added_up(dy, x, mean, inv_std):
    dgamma = np.zeros(mean.shape, dy.dtype)
    dbeta = np.zeros_like(dgamma)
    c = dy.shape[-1]
    for g, row in zip(dy.reshape(-1, c), x.reshape(-1, c), strict=True):
        dbeta += g
        dgamma += g * (row - mean) * inv_std
    return dgamma, dbeta


def right_inv_std_outside(dy, x, mean, inv_std):
    axes = tuple(range(dy.ndim - 1))
    dbeta = dy.sum(axis=axes)
    dgamma = (dy * (x - mean)).sum(axis=axes) * inv_std
    return dgamma, dbeta


def wrong_x_in_place_of_xhat(dy, x, mean, inv_std):
    """multiplies dy by x in place of the normalized x"""
    axes = tuple(range(x.ndim - 1))
    return (dy * x).sum(axis=axes), dy.sum(axis=axes)


def wrong_order(dy, x, mean, inv_std):
    """returns (dbeta, dgamma) in place of (dgamma, dbeta)"""
    g = dy.reshape(-1, len(mean))
    xhat = (x.reshape(g.shape) - mean) * inv_std
    return np.einsum("mc->c", g), np.einsum("mc,mc->c", g, xhat)


def wrong_means(dy, x, mean, inv_std):
    """takes means where the gradients are sums"""
    axes = tuple(range(x.ndim - 1))
    return np.mean(dy * (x - mean) * inv_std, axis=axes), np.mean(dy, axis=axes)


def wrong_batch_axis_only(dy, x, mean, inv_std):
    """sums over the batch only and keeps one number for each pixel"""
    xhat = (x - mean) * inv_std
    return np.sum(dy * xhat, axis=0), np.sum(dy, axis=0)


def wrong_inv_std_forgotten(dy, x, mean, inv_std):
    """subtracts the mean but forgets inv_std"""
    flat = dy.reshape(-1, dy.shape[-1])
    centred = x.reshape(-1, x.shape[-1]) - mean
    return np.einsum("mc,mc->c", flat, centred), flat.sum(0)


def wrong_product_of_the_sums(dy, x, mean, inv_std):
    """multiplies the sum of dy by the sum of xhat in place of summing the products"""
    axes = tuple(range(x.ndim - 1))
    xhat = (x - mean) * inv_std
    dbeta = dy.sum(axis=axes)
    return dbeta * xhat.sum(axis=axes), dbeta


def wrong_all_channels_together(dy, x, mean, inv_std):
    """sums over the channels too"""
    c = x.shape[-1]
    xhat = (x - mean) * inv_std
    dtype = dy.dtype
    return np.full(c, (dy * xhat).sum(), dtype), np.full(c, dy.sum(), dtype)


def wrong_divides_by_inv_std(dy, x, mean, inv_std):
    """divides by inv_std as if it were the standard deviation"""
    dgamma = np.zeros_like(mean)
    dbeta = np.zeros_like(mean)
    for c in range(len(mean)):
        xhat = (x[..., c] - mean[c]) / inv_std[c]
        dgamma[c] = (dy[..., c] * xhat).sum()
        dbeta[c] = dy[..., c].sum()
    return dgamma, dbeta


def wrong_dbeta_with_inv_std(dy, x, mean, inv_std):
    """multiplies dbeta by inv_std too, although beta is added after the scaling"""
    axes = tuple(range(dy.ndim - 1))
    g = dy * inv_std
    return (g * (x - mean)).sum(axes), g.sum(axes)


def wrong_centres_the_input(dy, x, mean, inv_std):
    """normalizes the input of the caller in place"""
    axes = tuple(range(x.ndim - 1))
    x -= mean
    x *= inv_std
    return (dy * x).sum(axis=axes), dy.sum(axis=axes)
