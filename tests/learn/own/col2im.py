"""Wrong answers to col2im; each says first which diagnosis it must get."""

import numpy as np


def wrong_slices_assigned(dpatches, x_shape, kernel, stride, padding):
    """typical overwritten: assigns a whole patch at a time"""
    n, h, w, c = x_shape
    kh, kw = kernel
    padded = np.zeros((n, h + 2 * padding, w + 2 * padding, c))
    oh, ow = (h + 2 * padding - kh) // stride + 1, (w + 2 * padding - kw) // stride + 1
    patches = dpatches.reshape(n, oh, ow, kh, kw, c)
    for i in reversed(range(oh)):
        for j in reversed(range(ow)):
            padded[:, i * stride : i * stride + kh, j * stride : j * stride + kw] = patches[:, i, j]
    return padded[:, padding : padding + h, padding : padding + w]


def _windows(padded, kernel, stride, out):
    """A view (N, OH, OW, C, KH, KW) that can be written to."""
    view = np.lib.stride_tricks.sliding_window_view(padded, kernel, (1, 2), writeable=True)
    return view[:, ::stride, ::stride][:, : out[0], : out[1]]


def _sizes(x_shape, kernel, stride, padding):
    return [(x_shape[1 + a] + 2 * padding - kernel[a]) // stride + 1 for a in (0, 1)]


def wrong_stride_tricks(dpatches, x_shape, kernel, stride, padding):
    """typical overwritten window by window: += on a view of windows adds each pixel once only"""
    n, h, w, c = x_shape
    oh, ow = _sizes(x_shape, kernel, stride, padding)
    padded = np.zeros((n, h + 2 * padding, w + 2 * padding, c))
    windows = _windows(padded, kernel, stride, (oh, ow))
    patches = dpatches.reshape(n, oh, ow, *kernel, c)
    for i, j in np.ndindex(oh, ow):
        windows[:, i, j] = patches[:, i, j].transpose(0, 3, 1, 2)
    return padded[:, padding : padding + h, padding : padding + w]


def wrong_divided(dpatches, x_shape, kernel, stride, padding):
    """typical averaged: as if it were the inverse of im2col"""
    n, h, w, c = x_shape
    oh, ow = _sizes(x_shape, kernel, stride, padding)
    total, times = np.zeros((2, n, h + 2 * padding, w + 2 * padding, c))
    patches = dpatches.reshape(n, oh, ow, *kernel, c)
    for i, j in np.ndindex(oh, ow):
        rows, columns = slice(i * stride, i * stride + kernel[0]), slice(j * stride, j * stride + kernel[1])
        total[:, rows, columns] += patches[:, i, j]
        times[:, rows, columns] += 1
    return (total / np.where(times, times, 1))[:, padding : padding + h, padding : padding + w]


def wrong_unfolded(dpatches, x_shape, kernel, stride, padding):
    """typical axes exchanged: rows read in torch's order"""
    n, h, w, c = x_shape
    oh, ow = _sizes(x_shape, kernel, stride, padding)
    padded = np.zeros((n, h + 2 * padding, w + 2 * padding, c))
    patches = dpatches.reshape(n, oh, ow, c, *kernel)
    for i, j in np.ndindex(oh, ow):
        rows, columns = slice(i * stride, i * stride + kernel[0]), slice(j * stride, j * stride + kernel[1])
        padded[:, rows, columns] += patches[:, i, j].transpose(0, 2, 3, 1)
    return padded[:, padding : padding + h, padding : padding + w]


def _added(dpatches, x_shape, kernel, stride, padding):
    n, h, w, c = x_shape
    oh, ow = _sizes(x_shape, kernel, stride, padding)
    padded = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dpatches.dtype)
    patches = dpatches.reshape(n, oh, ow, *kernel, c)
    for i, j in np.ndindex(oh, ow):
        padded[:, i * stride : i * stride + kernel[0], j * stride : j * stride + kernel[1]] += patches[:, i, j]
    return padded


def wrong_border_kept(dpatches, x_shape, kernel, stride, padding):
    """typical not cropped: returns the padded image"""
    return _added(dpatches, x_shape, kernel, stride, padding)


def wrong_cropped_twice(dpatches, x_shape, kernel, stride, padding):
    """shape: cuts off twice the padding"""
    padded = _added(dpatches, x_shape, kernel, stride, padding)
    return padded[:, 2 * padding : padded.shape[1] - 2 * padding, 2 * padding : padded.shape[2] - 2 * padding]


def wrong_sign(dpatches, x_shape, kernel, stride, padding):
    """sign: subtracts"""
    padded = _added(-dpatches, x_shape, kernel, stride, padding)
    return padded[:, padding : padding + x_shape[1], padding : padding + x_shape[2]]


def wrong_cut_above(dpatches, x_shape, kernel, stride, padding):
    """condition: the upper left part of the padded image"""
    return _added(dpatches, x_shape, kernel, stride, padding)[:, : x_shape[1], : x_shape[2]]
