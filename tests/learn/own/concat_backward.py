"""Wrong answers to concat_backward; each says first which diagnosis it must get."""

import numpy as np


def _parts(dy, widths):
    return np.split(dy, np.cumsum(widths)[:-1], axis=-1)


def wrong_mean(self, dy, cache, need_dx=True):
    """typical averaged: np.mean"""
    dxs = [b.backward(d, c) for b, d, c in zip(self.branches, _parts(dy, cache[1]), cache[0], strict=True)]
    return np.mean(dxs, axis=0).astype(dy.dtype) if need_dx else None


def wrong_overwritten(self, dy, cache, need_dx=True):
    """typical only the last branch: dx is assigned in the loop"""
    dx = None
    for branch, d in zip(self.branches, _parts(dy, cache[1]), strict=True):
        dx = branch.backward(d, cache[0].pop(0), need_dx)
    return dx


def wrong_always_from_the_start(self, dy, cache, need_dx=True):
    """typical start not moved: the part begins at 0"""
    dxs = [b.backward(dy[..., 0:w], c) for b, c, w in zip(self.branches, *cache, strict=True)]
    return np.sum(dxs, axis=0) if need_dx else None


def wrong_equal_parts(self, dy, cache, need_dx=True):
    """typical parts of the same width: divides the channels by the number of branches"""
    width, dx = dy.shape[-1] // len(self.branches), 0
    for i, branch in enumerate(self.branches):
        dx = dx + branch.backward(dy[..., i * width : (i + 1) * width], cache[0][i])
    return dx if need_dx else None


def wrong_in_place(self, dy, cache, need_dx=True):
    """typical added in place: np.add into the first dx"""
    first, *others = (b.backward(d, c) for b, d, c in zip(self.branches, _parts(dy, cache[1]), cache[0], strict=True))
    for other in others:
        np.add(first, other, out=first)
    return first if need_dx else None


def wrong_stacked(self, dy, cache, need_dx=True):
    """shape: returns all dx"""
    dxs = [b.backward(d, c) for b, d, c in zip(self.branches, _parts(dy, cache[1]), cache[0], strict=True)]
    return np.stack(dxs) if need_dx else None


def wrong_none(self, dy, cache, need_dx=True):
    """raises: adds None"""
    dxs = [b.backward(d, c, need_dx) for b, d, c in zip(self.branches, _parts(dy, cache[1]), cache[0], strict=True)]
    return sum(dxs)


def wrong_float64(self, dy, cache, need_dx=True):
    """float32: zeros without a dtype"""
    dx = 0
    for branch, d, c in zip(self.branches, _parts(dy, cache[1]), cache[0], strict=True):
        d = branch.backward(d, c)
        dx = np.zeros(d.shape) + dx + d
    return dx if need_dx else None
