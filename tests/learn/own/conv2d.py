"""Wrong answers to conv2d; each says first which diagnosis it must get."""

import numpy as np


def _padded(x, padding):
    return np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))


def _sizes(padded, w, stride):
    return (padded.shape[1] - w.shape[0]) // stride + 1, (padded.shape[2] - w.shape[1]) // stride + 1


def wrong_mathematical(x, w, stride, padding):
    """typical flipped: the convolution of mathematics, in loops"""
    padded = _padded(x, padding)
    oh, ow = _sizes(padded, w, stride)
    y = np.zeros((len(x), oh, ow, w.shape[3]))
    for kh in range(w.shape[0]):
        for kw in range(w.shape[1]):
            piece = padded[:, kh : kh + stride * oh : stride, kw : kw + stride * ow : stride]
            y += piece @ w[w.shape[0] - 1 - kh, w.shape[1] - 1 - kw]
    return y


def wrong_no_steps(x, w, stride, padding):
    """typical stride ignored: counts with the stride, and goes without"""
    padded = _padded(x, padding)
    oh, ow = _sizes(padded, w, stride)
    y = np.zeros((len(x), oh, ow, w.shape[3]), x.dtype)
    for i in range(oh):
        for j in range(ow):
            y[:, i, j] = np.tensordot(padded[:, i : i + w.shape[0], j : j + w.shape[1]], w, 3)
    return y


def wrong_unpadded(x, w, stride, padding):
    """typical padding ignored: windows of the image alone"""
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[:2], (1, 2))[:, ::stride, ::stride]
    return np.einsum("nijcab,abcf->nijf", windows, w)


def wrong_one_too_few(x, w, stride, padding):
    """typical last window lost: the formula for the size without + 1"""
    padded = _padded(x, padding)
    oh, ow = (n - 1 for n in _sizes(padded, w, stride))
    y = np.zeros((len(x), oh, ow, w.shape[3]), x.dtype)
    for i, j in np.ndindex(oh, ow):
        patch = padded[:, i * stride : i * stride + w.shape[0], j * stride : j * stride + w.shape[1]]
        y[:, i, j] = np.einsum("nabc,abcf->nf", patch, w)
    return y


def wrong_torch_filters(x, w, stride, padding):
    """typical filter in another order: filters flattened as (C, KH, KW)"""
    padded = _padded(x, padding)
    oh, ow = _sizes(padded, w, stride)
    flat = np.stack([np.moveaxis(w[..., f], 2, 0).ravel() for f in range(w.shape[3])], axis=1)
    y = np.empty((len(x), oh, ow, w.shape[3]), x.dtype)
    for i, j in np.ndindex(oh, ow):
        patch = padded[:, i * stride : i * stride + w.shape[0], j * stride : j * stride + w.shape[1]]
        y[:, i, j] = patch.reshape(len(x), -1) @ flat
    return y


def wrong_last_channel(x, w, stride, padding):
    """typical last channel only: assigns in the loop over the channels"""
    padded = _padded(x, padding)
    oh, ow = _sizes(padded, w, stride)
    y = np.zeros((len(x), oh, ow, w.shape[3]), x.dtype)
    for c in range(x.shape[3]):
        for i, j in np.ndindex(oh, ow):
            patch = padded[:, i * stride : i * stride + w.shape[0], j * stride : j * stride + w.shape[1], c]
            y[:, i, j] = np.einsum("nab,abf->nf", patch, w[:, :, c])
    return y


def wrong_mean(x, w, stride, padding):
    """factor: the mean over the pixels of the window"""
    windows = np.lib.stride_tricks.sliding_window_view(_padded(x, padding), w.shape[:2], (1, 2))
    return np.einsum("nijcab,abcf->nijf", windows[:, ::stride, ::stride], w) / (w.shape[0] * w.shape[1])


def wrong_filters_first(x, w, stride, padding):
    """shape: y as (N, F, OH, OW)"""
    windows = np.lib.stride_tricks.sliding_window_view(_padded(x, padding), w.shape[:2], (1, 2))
    return np.einsum("nijcab,abcf->nfij", windows[:, ::stride, ::stride], w)


def wrong_transposed_product(x, w, stride, padding):
    """reordered: (F, P) reshaped as if it were (P, F)"""
    windows = np.lib.stride_tricks.sliding_window_view(_padded(x, padding), w.shape[:2], (1, 2))
    y = np.einsum("nijcab,abcf->fnij", windows[:, ::stride, ::stride], w)
    return y.reshape(y.shape[1:] + y.shape[:1])


def wrong_replicated(x, w, stride, padding):
    """places: a border of copies of the edge"""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[:2], (1, 2))
    return np.einsum("nijcab,abcf->nijf", windows[:, ::stride, ::stride], w)


def wrong_seven_loops(x, w, stride, padding):
    """typical last product only: = in the innermost of seven loops"""
    (kh, kw, c, f), padded = w.shape, _padded(x, padding)
    y = np.zeros((len(x), *((np.array(padded.shape[1:3]) - (kh, kw)) // stride + 1), f))
    for n, i, j, g in np.ndindex(y.shape):
        for a, b, k in np.ndindex(kh, kw, c):
            y[n, i, j, g] = padded[n, i * stride + a, j * stride + b, k] * w[a, b, k, g]
    return y


def wrong_mean_of_all(x, w, stride, padding):
    """typical mean: of the products"""
    (kh, kw, _, f), padded = w.shape, _padded(x, padding)
    y = np.zeros((len(x), *((np.array(padded.shape[1:3]) - (kh, kw)) // stride + 1), f))
    for _, i, j, g in np.ndindex(1, *y.shape[1:]):
        window = padded[:, i * stride : i * stride + kh, j * stride : j * stride + kw]
        y[:, i, j, g] = (window * w[..., g]).mean(axis=(1, 2, 3))
    return y
