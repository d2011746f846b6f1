"""Wrong answers to avg_pool_dx; each says first which diagnosis it must get."""

import numpy as np


def _share(dy, x_shape, kernel, stride, padding, write, part=None):
    n, h, w, c = x_shape
    padded = np.zeros((n, h + 2 * padding, w + 2 * padding, c))
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            place = (slice(None), slice(i * stride, i * stride + kernel), slice(j * stride, j * stride + kernel))
            value = np.broadcast_to(dy[:, i, j][:, None, None], padded[place].shape)
            padded[place] = write(padded[place], value * (part or 1 / kernel**2))
    return padded[:, padding : padding + h, padding : padding + w]


def wrong_assigned(dy, x_shape, kernel, stride, padding):
    """typical last window wins: = for +="""
    return _share(dy, x_shape, kernel, stride, padding, lambda old, new: new)


def wrong_first_kept(dy, x_shape, kernel, stride, padding):
    """typical first window wins: writes only where nothing stands"""
    return _share(dy, x_shape, kernel, stride, padding, lambda old, new: np.where(old == 0, new, old))


def wrong_whole(dy, x_shape, kernel, stride, padding):
    """typical not divided: every pixel receives dy"""
    return _share(dy, x_shape, kernel, stride, padding, np.add, 1.0)


def wrong_larger(dy, x_shape, kernel, stride, padding):
    """places: the larger in absolute value"""
    return _share(
        dy, x_shape, kernel, stride, padding, lambda old, new: np.where(np.abs(new) > np.abs(old), new, old)
    )


def wrong_side_by_side(dy, x_shape, kernel, stride, padding):
    """shape: np.repeat, which is right for windows side by side"""
    return np.repeat(np.repeat(dy / kernel**2, kernel, axis=1), kernel, axis=2)


def wrong_count(dy, x_shape, kernel, stride, padding):
    """typical padding not counted: divides by the pixels inside"""
    n, h, w, c = x_shape
    dx = np.zeros(x_shape)
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            top, left = i * stride - padding, j * stride - padding
            block = dx[:, max(top, 0) : top + kernel, max(left, 0) : left + kernel]
            block += dy[:, i, j][:, None, None] / (block.shape[1] * block.shape[2])
    return dx


def wrong_minus(dy, x_shape, kernel, stride, padding):
    """sign: subtracts"""
    return _share(dy, x_shape, kernel, stride, padding, np.subtract)
