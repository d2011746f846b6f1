"""Wrong answers to max_pool; each says first which diagnosis it must get."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def _windows(x, kernel, stride, padding, value):
    border = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = np.pad(x, border, constant_values=value)
    views = sliding_window_view(padded, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]
    return views.reshape(*views.shape[:4], -1)


def wrong_np_pad(x, kernel, stride, padding):
    """typical padded with zeros: the default of np.pad"""
    windows = _windows(x, kernel, stride, padding, 0)
    return windows.max(-1), windows.argmax(-1).astype(np.uint8)


def wrong_loop_from_zero(x, kernel, stride, padding):
    """typical begun with zero: best = 0"""
    windows = _windows(x, kernel, stride, padding, -np.inf)
    y, index = np.zeros(windows.shape[:-1]), np.zeros(windows.shape[:-1], np.uint8)
    for place in np.ndindex(y.shape):
        for k, value in enumerate(windows[place]):
            if value > y[place] or np.isnan(value) and not np.isnan(y[place]):
                y[place], index[place] = value, k
    return y, index


def wrong_last_tie(x, kernel, stride, padding):
    """typical last of equal numbers, NaN last: searches from the end"""
    windows = _windows(x, kernel, stride, padding, -np.inf)
    return windows.max(-1), (kernel**2 - 1 - windows[..., ::-1].argmax(-1)).astype(np.uint8)


def wrong_nanmax(x, kernel, stride, padding):
    """typical NaN ignored: np.nanmax"""
    windows = _windows(x, kernel, stride, padding, -np.inf)
    return np.nanmax(windows, -1), np.nanargmax(windows, -1).astype(np.uint8)


def wrong_plain_loop(x, kernel, stride, padding):
    """typical begun with zero, NaN ignored: the loop that everybody writes first"""
    windows = _windows(x, kernel, stride, padding, -np.inf)
    y, index = np.zeros(windows.shape[:-1]), np.zeros(windows.shape[:-1], np.uint8)
    for place in np.ndindex(y.shape):
        for k, value in enumerate(windows[place]):
            if value > y[place]:
                y[place], index[place] = value, k
    return y, index


def wrong_int64(x, kernel, stride, padding):
    """dtype: leaves argmax as it is"""
    windows = _windows(x, kernel, stride, padding, -np.inf)
    return windows.max(-1), windows.argmax(-1)


def wrong_side_by_side(x, kernel, stride, padding):
    """shape: reshapes into windows as if the stride were the kernel"""
    n, h, w, c = x.shape
    x = x[:, : h // kernel * kernel, : w // kernel * kernel]
    windows = x.reshape(n, h // kernel, kernel, w // kernel, kernel, c).transpose(0, 1, 3, 5, 2, 4)
    windows = windows.reshape(*windows.shape[:4], -1)
    return windows.max(-1), windows.argmax(-1).astype(np.uint8)


def wrong_swapped(x, kernel, stride, padding):
    """exchanged: argmax first"""
    windows = _windows(x, kernel, stride, padding, -np.inf)
    return windows.argmax(-1).astype(np.uint8), windows.max(-1)


def wrong_only_y(x, kernel, stride, padding):
    """kind: returns y alone"""
    return _windows(x, kernel, stride, padding, -np.inf).max(-1)
