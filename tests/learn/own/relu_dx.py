"""Wrong answers to relu_dx; each says first which diagnosis it must get."""

import numpy as np


def wrong_of_the_gradient(dy, mask):
    """typical sign of dy: a ReLU of dy"""
    return np.maximum(dy, 0)


def wrong_both(dy, mask):
    """typical guided: a ReLU of what the mask lets pass"""
    return np.maximum(np.where(mask, dy, 0), 0)


def wrong_passed_on(dy, mask):
    """typical no mask: dx is dy"""
    return dy


def wrong_other_branch(dy, mask):
    """typical inverted: the arguments of np.where exchanged"""
    return np.where(mask, 0, dy)


def wrong_slope(dy, mask):
    """typical dy ignored: the slope alone"""
    dx = np.zeros(dy.shape, dy.dtype)
    dx[mask] = 1
    return dx


def wrong_in_place(dy, mask):
    """changed: clears entries of dy itself"""
    dy[~mask] = 0
    return dy


def wrong_selected(dy, mask):
    """shape: keeps only the entries that pass"""
    return dy[mask]


def wrong_sign(dy, mask):
    """sign: subtracts"""
    return 0 - dy * mask


def wrong_double(dy, mask):
    """float32: the result is float64 for every dy"""
    return np.where(mask, dy, np.zeros(dy.shape))


def wrong_by_memory(dy, mask):
    """arrays that are not contiguous: goes through the numbers as they lie in memory"""
    return (dy.ravel(order="K") * mask.ravel(order="C")).reshape(dy.shape)


def wrong_mask(dy, mask):
    """typical mask returned: as it is"""
    return mask
