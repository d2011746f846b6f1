"""Wrong answers to max_pool_dx; each says first which diagnosis it must get."""

import numpy as np


def _walk(index, kernel, stride, padding, kh_kw=divmod):
    """(place in y, place in x) for every window."""
    for n, oh, ow, c in np.ndindex(index.shape):
        kh, kw = kh_kw(int(index[n, oh, ow, c]), kernel)
        yield (n, oh, ow, c), (n, oh * stride - padding + kh, ow * stride - padding + kw, c)


def wrong_assigned(dy, index, x_shape, kernel, stride, padding):
    """typical last window wins: = for +="""
    dx = np.zeros(x_shape)
    for out, place in _walk(index, kernel, stride, padding):
        dx[place] = dy[out]
    return dx


def wrong_from_the_end(dy, index, x_shape, kernel, stride, padding):
    """typical first window wins: fills what is still zero"""
    dx = np.zeros(x_shape)
    for out, place in _walk(index, kernel, stride, padding):
        if dx[place] == 0:
            dx[place] = dy[out]
    return dx


def wrong_fancy_index(dy, index, x_shape, kernel, stride, padding):
    """typical last window wins: += with repeated indices counts once"""
    places = np.array([place for _, place in _walk(index, kernel, stride, padding)]).T
    dx = np.zeros(x_shape)
    dx[tuple(places)] += dy.ravel()
    return dx


def wrong_window_assigned(dy, index, x_shape, kernel, stride, padding):
    """typical erased by the next window: mask times dy, assigned"""
    n, h, w, c = x_shape
    padded = np.zeros((n, h + 2 * padding, w + 2 * padding, c))
    for i, oh, ow, j in np.ndindex(dy.shape):
        mask = np.arange(kernel**2).reshape(kernel, kernel) == index[i, oh, ow, j]
        top, left = oh * stride, ow * stride
        padded[i, top : top + kernel, left : left + kernel, j] = mask * dy[i, oh, ow, j]
    return padded[:, padding : h + padding, padding : w + padding]


def wrong_columns_first(dy, index, x_shape, kernel, stride, padding):
    """typical rows and columns exchanged: kw, kh = divmod(index, K)"""
    dx = np.zeros(x_shape)
    for out, place in _walk(index, kernel, stride, padding, lambda i, k: divmod(i, k)[::-1]):
        if all(0 <= p < size for p, size in zip(place, x_shape, strict=True)):
            dx[place] += dy[out]
    return dx


def wrong_ones(dy, index, x_shape, kernel, stride, padding):
    """unknown: counts the windows, and loses dy"""
    dx = np.zeros(x_shape)
    for _, place in _walk(index, kernel, stride, padding):
        dx[place] += 1
    return dx


def wrong_divided(dy, index, x_shape, kernel, stride, padding):
    """factor: the K^2 of average pooling"""
    dx = np.zeros(x_shape)
    for out, place in _walk(index, kernel, stride, padding):
        dx[place] += dy[out] / kernel**2
    return dx


def wrong_negative(dy, index, x_shape, kernel, stride, padding):
    """sign: subtracts"""
    dx = np.zeros(x_shape)
    for out, place in _walk(index, kernel, stride, padding):
        dx[place] -= dy[out]
    return dx


def wrong_shared_lost(dy, index, x_shape, kernel, stride, padding):
    """places: a shared maximum receives nothing"""
    dx, count = np.zeros(x_shape), np.zeros(x_shape)
    for out, place in _walk(index, kernel, stride, padding):
        dx[place] += dy[out]
        count[place] += 1
    return dx * (count < 2)
