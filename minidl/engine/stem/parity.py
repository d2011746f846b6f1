"""The stem's convolution and its 4x4 pool with stride 2, on maps that are sorted by parity; for one image or a few.

A window is four pixels wide and high, and the next one starts two pixels further: it consists of 2x2 blocks of 2x2
pixels. So z is computed in four maps, one for each pixel of a block. Each step of the pool is then a maximum of two
contiguous maps: even and odd columns, even and odd rows (now every block has its maximum), this block and the next
one, this pair of blocks and the one below. The comparisons are kept, one byte each (`Maxima`). Backward, the gradient
takes the four steps in reverse (`winners_sum`).

Of equal values in a window the first one wins; the reading order is row by row. So in each step the second value wins
only if it is strictly larger, with one exception: if the maxima of two neighbouring blocks are equal, the left one
lies in its block's lower row and the right one in its upper row, then the right one comes first.

The maps have h x w pixels, h = H / 2 - 1 and w = W / 2: one for each pair of rows and pair of columns. The last
column has no convolution output. It is kept, so that neighbours in a map always have the same distance in memory (1
or w pixels), and every step is one call on long runs. The values there never reach a window; the patches are 0 there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from minidl.engine.tiles.products import part
from minidl.engine.tiles.runner import Scratch

Array = np.ndarray


class Maxima(NamedTuple):
    """Where the second of two values is larger: masks of all images, or of one, each (..., h w, F)."""

    odd: Array  # (N, 2, h w, F) the odd column, in rows of even and odd number
    lower: Array  # (N, h w, F) the odd row
    right: Array  # (N, h w, F) the next block
    below: Array  # (N, h w, F) the next pair of blocks
    positive: Array  # (N, h - 1, w - 2, F) y > 0

    @staticmethod
    def new(y_shape: tuple[int, ...], pixels: int, empty: Any) -> Maxima:
        n, *_, f = y_shape
        return Maxima(*(empty((n, *rows, pixels, f), bool) for rows in ((2,), (), (), ())), empty(y_shape, bool))

    def of(self, i: int) -> Maxima:
        return Maxima(*(part[i] for part in self))


def fill_patches(x: Array, center: Array, patches: Array, scratch: Scratch) -> None:
    """Writes patches (n, 9 C + 1, 4, h w) of x (n, H, W, C), for every image:

        [kh kw c, a b, i j] = x[2i + a + kh, 2j + b + kw, c] - center[c].

    The last row is 1. The rows and columns of x are first separated by parity: then every patch row is one long run.
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
    """dx (n, H, W, C) = the transpose of `fill_patches`.

    Every number of dpatches (n, 9 C, 4, h w) is added to its pixel.
    """
    n, height, width, c = dx.shape
    h, w = height // 2 - 1, width // 2
    planes, pixels = _planes(dx.shape, dx.dtype, scratch)
    planes[...] = 0
    parts = dpatches.reshape(n, 3, 3, c, 2, 2, h * w)  # n, kh, kw, c, a, b, i j
    for kh, kw, runs in _taps(planes, h, w):
        runs += parts[:, kh, kw]
    dx.reshape(n, h + 1, 2, w, 2, c)[...] = pixels.transpose(0, 4, 2, 5, 3, 1)


def _planes(shape: tuple[int, ...], dtype: np.dtype, scratch: Scratch) -> tuple[Array, Array]:
    """Working memory for images (n, H, W, C) sorted by the parity of rows and columns: (n, C, 2, 2, pixels + 1).

    Also returns a view of its pixels, (n, C, 2, 2, H / 2, W / 2).
    """
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
    patches: Array, filters: Array, y: Array, maxima: Maxima, scratch: Scratch, relu: bool = False
) -> None:
    """y (h - 1, w - 2, F) = the pool of patches' filters (K, F), or of its ReLU; writes the winners to `maxima`.

    Three maps of working memory are used again and again, and stay in the cache.
    """
    pixels, w, f = patches.shape[2], y.shape[1] + 2, y.shape[2]
    maps = scratch("three maps", (3, pixels, f), y.dtype)
    upper, pairs, lower = maps
    parts = in_parts(patches, f).transpose(1, 2, 3, 0)  # (4, parts, pixels, K)
    z = maps[1:].reshape(2, *parts.shape[1:3], f)  # of even columns, of odd columns
    for a, out in enumerate((upper, pairs)):
        np.matmul(parts[2 * a : 2 * a + 2], filters, out=z)  # (pixels, K) @ (K, F)
        if relu:
            np.maximum(z, 0, out=z)
        _larger(pairs, lower, out, maxima.odd[a])
    _larger(upper, pairs, upper, maxima.lower)
    left, right, second_wins = upper[:-1], upper[1:], maxima.right[:-1]
    equal, earlier = scratch("stem ties", (2, pixels - 1, f), bool)
    np.equal(left, right, out=equal)
    np.greater(maxima.lower[:-1], maxima.lower[1:], out=earlier)
    equal &= earlier
    _larger(left, right, pairs[:-1], second_wins)
    second_wins |= equal
    np.greater(pairs[w:], pairs[:-w], out=maxima.below[:-w])
    _larger_below(pairs, y)


