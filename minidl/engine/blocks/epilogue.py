"""The epilogue of a convolution with output z: batch normalization, ReLU and, if there is one, a 2x2 max pool.

Without a pool this is just `batchnorm.py`. With a pool, y is the maximum over the window of max(z scale + shift, 0),
which rises with z (`batchnorm.py`: signs). So y = max(scale zmax + shift, 0), where zmax is the window's maximum: the
pool comes first, while z is in the cache, and BN and ReLU work on a quarter of the pixels.

Backward, d = dy [y > 0] belongs to the winners, where z is zmax. So dbeta = sum d and sum d (z - mean) =
sum d (zmax - mean) are sums over a quarter of the pixels as well. Only the last step needs the whole map:
    dz = slope z + offset everywhere, plus d at the winners.
In a window without a positive value every y is 0; whichever pixel wins, its d is 0. If gamma is exactly 0, all pixels
of a window have the same positive y = beta: then the pool stays after BN and ReLU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from minidl.engine.blocks import batchnorm as bn
from minidl.engine.blocks.maxpool import FusedMaxPool, PairPool
from minidl.engine.tiles.grid import Grid
from minidl.engine.tiles.runner import Scratch, TileRunner
from minidl.layers import BatchNorm2D, MaxPool2D
from minidl.layers.pooling import MaxPoolCache

Array = np.ndarray


class Map(NamedTuple):
    """A map z (N, H, W, F), with `bn.signs` in it, that is completed tile by tile with `Epilogue.add`."""

    z: Array
    sums: bn.Sums  # of z and z^2
    zmax: Array | None  # (N, OH, OW, F)
    index: Array | None  # the winners' offsets


class Cache(NamedTuple):
    z: Array
    top: Array  # zmax, or z itself
    index: Array | None
    positive: Array  # y > 0 after ReLU, of the shape of `top`; not y itself, which is the caller's to change
    norm: bn.Normalization
    pool: MaxPoolCache | None = None  # of a pool that stayed after them


class Back(NamedTuple):
    """What dz needs besides the cache."""

    d: Array
    slope: Array  # this and the next one `per_row` of z
    offset: Array


class Epilogue:
    """BN (several BatchNorm2D side by side), ReLU and perhaps a 2x2 pool, on the tiles of the layer before them."""

    def __init__(self, layers: list[BatchNorm2D], pool: MaxPool2D | None, runner: TileRunner) -> None:
        self.bn, self.runner = bn.BatchNorms(layers), runner
        self.pool = FusedMaxPool(pool, runner) if pool else None
        self.pairs = PairPool(pool) if pool else None

    def start(self, shape: tuple[int, ...], dtype: np.dtype, tiles: Grid) -> Map:
        """A new map of this shape."""
        z, zmax, index = self.runner.empty(shape, dtype), None, None
        if self.pool and self.bn.param("gamma").all():
            zmax = self.runner.empty(self.pool.out_shape(shape), dtype)
            index = self.runner.empty(zmax.shape, np.uint8)
        return Map(z, bn.Sums(tiles, z), zmax, index)

    def add(self, i: int, tile: slice, m: Map, scratch: Scratch) -> None:
        """Called by a task when tile i of z is complete."""
        m.sums.add_up(i, m.z[tile], m.z[tile])
        if m.zmax is not None:
            self.pairs.forward(m.z[tile], m.zmax[tile], m.index[tile], scratch)

    def train(self, m: Map, tiles: Grid, norm: bn.Normalization | None = None) -> tuple[Array, Cache]:
        """(y, cache) of a complete map, with its own statistics unless others are given."""
        norm = norm or self.bn.normalize(m.z, m.sums, tiles, self.runner)
        top = m.z if m.zmax is None else m.zmax
        y, positive = self.runner.empty(top.shape, top.dtype), self.runner.empty(top.shape, bool)
        line = norm.scale_and_shift(top)

        def task(i: int, lane: int, scratch: Scratch) -> None:
            bn.affine_relu(top[tiles[i]], *line, y[tiles[i]])
            np.greater(y[tiles[i]], 0, out=positive[tiles[i]])

        self.runner.run(task, tiles)
        cache = Cache(m.z, top, m.index, positive, norm)
        if self.pool and m.zmax is None:
            y, pool = self.pool.train(y)
            cache = cache._replace(pool=pool)
        return y, cache

    def backward(self, dy: Array, cache: Cache, tiles: Grid, jobs: Sequence[Callable[[], None]] = ()) -> Back:
        """The part of the gradient that needs the whole batch; adds dgamma and dbeta to the layers' gradients.

        `jobs` are done at the same time, see TileRunner.run.
        """
        if cache.pool:
            dy = self.pool.train_backward(dy, cache.pool, True)
        sums = bn.GradientSums(tiles, cache.top, cache.norm)
        d = self.runner.empty(cache.top.shape, dy.dtype)

        def task(i: int, lane: int, scratch: Scratch) -> None:
            np.multiply(dy[tiles[i]], cache.positive[tiles[i]], out=d[tiles[i]])
            sums.add_up(i, d[tiles[i]], cache.top[tiles[i]])

        self.runner.run(task, tiles, jobs)
        line = self.bn.backward(*sums.over_batch(self.runner), cache.norm)
        return Back(d, *bn.per_row(line, cache.z.shape[2]))

    def dz(self, back: Back, cache: Cache, tile: slice, out: Array, scratch: Scratch) -> None:
        """out = dz / scale of one tile, (n, H, W, F), contiguous."""
        bn.affine(cache.z[tile], back.slope, back.offset, out)
        if cache.index is None:
            out += back.d[tile]
        else:
            self.pairs.add_backward(back.d[tile], cache.index[tile], out, scratch)

    def infer_shift(self, shift: Array, z_shape: tuple[int, ...]) -> Array:
        """The shift as `infer_tile` needs it: `per_row` of z, or of the pooled map."""
        shape = self.pool.plain.out_shape(z_shape) if self.pool else z_shape
        return bn.per_row(shift, shape[2])

    def infer_tile(self, z: Array, shift: Array, name: str, scratch: Scratch) -> Array:
        """y from z, into which BN's scale is multiplied; in scratch memory called `name`, or in z itself."""
        if self.pool is None:
            bn.shift_relu(z, shift)
            return z
        y = scratch(name, self.pool.out_shape(z.shape), z.dtype)
        self.pairs.forward(z, y, None, scratch)
        bn.shift_relu(y, shift)
        return y
