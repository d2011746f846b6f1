"""Wrong answers to avg_pool; each says first which diagnosis it must get."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def _windows(x, kernel, stride, padding):
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    return sliding_window_view(padded, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]


def wrong_sum(x, kernel, stride, padding):
    """typical not divided: the sum of every window"""
    return _windows(x, kernel, stride, padding).sum((-1, -2))


def wrong_count(x, kernel, stride, padding):
    """typical padding not counted: as count_include_pad=False in torch"""
    n, h, w, c = x.shape
    oh, ow = (h + 2 * padding - kernel) // stride + 1, (w + 2 * padding - kernel) // stride + 1
    y = np.empty((n, oh, ow, c))
    for i in range(oh):
        for j in range(ow):
            top, left = i * stride - padding, j * stride - padding
            y[:, i, j] = x[:, max(top, 0) : top + kernel, max(left, 0) : left + kernel].mean(axis=(1, 2))
    return y


def wrong_median(x, kernel, stride, padding):
    """unknown: the median"""
    return np.median(_windows(x, kernel, stride, padding), axis=(-1, -2))


def wrong_rows_only(x, kernel, stride, padding):
    """typical divided by K: a mean of sums"""
    return _windows(x, kernel, stride, padding).mean(-1).sum(-1)


def wrong_all_channels(x, kernel, stride, padding):
    """typical channels mixed: takes the mean of the whole window"""
    y = _windows(x, kernel, stride, padding).mean(axis=(3, 4, 5))
    return np.stack([y] * x.shape[3], axis=-1)


def wrong_no_padding(x, kernel, stride, padding):
    """shape: forgets the padding"""
    return _windows(x, kernel, stride, 0).mean((-1, -2))


def wrong_border(x, kernel, stride, padding):
    """places: at the border only, the sum"""
    y = _windows(x, kernel, stride, padding).mean((-1, -2))
    ones = _windows(np.ones_like(x), kernel, stride, padding).mean((-1, -2))
    return np.where(ones < 1, 5 * y, y)
