"""The end of a block, after the last stage's maps: batch normalization, a shortcut if there is one, the activation
and, if there is one, a 2x2 max pool.

Without a pool this is just `batchnorm.py`. With a pool, y is the maximum over the window of f(z scale + shift). This
rises with z if the activation f does (`batchnorm.py`: signs). So y = f(scale zmax + shift), where zmax is the
window's maximum: the pool comes first, while z is in the cache, and BN and f work on a quarter of the pixels.

Backward, d = dy f'(u) belongs to the winners, where z is zmax. So dbeta = sum d and sum d (z - mean) =
sum d (zmax - mean) are sums over a quarter of the pixels as well. Only the last step needs the whole map:
    dz = slope z + offset everywhere, plus d at the winners.
Where f is flat, pixels of a window may tie in y but not in z; whichever wins, its d is 0. The pool stays after f if f
falls somewhere, if a shortcut is added (the sum doesn't rise with z), or if gamma is exactly 0 (all pixels of a
window tie with y = f(beta)).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from minidl.engine.blocks import batchnorm as bn
from minidl.engine.blocks.maxpool import FusedMaxPool, PairPool
from minidl.engine.blocks.shortcut import Around, Shortcut, ShortcutBack
from minidl.engine.blocks.stage import Stage
from minidl.engine.tiles.grid import Grid
from minidl.engine.tiles.runner import Scratch, TileRunner
from minidl.layers import MaxPool2D
from minidl.layers.pooling import MaxPoolCache

Array = np.ndarray


class Map(NamedTuple):
    """The last stage's z (N, H, W, F), with `bn.signs` in it, that is completed tile by tile with `Epilogue.add`."""

    z: Array
    sums: bn.Sums  # of z and z^2
    zmax: Array | None  # (N, OH, OW, F)
    index: Array | None  # the winners' offsets


class Cache(NamedTuple):
    z: Array
    top: Array  # zmax, or z itself
    index: Array | None
    slope: Array  # f' of the shape of `top`; not y, which is the caller's to change
    norm: bn.Normalization
    around: Around | None
    pool: MaxPoolCache | None = None  # of a pool that stayed after them


class Back(NamedTuple):
    """What dz needs besides the cache."""

    d: Array
    slope: Array  # this and the next one `per_row` of z
    offset: Array
    shortcut: ShortcutBack | None


class Epilogue:
    """The end of the `stage`, on its tiles."""

    def __init__(self, stage: Stage, pool: MaxPool2D | None, shortcut: Shortcut | None, runner: TileRunner) -> None:
        self.bn, self.activation, self.shortcut, self.runner = stage.bn, stage.activation, shortcut, runner
        self.pool = FusedMaxPool(pool, runner) if pool else None
        self.pairs = PairPool(pool) if pool else None

    @property
    def pool_first(self) -> bool:
        """Whether the pool may come before BN and f (in TRAIN mode also if no gamma is 0)."""
        return self.pool is not None and self.activation.rises and self.shortcut is None

    # ------------------------------------------------------------------ training

    def start(self, z: Array, tiles: Grid) -> Map:
        zmax = index = None
        if self.pool_first and self.bn.param("gamma").all():
            zmax = self.runner.empty(self.pool.out_shape(z.shape), z.dtype)
            index = self.runner.empty(zmax.shape, np.uint8)
        return Map(z, bn.Sums(tiles, z), zmax, index)

    def add(self, i: int, tile: slice, m: Map, scratch: Scratch) -> None:
        """Called by a task when tile i of z is complete."""
        m.sums.add_up(i, m.z[tile], m.z[tile])
        if m.zmax is not None:
            self.pairs.forward(m.z[tile], m.zmax[tile], m.index[tile], scratch)

    def train(
        self, m: Map, around: Around | None, tiles: Grid, norm: bn.Normalization | None = None
    ) -> tuple[Array, Cache]:
        """(y, cache) of a complete map, with its own statistics unless others are given."""
        norm = norm or self.bn.normalize(m.z, m.sums, tiles, self.runner)
        top = m.z if m.zmax is None else m.zmax
        y = self.runner.empty(top.shape, top.dtype)
        slope = self.runner.empty(top.shape, self.activation.slope_dtype or top.dtype)
        line, around_line = norm.scale_and_shift(top), self.shortcut and self.shortcut.line(around)

        def task(i: int, lane: int, scratch: Scratch) -> None:
            u = bn.affine(top[tiles[i]], *line, y[tiles[i]])
            if self.shortcut:
                self.shortcut.add(u, tiles[i], around, around_line, scratch)
            self.activation.forward(u, slope[tiles[i]], scratch)

        self.runner.run(task, tiles)
        cache = Cache(m.z, top, m.index, slope, norm, around)
        if self.pool and m.zmax is None:
            y, pool = self.pool.train(y)
            cache = cache._replace(pool=pool)
        return y, cache

    def backward(
        self, dy: Array, x: Array, cache: Cache, tiles: Grid, jobs: Sequence[Callable[[], None]] = ()
    ) -> Back:
        """The part of the gradient that needs the whole batch; adds dgamma and dbeta to the layers' gradients.

        `jobs` are done at the same time, see TileRunner.run.
        """
        if cache.pool:
            dy = self.pool.train_backward(dy, cache.pool, True)
        sums = bn.GradientSums(tiles, cache.top, cache.norm)
        around = self.shortcut and self.shortcut.gradient_sums(cache.around, tiles)
        d = self.runner.empty(cache.top.shape, dy.dtype)

        def task(i: int, lane: int, scratch: Scratch) -> None:
            np.multiply(dy[tiles[i]], cache.slope[tiles[i]], out=d[tiles[i]])
            sums.add_up(i, d[tiles[i]], cache.top[tiles[i]])
            if around:
                around.add_up(i, d[tiles[i]], cache.around.r[tiles[i]])

        self.runner.run(task, tiles, jobs)
        line = self.bn.backward(*sums.over_batch(self.runner), cache.norm)
        back = self.shortcut and ShortcutBack(self.shortcut, x, d, cache.around, around, tiles)
        return Back(d, *bn.per_row(line, cache.z.shape[2]), back)

    def dz(self, back: Back, cache: Cache, tile: slice, scratch: Scratch) -> Array:
        """dz / scale of one tile, (n, H, W, F), in scratch memory."""
        z = cache.z[tile]
        dz = bn.affine(z, back.slope, back.offset, scratch("dz", z.shape, z.dtype))
        if cache.index is None:
            dz += back.d[tile]
        else:
            self.pairs.add_backward(back.d[tile], cache.index[tile], dz, scratch)
        return dz

    # ----------------------------------------------------------------- inference

    def out_shape(self, z_shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.pool.plain.out_shape(z_shape) if self.pool else z_shape

    def finish(self, z: Array, shift: Array, around: Array | None, slope: Array | None, scratch: Scratch) -> None:
        """z = f(z + shift + shortcut), in place, from z that carries BN's scale; slope = f' unless None."""
        u = bn.rows(z)
        u += shift
        if around is not None:
            z += around
        self.activation.forward(z, slope, scratch)
