"""Wrong answers to global_avg_pool_dx; each says first which diagnosis it must get."""

import numpy as np


def wrong_repeated(self, dy, cache):
    """typical not divided: in a loop"""
    dx = np.empty(cache)
    for i in range(cache[1]):
        for j in range(cache[2]):
            dx[:, i, j] = dy
    return dx


def wrong_size(self, dy, cache):
    """typical divided by the size of x: np.prod of the shape"""
    return np.ones(cache) * dy[:, None, None] / np.prod(cache)


def wrong_broadcast(self, dy, cache):
    """raises: (N, C) doesn't line up with (N, H, W, C)"""
    n, h, w, c = cache
    return np.zeros((n, h, w, c)) + dy.T / (h * w)


def wrong_torch(self, dy, cache):
    """typical channels first: a new axis at the end"""
    n, h, w, c = cache
    dx = np.broadcast_to(dy[:, :, None, None] / h / w, (n, c, h, w))
    return dx.reshape(n, h, w, c)


def wrong_layout(self, dy, cache):
    """shape: (N, C, H, W)"""
    n, h, w, c = cache
    return np.tile((dy / h / w)[:, :, None, None], (1, 1, h, w))


def wrong_mean_of_the_batch(self, dy, cache):
    """typical divided by N too: x.mean() in mind"""
    n, h, w, _ = cache
    return np.einsum("nc,hw->nhwc", dy, np.full((h, w), 1 / (n * h * w)))


def wrong_negative(self, dy, cache):
    """sign: minus"""
    return np.tile(-dy[:, None, None] / (cache[1] * cache[2]), (1, cache[1], cache[2], 1))


def wrong_dtype(self, dy, cache):
    """float32: always float64"""
    dx = np.zeros(cache)
    dx[...] = dy[:, None, None] / (cache[1] * cache[2])
    return dx


def wrong_root(self, dy, cache):
    """factor: divides by the root of the number of pixels"""
    return np.ones(cache) * dy[:, None, None] / np.sqrt(cache[1] * cache[2])
