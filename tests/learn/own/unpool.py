"""Wrong answers to unpool; each says first which diagnosis it must get."""

import numpy as np


def _unpool(dy, index, x_shape, kernel, stride, padding, combine, order=1):
    """Goes through the windows; `combine` makes one number of all that a pixel receives."""
    received = {}
    for n, oh, ow, c in list(np.ndindex(dy.shape))[::order]:
        kh, kw = divmod(int(index[n, oh, ow, c]), kernel)
        place = (n, oh * stride - padding + kh, ow * stride - padding + kw, c)
        received.setdefault(place, []).append(dy[n, oh, ow, c])
    dx = np.zeros(x_shape)
    for place, values in received.items():
        dx[place] = combine(values)
    return dx


def wrong_only_the_gradient(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """typical overlap ignored: max_pool_dx as it was"""
    return _unpool(dy, index, x_shape, kernel, stride, padding, sum)


def wrong_begins_with_zero(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """typical max from zero: max(0, ...)"""
    combine = {"sum": sum, "last": lambda v: v[-1], "max": lambda v: max([0, *v])}[overlap]
    return _unpool(dy, index, x_shape, kernel, stride, padding, combine)


def wrong_order(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """typical first window: takes the windows from the end"""
    combine = {"sum": sum, "last": lambda v: v[-1], "max": max}[overlap]
    return _unpool(dy, index, x_shape, kernel, stride, padding, combine, order=-1)


def wrong_numpy_assignment(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """typical sum assigned: += with repeated indices counts once"""
    combine = {"sum": lambda v: v[-1], "last": lambda v: v[-1], "max": max}[overlap]
    return _unpool(dy, index, x_shape, kernel, stride, padding, combine)


def wrong_magnitude(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """typical largest by absolute value: max with key=abs"""
    combine = {"sum": sum, "last": lambda v: v[-1], "max": lambda v: max(v, key=abs)}[overlap]
    return _unpool(dy, index, x_shape, kernel, stride, padding, combine)


def wrong_smallest(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """places: the smallest dy"""
    combine = {"sum": sum, "last": lambda v: v[-1], "max": min}[overlap]
    return _unpool(dy, index, x_shape, kernel, stride, padding, combine)


def wrong_no_last(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """raises: "last" isn't written yet"""
    combine = {"sum": sum, "max": max}[overlap]
    return _unpool(dy, index, x_shape, kernel, stride, padding, combine)


def wrong_negative(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """sign: minus everything"""
    combine = {"sum": sum, "last": lambda v: v[-1], "max": max}[overlap]
    return -_unpool(dy, index, x_shape, kernel, stride, padding, combine)
