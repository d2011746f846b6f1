"""Inputs for the exercises on windows: convolution and pooling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from minidl.kernels.reference import offsets
from minidl.kernels.shapes import window_positions
from minidl.learn.exercise import Arguments


class Geometry(NamedTuple):
    """N images of H x W x C, windows of KH x KW, F filters."""

    n: int
    h: int
    w: int
    c: int
    kh: int
    kw: int
    f: int
    stride: int
    padding: int

    @property
    def out(self) -> tuple[int, int]:
        return (
            window_positions(self.h, self.kh, self.stride, self.padding),
            window_positions(self.w, self.kw, self.stride, self.padding),
        )

    @property
    def about(self) -> dict[str, int | str]:
        oh, ow = self.out
        return {
            "stride": self.stride,
            "padding": self.padding,
            "N": self.n,
            "C": self.c,
            "F": self.f,
            "KH": self.kh,
            "KW": self.kw,
            "KH KW": self.kh * self.kw,
            "N OH OW": self.n * oh * ow,
            "OH OW": oh * ow,
            "the image": "square" if self.h == self.w else "not square",
            "the window": "square" if self.kh == self.kw else "not square",
        }


# One number is special at a time, so that a diagnosis can name it; then some at once.
GEOMETRIES = (
    #         N  H  W  C  KH KW F  s  p
    Geometry(1, 4, 4, 1, 2, 2, 1, 2, 0),
    Geometry(1, 5, 5, 1, 3, 3, 1, 1, 0),
    Geometry(1, 5, 5, 2, 3, 3, 1, 1, 1),
    Geometry(2, 5, 5, 1, 3, 3, 2, 1, 1),
    Geometry(1, 6, 6, 2, 2, 2, 3, 2, 0),
    Geometry(1, 6, 4, 2, 3, 3, 2, 1, 1),
    Geometry(2, 5, 5, 3, 2, 3, 2, 1, 1),
    Geometry(2, 7, 6, 3, 3, 3, 4, 2, 1),
    Geometry(3, 7, 5, 2, 3, 2, 4, 3, 2),
    Geometry(2, 4, 7, 2, 1, 1, 3, 1, 0),
    Geometry(2, 6, 5, 2, 3, 3, 2, 2, 0),
)


def copies(height: int, width: int, kernel: tuple[int, int], stride: int, padding: int) -> np.ndarray:
    """How many windows contain each pixel, (H, W)."""
    out = (window_positions(height, kernel[0], stride, padding), window_positions(width, kernel[1], stride, padding))
    counts = np.zeros((height + 2 * padding, width + 2 * padding), int)
    for _, rows, columns in offsets(kernel, stride, out):
        counts[rows, columns] += 1
    return counts[padding : padding + height, padding : padding + width]


# Square windows, for pooling: first side by side, then overlapping.
POOLS = (
    #         N  H  W  C  KH KW F  s  p
    Geometry(1, 4, 4, 1, 2, 2, 1, 2, 0),
    Geometry(1, 5, 5, 1, 3, 3, 1, 1, 0),
    Geometry(1, 4, 4, 1, 2, 2, 1, 2, 1),
    Geometry(1, 4, 4, 2, 2, 2, 2, 2, 0),
    Geometry(2, 4, 4, 1, 2, 2, 1, 2, 0),
    Geometry(1, 4, 6, 1, 2, 2, 1, 2, 0),
    Geometry(1, 5, 5, 1, 2, 2, 1, 3, 0),
    Geometry(2, 7, 6, 3, 3, 3, 3, 2, 1),
    Geometry(3, 7, 5, 2, 3, 3, 2, 1, 1),
    Geometry(2, 8, 9, 2, 4, 4, 2, 3, 2),
    Geometry(2, 3, 4, 2, 1, 1, 2, 1, 0),
    Geometry(2, 6, 5, 2, 3, 3, 2, 2, 0),
)


def pool_about(g: Geometry, **more: str) -> dict[str, int | str]:
    """What is special about square windows, and about the input."""
    return {
        "the stride": "at least K" if g.stride >= g.kh else "less than K",
        "the windows' stride": "K" if g.stride == g.kh else "not K",
        "padding": g.padding,
        "N": g.n,
        "C": g.c,
        "K": g.kh,
        "K^2": g.kh**2,
        "stride": g.stride,
        "OH OW": g.out[0] * g.out[1],
        "the image": "square" if g.h == g.w else "not square",
        **more,
    }


def window_slices(index: tuple[int, ...], kernel: int, stride: int, padding: int, shape: tuple[int, ...]) -> tuple:
    """The slices of x that the window of y[n, oh, ow, c] covers, without its padding."""
    n, oh, ow, c = index
    top, left = oh * stride - padding, ow * stride - padding
    rows = slice(max(top, 0), min(top + kernel, shape[1]))
    columns = slice(max(left, 0), min(left + kernel, shape[2]))
    return n, rows, columns, c


def at_the_border(shape: tuple[int, ...], kernel: int, stride: int, padding: int) -> np.ndarray:
    """A mask of the y (N, OH, OW, C) whose window reaches into the padding of x."""
    n, h, w, c = shape
    oh, ow = window_positions(h, kernel, stride, padding), window_positions(w, kernel, stride, padding)
    rows, columns = (
        np.array([o * stride < padding or o * stride + kernel > padding + size for o in range(count)])
        for count, size in ((oh, h), (ow, w))
    )
    edge = rows[:, None] | columns
    return np.broadcast_to(edge[None, :, :, None], (n, oh, ow, c))


def padding_reached(arguments: Arguments, name: str) -> Mapping[str, np.ndarray]:
    """The places of the forward pass of a pool, for a diagnosis."""
    x, kernel, stride, padding = arguments.values()
    return {"where the window reaches into the padding": at_the_border(x.shape, kernel, stride, padding)}
