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

from collections.abc import Sequence

import numpy as np

from minidl.engine.blocks import batchnorm as bn
from minidl.engine.blocks.maxpool import FusedMaxPool
from minidl.engine.blocks.training import Gradient, StagePass, Winners
from minidl.engine.tiles.runner import Job, Scratch
from minidl.layers.pooling import MaxPoolCache

Array = np.ndarray


class Epilogue:
    """The end of a block in one TRAIN pass, from z of its `last` stage to y, and from dy to d.

    `shortcut` is what is added: x itself, or a stage that reads x. `pool_first`: whether the pool may come first.
    """

    _pooled: MaxPoolCache | None = None  # of a pool that stays behind

    def __init__(
        self, last: StagePass, shortcut: Array | StagePass | None, pool: FusedMaxPool | None, pool_first: bool
    ) -> None:
        self._last, self._shortcut, self._pool = last, shortcut, pool
        if pool_first and last.stage.bn.param("gamma").all():
            zmax = last.runner.empty(pool.out_shape(last.z.shape), last.z.dtype)
            last.winners = Winners(pool, zmax, last.runner.empty(zmax.shape, np.uint8))

    def forward(self) -> Array:
        """y"""
        last, shortcut, tiles, activation = self._last, self._shortcut, self._last.tiles, self._last.stage.activation
        y = last.runner.empty(last.top.shape, last.top.dtype)
        self._slope = last.runner.empty(y.shape, activation.slope_dtype or y.dtype)  # y is the caller's to change

        def task(i: int, lane: int, scratch: Scratch) -> None:
            u = bn.affine(last.top[tiles[i]], *last.line, y[tiles[i]])
            if isinstance(shortcut, StagePass):
                u += bn.affine(shortcut.top[tiles[i]], *shortcut.line, scratch("shortcut", u.shape, u.dtype))
            elif shortcut is not None:
                u += shortcut[tiles[i]]
            activation.forward(u, self._slope[tiles[i]], scratch)

        last.runner.run(task, tiles)
        if self._pool and not last.winners:
            y, self._pooled = self._pool.train(y)
        return y

    def backward(self, dy: Array, jobs: Sequence[Job]) -> Gradient:
        """d = dy f'(u), after its sums with the last stage's z and the shortcut's; `jobs` are done at the same time.

        d of a tile is made again when it is needed: this takes less time than to write it to memory and read it.
        """
        if self._pooled:
            dy = self._pool.train_backward(dy, self._pooled, True)
        slope, tiles = self._slope, self._last.tiles
        stages = [at for at in (self._last, self._shortcut) if isinstance(at, StagePass)]
        for at in stages:
            at.sum_gradients()

        def d(tile: slice, scratch: Scratch) -> Array:
            return np.multiply(dy[tile], slope[tile], out=scratch("d", dy[tile].shape, dy.dtype))

        def task(i: int, lane: int, scratch: Scratch) -> None:
            of_tile = d(tiles[i], scratch)
            for at in stages:
                at.sums.add_up(i, of_tile, at.top[tiles[i]])

        self._last.runner.run(task, tiles, jobs)
        return d
