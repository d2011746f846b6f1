"""Max pooling on tiles. 2x2 windows that don't overlap are maxima of pairs: first upper and lower, because whole rows
of pixels are long runs in memory, then left and right.

    a b      t = max(a, c),  u = max(b, d),  y = max(t, u)
    c d

Of equal values the first one wins; the reading order is row by row. So in each step the second value wins only if it
is strictly larger, with one exception: if t = u, t is c and u is b, then b comes before c. A comparison gives 0 or 1.
With l = (c > a) and m = (d > b), the winner's offset within its window is 2 m + 1 if the right pair won, otherwise
2 l: fast arithmetic on bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.engine.blocks.fused import Fused
from minidl.engine.tiles.grid import Grid
from minidl.engine.tiles.runner import Scratch
from minidl.kernels import blocked
from minidl.layers import Layer
from minidl.layers.pooling import MaxPool2D, MaxPoolCache

Array = np.ndarray

TILE_NUMBERS = 1 << 18  # the most numbers in a tile of x, unless a single image has more


class PairPool:
    """The windows of a 2x2 max pool, stride 2, padding 0 or 1, tile by tile."""

    def __init__(self, pool: MaxPool2D) -> None:
        self.pool = pool

    @staticmethod
    def matches(pool: MaxPool2D) -> bool:
        return (pool.kernel, pool.stride) == (2, 2)

    def forward(self, x: Array, y: Array, index: Array | None, scratch: Scratch) -> None:
        """y (n, OH, OW, C) = the windows' maxima of x (n, H, W, C), and their offsets 0 .. 3 in `index` if given."""
        (n, _, w, c), p = x.shape, self.pool.padding
        pairs = scratch("pairs", (n, y.shape[1], w, c), x.dtype)
        if index is None:
            _pair_max(x, p, pairs)
            _pair_max(pairs.swapaxes(1, 2), p, y.swapaxes(1, 2))
            return
        lower = scratch("lower wins", pairs.shape, bool)
        right, equal = scratch("right wins", (2, *y.shape), bool)
        _pair_max(x, p, pairs, lower)
        _pair_max(pairs.swapaxes(1, 2), p, y.swapaxes(1, 2), right.swapaxes(1, 2))
        inside = slice(p, p + (w - p) // 2)  # the windows with two columns inside of x; the others have one
        beyond = 2 * inside.stop - p
        lower, winner, equal = lower.view(np.uint8), index[:, :, inside], equal[:, :, inside]
        index[:, :, :p], index[:, :, inside.stop :] = lower[:, :, :p], lower[:, :, beyond:]
        np.subtract(lower[:, :, p + 1 : beyond : 2], lower[:, :, p:beyond:2], out=winner)  # m - l modulo 256
        np.equal(pairs[:, :, p:beyond:2], pairs[:, :, p + 1 : beyond : 2], out=equal)
        equal &= winner == 255  # the exception
        right[:, :, inside] |= equal
        right = right.view(np.uint8)
        winner *= right[:, :, inside]
        winner += lower[:, :, p:beyond:2]
        index += index
        index += right

    def backward(self, dy: Array, index: Array, dx: Array, scratch: Scratch) -> None:
        """dx (n, H, W, C) = the gradient of x: every dy (n, OH, OW, C) at the pixel `index` of its window, else 0."""
        (_, h, w, _), (_, oh, ow, _), p = dx.shape, dy.shape, self.pool.padding
        if 2 * oh - p < h or 2 * ow - p < w:  # a last row or column is in no window
            dx[...] = 0
        maxima, share = scratch("maxima", dy.shape, bool), scratch("share", dy.shape, dy.dtype)
        for k in range(4):
            np.equal(index, np.uint8(k), out=maxima)
            np.multiply(dy, maxima, out=share)
            (down, rows), (along, columns) = _of_offset(k // 2, oh, h, 2, p), _of_offset(k % 2, ow, w, 2, p)
            dx[:, rows, columns] = share[:, down, along]

    def add_backward(self, dy: Array, index: Array, dx: Array, scratch: Scratch) -> None:
        """dx (n, H, W, C) += the gradient of x."""
        grad = scratch("gradient of the pool", dx.shape, dx.dtype)  # copying and one long sum beat four short ones
        self.backward(dy, index, grad, scratch)
        dx += grad


def sum_at_winners(pool: MaxPool2D, dy: Array, index: Array, dx: Array, scratch: Scratch) -> None:
    """dx (n, H, W, C) = the gradient: every dy (n, OH, OW, C) is added to the pixel `index` of its window."""
    (_, h, w, _), (_, oh, ow, _) = dx.shape, dy.shape
    dx[...] = 0
    maxima, share = scratch("maxima", dy.shape, bool), scratch("share", dy.shape, dy.dtype)
    for k in range(pool.kernel**2):
        np.equal(index, np.uint8(k), out=maxima)
        np.multiply(dy, maxima, out=share)
        down, rows = _of_offset(k // pool.kernel, oh, h, pool.stride, pool.padding)
        along, columns = _of_offset(k % pool.kernel, ow, w, pool.stride, pool.padding)
        dx[:, rows, columns] += share[:, down, along]


def _of_offset(offset: int, windows: int, size: int, stride: int, pad: int) -> tuple[slice, slice]:
    """Along an axis of `size`: the windows whose pixel at this offset lies inside, and these pixels."""
    first = max(0, -((offset - pad) // stride))
    inside = max(first, min(windows, (size - 1 - offset + pad) // stride + 1))
    start = stride * first + offset - pad
    return slice(first, inside), slice(start, start + stride * (inside - first), stride)


def _pair_max(x: Array, pad: int, y: Array, second_wins: Array | None = None) -> None:
    """y[:, i] = max(x[:, 2 i - pad], x[:, 2 i - pad + 1]); a pixel outside of x never wins."""
    pairs = (x.shape[1] - pad) // 2
    whole, inside = slice(pad, pad + pairs), x[:, pad : pad + 2 * pairs]
    np.maximum(inside[:, ::2], inside[:, 1::2], out=y[:, whole])
    if second_wins is not None:
        np.greater(inside[:, 1::2], inside[:, ::2], out=second_wins[:, whole])
    if pad:
        y[:, 0] = x[:, 0]
        if second_wins is not None:
            second_wins[:, 0] = True
    if y.shape[1] > pad + pairs:
        y[:, -1] = x[:, -1]
        if second_wins is not None:
            second_wins[:, -1] = False


class FusedMaxPool(Fused):
    """Made from MaxPool2D, with the same results, bit for bit. Shapes: x (N, H, W, C), y (N, OH, OW, C)."""

    def __init__(self, plain: MaxPool2D, runner: Any) -> None:
        super().__init__(plain, runner)
        self.pairs = PairPool(plain) if PairPool.matches(plain) else None

    @staticmethod
    def match(layers: list[Layer], first: bool) -> int:
        return int(type(layers[0]) is MaxPool2D)

    def train(self, x: Array) -> tuple[Array, MaxPoolCache]:
        y = self.runner.empty(self.plain.out_shape(x.shape), x.dtype)
        index, tiles = self.runner.empty(y.shape, np.uint8), self.tiles(x)

        def task(i: int, lane: int, scratch: Scratch) -> None:
            tile = tiles[i]
            if self.pairs:
                self.pairs.forward(x[tile], y[tile], index[tile], scratch)
            if not self.pairs or np.isnan(np.vdot(y[tile], y[tile])):  # comparisons with NaN are false
                y[tile], index[tile] = blocked.max_pool(x[tile], *self._geometry)

        self.runner.run(task, tiles)
        return y, MaxPoolCache(index, x.shape)

    def train_backward(self, dy: Array, cache: MaxPoolCache, need_dx: bool) -> Array | None:
        if not need_dx:
            return None
        dx = self.runner.empty(cache.x_shape, dy.dtype)
        tiles = self.tiles(dx)

        def task(i: int, lane: int, scratch: Scratch) -> None:
            tile = tiles[i]
            if self.pairs:
                self.pairs.backward(dy[tile], cache.index[tile], dx[tile], scratch)
            else:
                sum_at_winners(self.plain, dy[tile], cache.index[tile], dx[tile], scratch)

        self.runner.run(task, tiles)
        return dx

    def tiles(self, x: Array) -> Grid:
        return self.runner.grid(len(x), max(1, TILE_NUMBERS // x[0].size))

    def fold(self, x: Array) -> None:
        """Nothing to prepare."""

    def infer_tile(self, x: Array, folded: None, scratch: Scratch) -> Array:
        """y of some images, in scratch memory of this layer."""
        if not self.pairs:
            return blocked.max_pool(x, *self._geometry)[0]
        y = scratch(f"y of {self.key}", self.plain.out_shape(x.shape), x.dtype)
        self.pairs.forward(x, y, None, scratch)
        return y

    @property
    def _geometry(self) -> tuple[int, int, int]:
        return self.plain.kernel, self.plain.stride, self.plain.padding
