"""Wrong answers to relu; each says first which diagnosis it must get."""

import numpy as np


def wrong_zero_passes(x):
    """typical mask at zero: the mask from y, which is x also where x is 0"""
    y = np.clip(x, 0, None)
    return y, y == x


def wrong_picked(x):
    """typical NaN lost: picks the positive entries"""
    mask = x > 0
    y = np.zeros_like(x)
    y[mask] = x[mask]
    return y, mask


def wrong_stopped(x):
    """typical mask inverted: the mask of what is stopped"""
    stopped = np.logical_not(x > 0)
    return np.maximum(0, x), np.where(np.isnan(x), False, stopped)


def wrong_leak(x):
    """typical leaky: torch's leaky_relu"""
    mask = x > 0
    return np.where(mask, x, x * 0.01), mask


def wrong_in_place(x):
    """changed: clears the negative entries of x itself"""
    mask = x > 0
    x[x < 0] = 0
    return x, mask


def wrong_loop_over_a_row(x):
    """raises: goes through x as if it had one axis"""
    y = np.array([v if v > 0 or v != v else 0.0 for v in x])
    return y, np.array([v > 0 for v in x])


def wrong_mask_of_numbers(x):
    """dtype: the mask as 0.0 and 1.0"""
    return np.maximum(x, 0), (x > 0).astype(x.dtype)


def wrong_only_y(x):
    """kind: no mask"""
    return np.maximum(x, 0)


def wrong_other_order(x):
    """kind: the mask first; nobody knows which is which"""
    return [x > 0, np.maximum(x, 0)], None
