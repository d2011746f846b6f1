"""Wrong answers to pad2d; each says first which diagnosis it must get."""

import numpy as np


def wrong_shortcut(x, padding, value=0.0):
    """typical not a new array: nothing to do without padding"""
    if padding == 0:
        return x[:]
    return np.pad(x, [(0, 0), (padding, padding), (padding, padding), (0, 0)], constant_values=value)


def wrong_zeros(x, padding, value=0.0):
    """typical value ignored: zeros, always"""
    n, h, w, c = x.shape
    padded = np.zeros((n, h + 2 * padding, w + 2 * padding, c), x.dtype)
    for i in range(h):
        for j in range(w):
            padded[:, i + padding, j + padding] = x[:, i, j]
    return padded


def wrong_corner(x, padding, value=0.0):
    """typical only below and to the right: np.pad after the image"""
    return np.pad(x, [(0, 0), (0, 2 * padding), (0, 2 * padding), (0, 0)], constant_values=value)


def wrong_torch_axes(x, padding, value=0.0):
    """typical channels first: the axes of torch"""
    n, c, h, w = x.shape
    padded = np.full((n, c, h + 2 * padding, w + 2 * padding), value, x.dtype)
    padded[:, :, padding : h + padding, padding : w + padding] = x
    return padded


def wrong_every_axis(x, padding, value=0.0):
    """typical all axes: np.pad with one number"""
    return np.pad(x, padding, "constant", constant_values=value)


def wrong_double(x, padding, value=0.0):
    """float32: np.full makes float64"""
    n, h, w, c = x.shape
    padded = np.full((n, h + 2 * padding, w + 2 * padding, c), value, float)
    padded[:, padding : padding + h, padding : padding + w] = x
    return padded


def wrong_once(x, padding, value=0.0):
    """shape: the image just fits"""
    n, h, w, c = x.shape
    padded = np.full((n, h + padding, w + padding, c), value, x.dtype)
    padded[:, padding : padding + h, padding : padding + w] = x
    return padded


def wrong_only_columns(x, padding, value=0.0):
    """shape: a border on the left and on the right only"""
    return np.pad(x, [(0, 0), (0, 0), (padding, padding), (0, 0)], constant_values=value)


def wrong_image_cleared(x, padding, value=0.0):
    """places: a border that grows into the image from above"""
    padded = np.pad(x, [(0, 0), (padding, padding), (padding, padding), (0, 0)], constant_values=value)
    padded[:, : 2 * padding] = value
    return padded
