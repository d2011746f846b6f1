"""The stem's convolution and 4x4 pool at step 2 on maps sorted by parity; for one image, or a few.

A window is four pixels wide and high, at a step of two: along a row it is two neighbouring pairs (even column, odd
column), down a column likewise. So z is evaluated in four maps, for its even and odd rows and columns. Then each step
of the pool is a maximum of two contiguous maps: odd against even columns, the next pair against this one, odd against
even rows, the next pair against this one. Reading order is row by row, and the second must be strictly larger to win:
so "the first maximum wins" holds in each step. The comparisons are kept, one byte each (`Maxima`); backward, the
gradient takes the four steps in reverse (`winners_sum`).

The maps have h x w pixels, h = H / 2 - 1 and w = W / 2: of a pair of rows and a pair of columns each. The last column
has no convolution output. It stays, so that neighbours in a map are neighbours in memory at one distance (1 or w
pixels) and every step is one call on long runs. What is computed there never meets a window; patches are 0 there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from minidl.engine.tiles.products import part
from minidl.engine.tiles.runner import Scratch

Array = np.ndarray


class Maxima(NamedTuple):
    """Where the second of two is the larger: masks of all images, or of one, each (..., h w, F)."""

    odd: Array  # (N, 2, h w, F) the odd column, in rows of even and odd number
    right: Array  # (N, 2, h w, F) the next pair of columns
    lower: Array  # (N, h w, F) the odd row
    below: Array  # (N, h w, F) the next pair of rows
    positive: Array  # (N, h - 1, w - 2, F) y > 0

    @staticmethod
    def new(y_shape: tuple[int, ...], pixels: int, empty: Any) -> Maxima:
        n, *_, f = y_shape
        return Maxima(*(empty((n, *rows, pixels, f), bool) for rows in ((2,), (2,), (), ())), empty(y_shape, bool))

    def of(self, i: int) -> Maxima:
        return Maxima(*(part[i] for part in self))


def fill_patches(x: Array, center: Array, patches: Array, scratch: Scratch) -> None:
    """patches (n, 9 C + 1, 4, h w) from x (n, H, W, C), of every image:
    [kh kw c, a b, i j] = x[2i + a + kh, 2j + b + kw, c] - center[c].

    The last row is 1. Rows and columns of x come apart by parity first: then every patch row is one long run.
    """
    n, height, width, c = x.shape
    h, w = height // 2 - 1, width // 2
    planes, pixels = _planes(x.shape, x.dtype, scratch)
    np.subtract(
        x.reshape(n, h + 1, 2, w, 2, c).transpose(0, 5, 2, 4, 1, 3), center.reshape(c, 1, 1, 1, 1), out=pixels
    )
    out = patches[:, :-1].reshape(n, 3, 3, c, 2, 2, h * w)  # n, kh, kw, c, a, b, i j
    for kh, kw, runs in _taps(planes, h, w):
        out[:, kh, kw] = runs
    patches[:, -1] = 1
    patches.reshape(n, -1, 4, h, w)[..., -1] = 0


def add_patches(dpatches: Array, dx: Array, scratch: Scratch) -> None:
    """dx (n, H, W, C) = the transpose of `fill_patches`: every number of dpatches (n, 9 C, 4, h w) goes back to its
    pixel, where they add up."""
    n, height, width, c = dx.shape
    h, w = height // 2 - 1, width // 2
    planes, pixels = _planes(dx.shape, dx.dtype, scratch)
    planes[...] = 0
    parts = dpatches.reshape(n, 3, 3, c, 2, 2, h * w)  # n, kh, kw, c, a, b, i j
    for kh, kw, runs in _taps(planes, h, w):
        runs += parts[:, kh, kw]
    dx.reshape(n, h + 1, 2, w, 2, c)[...] = pixels.transpose(0, 4, 2, 5, 3, 1)


def _planes(shape: tuple[int, ...], dtype: np.dtype, scratch: Scratch) -> tuple[Array, Array]:
    """Working memory for images (n, H, W, C) sorted by the parity of rows and columns: (n, C, 2, 2, pixels + 1), and
    its pixels as (n, C, 2, 2, H / 2, W / 2)."""
    n, height, width, c = shape
    planes = scratch("stem planes", (n, c, 2, 2, height * width // 4 + 1), dtype)
    return planes, planes[..., :-1].reshape(n, c, 2, 2, height // 2, width // 2)


def _taps(planes: Array, h: int, w: int) -> Iterator[tuple[int, int, Array]]:
    """(kh, kw, view): pixel (2i + a + kh, 2j + b + kw) of the planes at [n, c, a, b, i j]."""
    n, c = planes.shape[:2]
    image, plane, row, column, pixel = planes.strides
    for kh, (down, above) in enumerate(((0, row), (row, w * pixel), (w * pixel, row + w * pixel))):  # a = 0, a = 1
        for kw, (left, right) in enumerate(((0, column), (column, pixel), (pixel, column + pixel))):  # b = 0, b = 1
            strides = image, plane, above - down, right - left, pixel
            yield kh, kw, np.ndarray((n, c, 2, 2, h * w), planes.dtype, planes, down + left, strides)


def in_parts(patches: Array, f: int) -> Array:
    """(K, 4, h w) -> (K, 4, parts, pixels), for small products with F columns."""
    k, _, pixels = patches.shape
    return patches.reshape(k, 4, -1, part(pixels, k * f))


def pool_blocks(
    patches: Array, filters: Array, y: Array, maxima: Maxima | None, scratch: Scratch, relu: bool = False
) -> None:
    """y (h - 1, w - 2, F) = the pool of patches' filters (K, F), or of its ReLU; notes the winners in `maxima`.

    Three maps of working memory, written over and over, stay in the cache.
    """
    pixels, w, f = patches.shape[2], y.shape[1] + 2, y.shape[2]
    maps = scratch("three maps", (3, pixels, f), y.dtype)
    upper, pairs, lower = maps
    parts = in_parts(patches, f).transpose(1, 2, 3, 0)  # (4, parts, pixels, K)
    z = maps[1:].reshape(2, *parts.shape[1:3], f)  # of even columns, of odd columns
    for a, quads in enumerate((upper, lower)):
        np.matmul(parts[2 * a : 2 * a + 2], filters, out=z)  # (pixels, K) @ (K, F)
        if relu:
            np.maximum(z, 0, out=z)
        _larger(pairs, lower, pairs, maxima and maxima.odd[a])
        _larger(pairs[:-1], pairs[1:], quads[:-1], maxima and maxima.right[a, :-1])
    _larger(upper, lower, upper, maxima and maxima.lower)
    if maxima:
        np.greater(upper[w:], upper[:-w], out=maxima.below[:-w])
    blocks = upper.reshape(-1, w, f)  # (h w, F) -> (h, w, F)
    np.maximum(blocks[:-1, :-2], blocks[1:, :-2], out=y)


def _larger(first: Array, second: Array, out: Array, second_wins: Array | None) -> None:
    if second_wins is not None:
        np.greater(second, first, out=second_wins)
    np.maximum(first, second, out=out)


def to_winners(dy: Array, maxima: Maxima, positive: Array | None, scratch: Scratch) -> Iterator[Array]:
    """dz, where every dy [y > 0] (every dy, without `positive`) has gone to its window's winner and there added up:
    first the two maps of even rows, then those of odd rows, each (2, h w, F). dy (h - 1, w - 2, F).

    The gradient goes from a map to the places of its winners, in place: three maps stay in the cache.
    """
    w, f = dy.shape[1] + 2, dy.shape[2]
    maps = scratch("three d maps", (3, *maxima.lower.shape), dy.dtype)
    upper, moved, lower = maps
    upper[...] = 0
    corner = upper.reshape(-1, w, f)[:-1, :-2]  # (h w, F) -> (h, w, F)
    np.multiply(dy, 1 if positive is None else positive, out=corner)
    _move_winners(upper, maxima.below, w, moved)
    np.multiply(upper, maxima.lower, out=lower)
    upper -= lower
    for a, dz in enumerate((maps[:2], maps[:0:-1])):  # upper, moved; lower, moved
        d = dz[0]
        _move_winners(d, maxima.right[a], 1, moved)
        np.multiply(d, maxima.odd[a], out=moved)
        d -= moved  # d is dz of the even columns, moved of the odd ones
        yield dz


def winners_sum(patches: Array, dy: Array, maxima: Maxima, out: Array, scratch: Scratch) -> None:
    """out (K, F) = sum over windows of the winner's patch times dy [y > 0]; dy (h - 1, w - 2, F)."""
    parts = in_parts(patches, dy.shape[2]).transpose(1, 2, 0, 3)  # (4, parts, K, pixels)
    sums = scratch("stem sums", (*parts.shape[:2], *out.shape), dy.dtype)
    for a, dz in enumerate(to_winners(dy, maxima, maxima.positive, scratch)):
        rows = slice(2 * a, 2 * a + 2)
        dz = dz.reshape(2, parts.shape[1], -1, dy.shape[2])  # (2, h w, F) -> (2, parts, pixels, F)
        np.matmul(parts[rows], dz, out=sums[rows])  # (K, pixels) @ (pixels, F)
    np.add.reduce(sums, axis=(0, 1), out=out)


def _move_winners(d: Array, second_wins: Array, distance: int, moved: Array) -> None:
    """d[i] stays where the first of (i, i + distance) won, and moves to i + distance where the second did."""
    last = len(d) - distance
    np.multiply(d[:last], second_wins[:last], out=moved[:last])
    d[:last] -= moved[:last]
    d[distance:] += moved[:last]
