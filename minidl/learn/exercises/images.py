"""Inputs for the exercises on convolution, and their sums on paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from minidl.kernels import reference
from minidl.learn.exercise import Arguments, Case
from minidl.learn.exercises.geometry import GEOMETRIES, Geometry
from minidl.learn.exercises.paper import products

# The row of four pixels that the chapters work out by hand: y is 321, 432; dw 5, 8, 11; dx 1, 12, 120, 200.
ROW = Geometry(1, 1, 4, 1, 1, 3, 1, 1, 0)
# Small enough to be worked out by hand, with one thing special: stride, padding, C, F, N, the window.
SMALL = (
    #         N  H  W  C  KH KW F  s  p
    Geometry(1, 1, 5, 1, 1, 3, 1, 2, 0),
    Geometry(1, 3, 3, 1, 2, 2, 1, 1, 1),
    Geometry(1, 2, 3, 2, 2, 2, 1, 1, 0),
    Geometry(1, 3, 3, 1, 2, 2, 2, 1, 0),
    Geometry(2, 2, 3, 1, 2, 2, 1, 1, 0),
    Geometry(1, 4, 4, 1, 1, 2, 1, 2, 0),  # a 2x1 window fits as well: KH and KW exchanged give numbers, no error
)
BY_HAND = {"x": [1.0, 2, 3, 4], "w": [1.0, 10, 100], "dy": [1.0, 2], "dpatches": [[1.0, 10, 100], [2, 20, 200]]}


def conv_cases(rng: np.random.Generator, *names: str) -> list[Case]:
    """Cases with the arguments `names` of x, w, dy, dpatches, x_shape, w_shape, kernel, stride, padding."""
    cases = []
    for g in (ROW, *SMALL, *GEOMETRIES):
        shapes = {
            "x": (g.n, g.h, g.w, g.c),
            "w": (g.kh, g.kw, g.c, g.f),
            "dy": (g.n, *g.out, g.f),
            "dpatches": (g.about["N OH OW"], g.kh * g.kw * g.c),
        }
        values = {"kernel": (g.kh, g.kw), "stride": g.stride, "padding": g.padding}
        for name, shape in shapes.items():
            values[f"{name}_shape"] = shape
            values[name] = rng.normal(size=shape)
            if g in SMALL:
                values[name] = rng.integers(-9, 10, shape).astype(float)
            elif g is ROW:
                values[name] = np.reshape(BY_HAND[name], shape)
        cases.append(Case({name: values[name] for name in names}, g.about))
    return cases


def touches(
    x_shape: tuple[int, ...], kernel: tuple[int, int], stride: int, padding: int
) -> Iterator[tuple[int, ...]]:
    """(oh, ow, kh, kw, h, w): pixel (kh, kw) of the window (oh, ow) lies on pixel (h, w) of the image."""
    for oh, ow, kh, kw in np.ndindex(*reference.out_size(x_shape, kernel, stride, padding), *kernel):
        h, w = oh * stride + kh - padding, ow * stride + kw - padding
        if 0 <= h < x_shape[1] and 0 <= w < x_shape[2]:
            yield oh, ow, kh, kw, h, w


def over_the_border(x_shape: tuple[int, ...], kernel: tuple[int, int], stride: int, padding: int) -> np.ndarray:
    """(OH, OW): whether the window reaches over the border of the image."""
    pixels = np.zeros(reference.out_size(x_shape, kernel, stride, padding), int)
    for oh, ow, *_ in touches(x_shape, kernel, stride, padding):
        pixels[oh, ow] += 1
    return pixels < kernel[0] * kernel[1]


def first_patches(x: np.ndarray, kernel: tuple[int, int], stride: int, padding: int) -> np.ndarray:
    """As many patches as there are, but taken as if the stride were 1: (P, K)."""
    oh, ow = reference.out_size(x.shape, kernel, stride, padding)
    part = reference.pad2d(x, padding)[:, : oh + kernel[0] - 1, : ow + kernel[1] - 1]
    return reference.im2col(part, kernel, 1, 0)


def on_paper(pairs: Callable[[Arguments, tuple[int, ...]], Iterator[tuple[float, float]]]) -> Callable:
    """`worked` of an exercise, from the pairs of numbers whose products add up to an entry."""
    return lambda arguments, name, index: products(pairs(arguments, index))
