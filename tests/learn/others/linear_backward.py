"""Solutions of linear_backward as different students write them: dw, db and dx of a linear layer."""

import numpy as np


def right_matrix_products(self, dy, cache, need_dx=True):
    x = cache
    dw = np.dot(x.T, dy)
    self.params["weight"].grad[...] += dw
    if "bias" in self.params:
        db = np.ones(len(dy), dy.dtype) @ dy
        self.params["bias"].grad[...] += db
    if not need_dx:
        return None
    return np.dot(dy, self.params["weight"].value.T)


def right_einsum(self, dy, cache, need_dx=True):
    weight = self.params["weight"]
    weight.grad += np.einsum("nd,nk->dk", cache, dy)
    if "bias" in self.params:
        self.params["bias"].grad += np.einsum("nk->k", dy)
    return np.einsum("nk,dk->nd", dy, weight.value) if need_dx else None


def right_sample_by_sample(self, dy, cache, need_dx=True):
    w = self.params["weight"].value
    dx = np.zeros(cache.shape, dy.dtype)
    for n in range(dy.shape[0]):
        self.params["weight"].grad += np.outer(cache[n], dy[n])
        if "bias" in self.params:
            self.params["bias"].grad += dy[n]
        dx[n] = w @ dy[n]
    if need_dx:
        return dx


def right_broadcast(self, dy, cache, need_dx=True):
    p = self.params
    dw = (cache[:, :, None] * dy[:, None, :]).sum(axis=0)  # (N, D, K) -> (D, K)
    np.add(p["weight"].grad, dw, out=p["weight"].grad)
    if "bias" in p:
        np.add(p["bias"].grad, dy.sum(0), out=p["bias"].grad)
    if need_dx:
        return (dy[:, None, :] * p["weight"].value[None]).sum(-1)
    return None


def wrong_overwrites_the_gradient(self, dy, cache, need_dx=True):
    """overwrites the gradients of the parameters where it must add to them"""
    self.params["weight"].grad[:] = cache.T @ dy
    if "bias" in self.params:
        self.params["bias"].grad[:] = np.sum(dy, axis=0)
    return dy @ self.params["weight"].value.T if need_dx else None


def wrong_mean_over_the_batch(self, dy, cache, need_dx=True):
    """divides the gradients of the parameters by the batch size"""
    n = dy.shape[0]
    self.params["weight"].grad += np.einsum("nd,nk->dk", cache, dy) / n
    if "bias" in self.params:
        self.params["bias"].grad += dy.mean(axis=0)
    if need_dx:
        return dy @ self.params["weight"].value.T
    return None


def wrong_dw_of_the_first_sample(self, dy, cache, need_dx=True):
    """computes dw from the first sample of the batch only"""
    self.params["weight"].grad += np.outer(cache[0], dy[0])
    if "bias" in self.params:
        self.params["bias"].grad += dy.sum(axis=0)
    return np.einsum("nk,dk->nd", dy, self.params["weight"].value) if need_dx else None


def wrong_bias_gets_one_number(self, dy, cache, need_dx=True):
    """sums dy over all axes for the bias, so that every bias receives the same number"""
    self.params["weight"].grad += np.tensordot(cache, dy, axes=(0, 0))
    if "bias" in self.params:
        self.params["bias"].grad += np.sum(dy)
    if need_dx:
        return np.tensordot(dy, self.params["weight"].value, axes=(1, 1))
    return None


def wrong_bias_over_the_outputs(self, dy, cache, need_dx=True):
    """sums dy over the outputs (axis 1) in place of the batch for the bias"""
    self.params["weight"].grad += cache.transpose() @ dy
    if "bias" in self.params:
        self.params["bias"].grad += dy.sum(axis=1)
    return dy @ self.params["weight"].value.T if need_dx else None


def wrong_bias_forgotten(self, dy, cache, need_dx=True):
    """never computes the gradient of the bias"""
    for n in range(len(dy)):
        self.params["weight"].grad += cache[n][:, None] * dy[n][None, :]
    return self.input_grad(dy, cache) if need_dx else None


def wrong_dw_transposed(self, dy, cache, need_dx=True):
    """computes dw as dy.T @ x, which has the axes the other way round"""
    x, weight = cache, self.params["weight"]
    weight.grad += dy.T @ x
    if "bias" in self.params:
        self.params["bias"].grad += dy.sum(axis=0)
    if need_dx:
        return dy @ weight.value.T
    return None


def wrong_dx_without_transpose(self, dy, cache, need_dx=True):
    """multiplies dy by the weight without transposing it, which fits square weights only"""
    self.params["weight"].grad += cache.T @ dy
    if "bias" in self.params:
        self.params["bias"].grad += dy.sum(axis=0)
    if not need_dx:
        return None
    return np.matmul(dy, self.params["weight"].value)


def wrong_dx_from_the_gradient(self, dy, cache, need_dx=True):
    """multiplies dy by the gradient of the weight in place of its value"""
    w = self.params["weight"].grad
    w += cache.T @ dy
    if "bias" in self.params:
        self.params["bias"].grad += dy.sum(axis=0)
    return dy @ w.T if need_dx else None


def wrong_returns_all_three(self, dy, cache, need_dx=True):
    """returns (dx, dw, db) as in CS231n where dx alone is wanted"""
    dx = dy.dot(self.params["weight"].value.T)
    dw = cache.T.dot(dy)
    db = dy.sum(axis=0)
    self.params["weight"].grad += dw
    if "bias" in self.params:
        self.params["bias"].grad += db
    return (dx, dw, db) if need_dx else None
