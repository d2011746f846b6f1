"""Wrong answers to batch_norm_input_grad; each says first which diagnosis it must get."""

import numpy as np


def _bracket(dy, cache, mean=True, variance=True, m=None):
    xhat = (cache.x - cache.mean) * cache.inv_std
    axes = tuple(range(dy.ndim - 1))
    m = m or dy.size // dy.shape[-1]
    return dy - mean * dy.sum(axes) / m - variance * xhat * (dy * xhat).sum(axes) / m


def wrong_one_formula(self, dy, cache):
    """typical TRAIN formula always: doesn't look at the mode"""
    return _bracket(dy, cache) * cache.inv_std * self.params["gamma"].value


def wrong_linear(self, dy, cache):
    """typical PROBE formula always: BN as a linear map"""
    return np.einsum("...c,c->...c", dy, cache.inv_std * self.params["gamma"].value)


def wrong_centered(self, dy, cache):
    """typical no path through the variance: takes the mean away only"""
    scale = cache.inv_std * self.params["gamma"].value
    return scale * (_bracket(dy, cache, variance=False) if cache.training else dy)


def wrong_like_backward(self, dy, cache):
    """typical gradients added: calls backward"""
    return self.backward(dy, cache)


def wrong_batch_size(self, dy, cache):
    """typical N for M: divides by the batch size"""
    scale = cache.inv_std * self.params["gamma"].value
    return scale * (_bracket(dy, cache, m=len(dy)) if cache.training else dy)


def wrong_signal(self, dy, cache):
    """typical dy passed through in PROBE: what the deconvnet may do"""
    return _bracket(dy, cache) * cache.inv_std * self.params["gamma"].value if cache.training else dy


def wrong_attribute(self, dy, cache):
    """raises: looks for gamma where it isn't"""
    return dy * self.gamma * cache.inv_std


def wrong_negative(self, dy, cache):
    """sign: subtracts the wrong way round"""
    return -cache.inv_std * self.params["gamma"].value * (_bracket(dy, cache) if cache.training else dy)


def wrong_root(self, dy, cache):
    """outputs: takes another root of inv_std"""
    scale = np.sqrt(cache.inv_std) * self.params["gamma"].value
    return scale * (_bracket(dy, cache) if cache.training else dy)