def pool_maxima(patches: Array, filters: Array, y: Array, scratch: Scratch) -> None:
    """y as `pool_blocks` has it, without the winners: so the four maps come first, and two maps are enough."""
    parts, f = in_parts(patches, y.shape[2]).transpose(1, 2, 3, 0), y.shape[2]  # (4, parts, pixels, K)
    largest, other = scratch("two maps", (2, patches.shape[2], f), y.dtype)
    np.matmul(parts[0], filters, out=largest.reshape(*parts.shape[1:3], f))  # (pixels, K) @ (K, F)
    for part_of in parts[1:]:
        np.matmul(part_of, filters, out=other.reshape(*parts.shape[1:3], f))
        np.maximum(largest, other, out=largest)
    np.maximum(largest[:-1], largest[1:], out=other[:-1])
    _larger_below(other, y)


def _larger(first: Array, second: Array, out: Array, second_wins: Array) -> None:
    np.greater(second, first, out=second_wins)
    np.maximum(first, second, out=out)


def _larger_below(pairs: Array, y: Array) -> None:
    """y (h - 1, w - 2, F) = the maxima of neighbouring rows of a map (h w, F)."""
    blocks = pairs.reshape(-1, y.shape[1] + 2, y.shape[2])  # (h w, F) -> (h, w, F)
    np.maximum(blocks[:-1, :-2], blocks[1:, :-2], out=y)


def to_winners(dy: Array, maxima: Maxima, positive: Array | None, scratch: Scratch) -> Iterator[Array]:
    """Yields dz, in which every dy [y > 0] (every dy, without `positive`) is added to the winner of its window.

    First come the two maps of even rows, then those of odd rows, each (2, h w, F). dy (h - 1, w - 2, F). The gradient
    moves from a map to the places of its winners, in place: three maps stay in the cache.
    """
    w, f = dy.shape[1] + 2, dy.shape[2]
    maps = scratch("three d maps", (3, *maxima.lower.shape), dy.dtype)
    upper, moved, lower = maps
    blocks = upper.reshape(-1, w, f)  # (h w, F) -> (h, w, F)
    blocks[-1] = blocks[:, -2:] = 0
    np.multiply(dy, 1 if positive is None else positive, out=blocks[:-1, :-2])
    _move_winners(upper, maxima.below, w, moved)
    _move_winners(upper, maxima.right, 1, moved)
    np.multiply(upper, maxima.lower, out=lower)
    upper -= lower
    for a, dz in enumerate((maps[:2], maps[:0:-1])):  # upper, moved; lower, moved
        np.multiply(dz[0], maxima.odd[a], out=moved)
        dz[0] -= moved  # dz[0] is dz of the even columns, moved of the odd ones
        yield dz


def winners_sum(patches: Array, dy: Array, maxima: Maxima, out: Array, scratch: Scratch) -> None:
    """out (K, F) = the sum over windows of the winner's patch times dy [y > 0]; dy (h - 1, w - 2, F)."""
    parts = in_parts(patches, dy.shape[2]).transpose(1, 2, 0, 3)  # (4, parts, K, pixels)
    sums = scratch("stem sums", (*parts.shape[:2], *out.shape), dy.dtype)
    for a, dz in enumerate(to_winners(dy, maxima, maxima.positive, scratch)):
        rows = slice(2 * a, 2 * a + 2)
        dz = dz.reshape(2, parts.shape[1], -1, dy.shape[2])  # (2, h w, F) -> (2, parts, pixels, F)
        np.matmul(parts[rows], dz, out=sums[rows])  # (K, pixels) @ (pixels, F)
    np.add.reduce(sums, axis=(0, 1), out=out)


def _move_winners(d: Array, second_wins: Array, distance: int, moved: Array) -> None:
    """d[i] stays where the first of (i, i + distance) won, and moves to i + distance where the second won."""
    last = len(d) - distance
    np.multiply(d[:last], second_wins[:last], out=moved[:last])
    d[:last] -= moved[:last]
    d[distance:] += moved[:last]
