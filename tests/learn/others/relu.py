"""Solutions of relu as different students write them: max(x, 0), and the mask of the positive inputs."""

import numpy as np


def right_where(x):
    mask = x > 0
    keep = mask | np.isnan(x)
    return np.where(keep, x, x.dtype.type(0)), mask


def right_copy_and_zero(x):
    y = np.array(x)
    y[y <= 0] = 0
    return y, np.greater(x, 0)


def right_clip(x):
    return np.clip(x, 0, None), x > 0


def right_number_by_number(x):
    y = np.zeros(x.shape, x.dtype)
    mask = np.zeros(x.shape, bool)
    for place in np.ndindex(x.shape):
        if x[place] > 0:
            y[place], mask[place] = x[place], True
        elif x[place] != x[place]:
            y[place] = x[place]
    return y, mask


def wrong_numpy_max(x):
    """calls np.max(x, 0), which takes the maximum over axis 0, in place of np.maximum"""
    return np.max(x, 0), x > 0


def wrong_in_place(x):
    """sets the negative numbers of the input itself to zero"""
    mask = x > 0
    x[~mask] = 0
    return x, mask


def wrong_mask_of_the_others(x):
    """returns the mask of the inputs that were cut off"""
    y = np.maximum(x, 0)
    return y, x < 0


def wrong_mask_of_floats(x):
    """returns the clipped numbers themselves where the mask of truth values is wanted"""
    y = (np.abs(x) + x) / 2
    return y, y


def wrong_zero_counts_as_positive(x):
    """lets a zero pass in the mask: x >= 0 in place of x > 0"""
    mask = np.greater_equal(x, 0)
    return np.maximum(0, x), mask


def wrong_absolute_value(x):
    """turns negative numbers round in place of setting them to zero"""
    mask = x > 0
    return np.where(mask, x, -x), mask


def wrong_leaky(x):
    """lets a hundredth of the negative numbers through, as a leaky ReLU"""
    return np.where(x > 0, x, 0.01 * x).astype(x.dtype), x > 0


def wrong_nan_becomes_zero(x):
    """turns a NaN into 0, because every comparison with it is false"""
    out = np.zeros_like(x)
    positive = x > 0
    out[positive] = x[positive]
    return out, positive


def wrong_only_the_positive_ones(x):
    """picks the positive numbers out, so that the shape is lost"""
    mask = x > 0
    return x[mask], mask


def wrong_order(x):
    """returns (mask, y) in place of (y, mask)"""
    y = np.maximum(x, 0.0)
    return x > 0, y
