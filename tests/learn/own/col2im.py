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
