"""Wrong answers to conv2d_dx; each says first which diagnosis it must get."""

import numpy as np


def _empty(x_shape, padding):
    n, h, w, c = x_shape
    return np.zeros((n, h + 2 * padding, w + 2 * padding, c))


def _cut(padded, x_shape, padding):
    return padded[:, padding : padding + x_shape[1], padding : padding + x_shape[2]]


def wrong_correlation(dy, w, x_shape, stride, padding):
    """typical flipped: a full convolution of dy with w as it is"""
    kh, kw = w.shape[:2]
    spread = np.zeros((len(dy), (dy.shape[1] - 1) * stride + 1, (dy.shape[2] - 1) * stride + 1, dy.shape[3]))
    spread[:, ::stride, ::stride] = dy
    spread = np.pad(spread, ((0, 0), (kh - 1, kh - 1), (kw - 1, kw - 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(spread, (kh, kw), (1, 2))
    found = np.einsum("nijfab,abcf->nijc", windows, w)
    padded = _empty(x_shape, padding)
    padded[:, : found.shape[1], : found.shape[2]] = found
    return _cut(padded, x_shape, padding)


def wrong_last_window(dy, w, x_shape, stride, padding):
    """typical overwritten window by window: assigns a window at a time"""
    padded = _empty(x_shape, padding)
    for i, j in np.ndindex(dy.shape[1:3]):
        rows, columns = slice(i * stride, i * stride + w.shape[0]), slice(j * stride, j * stride + w.shape[1])
        padded[:, rows, columns] = np.einsum("nf,abcf->nabc", dy[:, i, j], w)
    return _cut(padded, x_shape, padding)


def wrong_last_pixel(dy, w, x_shape, stride, padding):
    """typical overwritten: assigns a pixel of all windows at a time"""
    padded, (oh, ow) = _empty(x_shape, padding), dy.shape[1:3]
    for a, b in np.ndindex(w.shape[:2]):
        padded[:, a : a + stride * oh : stride, b : b + stride * ow : stride] = dy @ w[a, b].T
    return _cut(padded, x_shape, padding)


def wrong_side_by_side(dy, w, x_shape, stride, padding):
    """typical stride ignored: windows one pixel apart"""
    padded = _empty(x_shape, padding)
    for i, j in np.ndindex(dy.shape[1:3]):
        padded[:, i : i + w.shape[0], j : j + w.shape[1]] += np.einsum("nf,abcf->nabc", dy[:, i, j], w)
    return _cut(padded, x_shape, padding)


def wrong_whole(dy, w, x_shape, stride, padding):
    """typical not cropped: returns the padded image"""
    padded = _empty(x_shape, padding)
    for n, i, j, f in np.ndindex(dy.shape):
        rows, columns = slice(i * stride, i * stride + w.shape[0]), slice(j * stride, j * stride + w.shape[1])
        padded[n, rows, columns] += dy[n, i, j, f] * w[:, :, :, f]
    return padded


def wrong_mean_of_filters(dy, w, x_shape, stride, padding):
    """typical averaged over the filters: a mean in place of a sum"""
    padded = _empty(x_shape, padding)
    for i, j in np.ndindex(dy.shape[1:3]):
        sent = dy[:, i, j, None, None, None, :] * w
        padded[:, i * stride : i * stride + w.shape[0], j * stride : j * stride + w.shape[1]] += sent.mean(-1)
    return _cut(padded, x_shape, padding)


def wrong_valid(dy, w, x_shape, stride, padding):
    """shape: only the pixels that lie in as many windows as possible"""
    padded = _empty(x_shape, padding)
    return padded[:, w.shape[0] - 1 : 1 - w.shape[0] or None, : 1 - w.shape[1] or None]


def wrong_in_place(dy, w, x_shape, stride, padding):
    """changed: turns dy for good"""
    padded = _empty(x_shape, padding)
    for i, j in np.ndindex(dy.shape[1:3]):
        rows, columns = slice(i * stride, i * stride + w.shape[0]), slice(j * stride, j * stride + w.shape[1])
        padded[:, rows, columns] += np.einsum("nf,abcf->nabc", dy[:, i, j], w)
        dy[:, i, j] = 0
    return _cut(padded, x_shape, padding)


def wrong_double(dy, w, x_shape, stride, padding):
    """float32: the zeros are float64"""
    padded, (oh, ow) = _empty(x_shape, padding), dy.shape[1:3]
    for a, b in np.ndindex(w.shape[:2]):
        padded[:, a : a + stride * oh : stride, b : b + stride * ow : stride] += dy @ w[a, b].T
    return _cut(padded, x_shape, padding)
