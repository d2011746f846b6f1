"""Wrong answers to im2col; each says first which diagnosis it must get."""

import numpy as np


def _windows(x, kernel, stride, padding):
    """(N, OH, OW, C, KH, KW)"""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(x, kernel, (1, 2))[:, ::stride, ::stride]


def wrong_unfold(x, kernel, stride, padding):
    """typical channels first: torch's unfold"""
    windows = _windows(x, kernel, stride, padding)
    return windows.reshape(-1, x.shape[3] * kernel[0] * kernel[1])


def wrong_down_the_columns(x, kernel, stride, padding):
    """typical columns first: the loop over kw outside"""
    windows = _windows(x, kernel, stride, padding)
    pixels = [windows[..., kh, kw] for kw in range(kernel[1]) for kh in range(kernel[0])]
    return np.stack(pixels, axis=3).reshape(-1, x.shape[3] * len(pixels))


def wrong_stanford(x, kernel, stride, padding):
    """typical images last: the order of CS231n's im2col"""
    windows = _windows(x, kernel, stride, padding)
    rows = [windows[n, i, j].transpose(1, 2, 0).ravel() for i, j, n in np.ndindex(*windows.shape[1:3], len(x))]
    return np.array(rows)


def wrong_as_columns(x, kernel, stride, padding):
    """typical transposed: a patch in each column"""
    windows = _windows(x, kernel, stride, padding)
    return np.stack([w.transpose(1, 2, 0).ravel() for w in windows.reshape(-1, *windows.shape[3:])], axis=1)


def wrong_forgets_to_pad(x, kernel, stride, padding):
    """typical padding ignored: windows of the image alone"""
    windows = _windows(x, kernel, stride, 0)
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, kernel[0] * kernel[1] * x.shape[3])


def wrong_every_window(x, kernel, stride, padding):
    """typical stride ignored: steps of one pixel"""
    windows = _windows(x, kernel, 1, padding)
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, kernel[0] * kernel[1] * x.shape[3])


def wrong_not_joined(x, kernel, stride, padding):
    """shape: six axes"""
    return _windows(x, kernel, stride, padding).transpose(0, 1, 2, 4, 5, 3).copy()


def wrong_empty_double(x, kernel, stride, padding):
    """float32: np.empty makes float64"""
    windows = _windows(x, kernel, stride, padding).transpose(0, 1, 2, 4, 5, 3)
    patches = np.empty(windows.shape)
    patches[...] = windows
    return patches.reshape(-1, kernel[0] * kernel[1] * x.shape[3])


def wrong_edge(x, kernel, stride, padding):
    """places: a border of copies of the edge"""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)), mode="edge")
    return _windows(x, kernel, stride, 0).transpose(0, 1, 2, 4, 5, 3).reshape(-1, kernel[0] * kernel[1] * x.shape[3])


def wrong_by_strides(x, kernel, stride, padding):
    """arrays that are not contiguous: trusts the strides of a contiguous array"""
    x = x if not padding else np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    n, h, w, c = x.shape
    oh, ow, item = (h - kernel[0]) // stride + 1, (w - kernel[1]) // stride + 1, x.itemsize
    steps = (h * w * c * item, stride * w * c * item, stride * c * item, w * c * item, c * item, item)
    patches = np.lib.stride_tricks.as_strided(x, (n, oh, ow, *kernel, c), steps)
    return patches.reshape(n * oh * ow, -1).copy()
