"""The one form of all composites but the stem: stages of linear maps with batch normalization between them.

A block takes x through its stages, and each stage's output z through batch normalization and an activation:

    stage 1      z = maps of x        BN     a = f(z scale + shift)
    stage 2      z = maps of a        BN     ...
    epilogue     y = f(z scale + shift + shortcut of x), and perhaps a 2x2 max pool

A stage is one or more linear maps (`maps.py`) side by side on the channel axis. Convolution + BN + ReLU is a block
with one stage. An inception module has two: all 1x1 convolutions, which share one product, then the k x k
convolutions. A residual block has a shortcut.

BN needs a sum over the batch in each direction. These sums are the barriers between the stages; between two of them
every tile is independent of the others (`batchnorm.py`). So a stage's maps, and the sums of their z, are computed
while a tile is in the cache; a itself is never stored, but made again from z in backward:

    forward   for each stage:            tiles: a of the stage below, z, sums      batch: mean, variance
    backward  from the last stage down:  tiles: dz = d + slope z + offset, dw, da, d = da f'(u) below, sums
                                                                                   batch: slope, offset

BN's factor `scale` is not multiplied into z or dz, but into the weights. A bias only moves the mean, which BN
subtracts again: y doesn't depend on it, and its gradient, sum dz, is exactly zero.

Channels without BN. The last channels of a stage may go on as they are (`Stage.passes`): the 1x1 convolutions of an
inception module that no k x k convolution follows. The next stage's maps without weights take them to its own z,
where they are normalized. Their factor `scale` is that of the channels they become (`Block.full`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minidl.engine.blocks import batchnorm as bn
from minidl.engine.blocks.epilogue import Cache as EpilogueCache
from minidl.engine.blocks.epilogue import Epilogue
from minidl.engine.blocks.fused import Fused
from minidl.engine.blocks.maps import Shape
from minidl.engine.blocks.shortcut import Shortcut
from minidl.engine.blocks.stage import Input, Stage, Weights
from minidl.engine.tiles.grid import Grid, grid_of
from minidl.engine.tiles.runner import Scratch, TileRunner
from minidl.layers import Layer, MaxPool2D

Array = np.ndarray

TILE_NUMBERS = 1 << 18  # the most numbers in a tile of x or of the last z, unless a single image has more


class Design(NamedTuple):
    """What a composite is made of."""

    stages: list[Stage]
    pool: MaxPool2D | None = None  # 2x2, after the last stage
    shortcut: Stage | bool = False  # added before the last activation; True: x itself


class Cache(NamedTuple):
    """What a TRAIN forward pass keeps."""

    x: Array
    zs: list[Array]  # of every stage
    norms: list[bn.Normalization]  # of every stage
    epilogue: EpilogueCache


class Folded(NamedTuple):
    """For INFER mode: weights multiplied by BN's scale, and BN's shifts."""

    weights: list[Weights]  # of every stage
    shifts: list[Array]  # of every stage, `per_row`, or (R,) if it passes channels on
    shortcut: Weights | None
    shapes: list[Shape]  # of every stage's z, for one image


class Block(Fused):
    """A composite made from plain layers. A subclass says which ones (`match`, see fuse.py), and its `design`."""

    _shapes: Sequence[Shape] = [()]  # what `shapes` returned last

    def __init__(self, plain: Layer, runner: TileRunner) -> None:
        super().__init__(plain, runner)
        self.stages, pool, shortcut = self.design(plain)
        self.shortcut = Shortcut(shortcut if isinstance(shortcut, Stage) else None, runner) if shortcut else None
        self.epilogue = Epilogue(self.stages[-1], pool, self.shortcut, runner)

    @staticmethod
    def design(plain: Layer) -> Design:
        """The parts of the block, made from its plain layers."""
        raise NotImplementedError

    # ------------------------------------------------------------------ training

    def train(self, x: Array, norm: bn.Normalization | None = None) -> tuple[Array, Cache]:
        """See Fused.train. If statistics of the last stage are given, they are used, and the running ones don't
        change.
        """
        tiles, shapes = self.tiles(x), self.shapes(x.shape)
        signs = self.full([stage.bn.signs() for stage in self.stages])
        weights = self.weights("filters", signs, x)
        around = self.shortcut and self.shortcut.start(x, tiles)
        zs = [self.runner.empty(shape, x.dtype) for shape in shapes[1:]]
        top = self.epilogue.start(zs[-1], tiles)
        norms, lines = [], []
        weights[0].now()
        for s, stage in enumerate(self.stages):
            last, bias = stage is self.stages[-1], stage.bias()
            sums = top.sums if last else bn.Sums(tiles, zs[s][..., stage.normed])

            def task(
                i: int,
                lane: int,
                scratch: Scratch,
                s=s,
                stage=stage,
                last=last,
                bias=bias,
                sums=sums,
                around=around,
            ):
                z = zs[s][tiles[i]]
                stage.forward(self._input(s, x, zs, lines, tiles[i], False, scratch), weights[s], z, scratch)
                if bias is not None:
                    z += bias * signs[s]
                if self.shortcut and s == 0:
                    self.shortcut.forward(i, tiles[i], x, around, scratch)
                if last:
                    self.epilogue.add(i, tiles[i], top, scratch)
                else:
                    dense = stage.dense(z, scratch)
                    sums.add_up(i, dense, dense)

            self.runner.run(task, tiles, [] if last else weights[s + 1].jobs)
            if self.shortcut and s == 0:
                around = self.shortcut.normalize(around, tiles)
            if not last:
                norms.append(stage.bn.normalize(zs[s][..., stage.normed], sums, tiles, self.runner))
                lines.append(norms[s].scale_and_shift(zs[s]))
        y, cache = self.epilogue.train(top, around, tiles, norm)
        return y, Cache(x, zs, [*norms, cache.norm], cache)

    def train_backward(self, dy: Array, cache: Cache, need_dx: bool) -> Array | None:
        x, zs, norms, epilogue = cache
        tiles, shapes = self.tiles(x), self.shapes(x.shape)
        scales = self.full([norm.scale * norm.signs for norm in norms])
        turned = self.weights("turned", scales, x)
        lines = [norm.scale_and_shift(z) for norm, z in zip(norms[:-1], zs, strict=False)]
        back = self.epilogue.backward(dy, x, epilogue, tiles, turned[-1].jobs)
        below, slopes, jobs = None, None, []
        for s in reversed(range(len(self.stages))):
            stage, lower = self.stages[s], self.stages[s - 1] if s else None
            dws = stage.lanes(tiles, shapes[s], x.dtype, self.runner)
            da = self.runner.empty(shapes[s], x.dtype) if s or need_dx else None
            sums = bn.GradientSums(tiles, zs[s - 1][..., lower.normed], norms[s - 1]) if s else None

            def task(i: int, lane: int, scratch: Scratch, s=s, stage=stage, lower=lower, above=below, slopes=slopes,
                     dws=dws, da=da, sums=sums):  # fmt: skip
                tile, add = tiles[i], tiles.again[i]
                if above is None:
                    dz = self.epilogue.dz(back, epilogue, tile, scratch)
                else:
                    dz, z = above[tile], stage.dense(zs[s][tile], scratch)
                    dz[..., stage.normed] += bn.affine(z, *slopes, scratch("affine", z.shape, z.dtype))
                a, into = self._input(s, x, zs, lines, tile, True, scratch), None if da is None else da[tile]
                stage.backward(dz, a, turned[s], dws, lane, add, into, scratch)
                if s:
                    d = scratch("d", a.slope.shape, x.dtype)
                    np.multiply(into[..., lower.normed], a.slope, out=d)
                    into[..., lower.normed] = d
                    sums.add_up(i, d, a.z)
                elif back.shortcut:
                    back.shortcut.task(tile, lane, add, into, scratch)

            self.runner.run(task, tiles, [*jobs, *(turned[s - 1].jobs if s else [])])
            if s:
                line = lower.bn.backward(*sums.over_batch(self.runner), norms[s - 1])
                slopes = bn.per_row(line, da.shape[2])
            below, jobs = da, stage.grad_jobs(dws, scales[s], shapes[s])
        self.runner.run(None, 0, [*jobs, *(back.shortcut.grad_jobs() if back.shortcut else [])])
        return da

    def _input(
        self, s: int, x: Array, zs: list[Array], lines: list, tile: slice, slope: bool, scratch: Scratch
    ) -> Input:
        """The input of stage s on one tile: x, or what the stage below makes of its z; made anew in backward."""
        if s == 0:
            return Input(x[tile])
        return self.stages[s - 1].activated(zs[s - 1][tile], lines[s - 1], slope, f"stage {s}", scratch)

    # ----------------------------------------------------------------- inference

    def fold(self, x: Array, pool_first: bool | None = None) -> Folded:
        """The weights and running statistics as one set of weights and shifts, for inputs like x."""
        pooled = self.epilogue.pool_first if pool_first is None else pool_first
        scales, shifts = map(list, zip(*(stage.folded() for stage in self.stages), strict=True))
        shortcut = None
        if self.shortcut and self.shortcut.stage:
            scale, shift = self.shortcut.stage.folded()
            shortcut = self.shortcut.stage.weights("filters", scale, x.shape, x.dtype, self.runner.empty).now()
            shifts[-1] = shifts[-1] + shift
        shapes = self.shapes(x.shape)[1:]
        widths = [shape[2] for shape in [*shapes[:-1], self.epilogue.out_shape(shapes[-1]) if pooled else shapes[-1]]]
        shifts = [
            shift if stage.passes else bn.per_row(shift, width)
            for stage, shift, width in zip(self.stages, shifts, widths, strict=True)
        ]
        weights = [w.now() for w in self.weights("filters", self.full(scales), x)]
        return Folded(weights, shifts, shortcut, [shape[1:] for shape in shapes])

    def infer_tile(self, x: Array, folded: Folded, scratch: Scratch) -> Array:
        """y of some images, in scratch memory of this layer."""
        z, around = self._up(x, folded, [None] * len(self.stages), scratch)
        if self.epilogue.pool_first:
            z, _ = self._pooled(z, False, scratch)
        self.epilogue.finish(z, folded.shifts[-1], around, None, scratch)
        return z if self.epilogue.pool_first else self._pooled(z, False, scratch)[0]

    def up(self, x: Array, folded: Folded, slopes: list[Array], scratch: Scratch) -> tuple[Array, Array | None]:
        """(y, the pool's winners) like `infer_tile`, with the pool at the end, and f' of every stage in `slopes`."""
        z, around = self._up(x, folded, slopes, scratch)
        self.epilogue.finish(z, folded.shifts[-1], around, slopes[-1], scratch)
        return self._pooled(z, True, scratch)

    def _up(self, x: Array, folded: Folded, slopes: list, scratch: Scratch) -> tuple[Array, Array | None]:
        """z of the last stage, and what the shortcut adds to it."""
        a = Input(x)
        for s, (stage, weights, shape) in enumerate(zip(self.stages, folded.weights, folded.shapes, strict=True)):
            z = scratch(f"z{s} of {self.key}", (len(x), *shape), x.dtype)
            stage.forward(a, weights, z, scratch)
            if stage is not self.stages[-1]:
                a = stage.shifted(z, folded.shifts[s], slopes[s], scratch)
        return z, self.shortcut and self.shortcut.infer_tile(x, folded.shortcut, z, scratch)

    def _pooled(self, z: Array, winners: bool, scratch: Scratch) -> tuple[Array, Array | None]:
        """The pool of z, or z itself if there is none, and the winners if asked for."""
        if self.epilogue.pool is None:
            return z, None
        y = scratch(f"y of {self.key}", self.epilogue.out_shape(z.shape), z.dtype)
        index = scratch(f"winners of {self.key}", y.shape, np.uint8) if winners else None
        self.epilogue.pairs.forward(z, y, index, scratch)
        return y, index

    # ------------------------------------------------------------------ geometry

    def tiles(self, x: Array) -> Grid:
        numbers = max(math.prod(x.shape[1:]), math.prod(self.shapes(x.shape)[-1][1:]))
        return grid_of(len(x), max(1, TILE_NUMBERS // numbers))

    def shapes(self, x_shape: Shape) -> list[Shape]:
        """Of x, and of the z of every stage."""
        if self._shapes[0] != x_shape:
            shapes = [x_shape]
            for stage in self.stages:
                shapes.append(stage.out_shape(shapes[-1]))
            self._shapes = shapes
        return self._shapes

    # ------------------------------------------------------------------- weights

    def weights(self, way: str, scales: list[Array], x: Array) -> list[Weights]:
        """Of every stage, not ready yet."""
        pairs = zip(self.stages, scales, self.shapes(x.shape), strict=False)
        return [stage.weights(way, scale, shape, x.dtype, self.runner.empty) for stage, scale, shape in pairs]

    def full(self, scales: list[Array]) -> list[Array]:
        """The factors of all channels of every stage, from those of the normalized ones."""
        scales = list(scales)
        for s in reversed(range(len(scales) - 1)):
            if self.stages[s].passes:
                scales[s] = np.resize(scales[s], self.stages[s].channels)
                for linear, source, out in self.stages[s + 1].parts:
                    if not linear.weighted:
                        scales[s][source] = scales[s + 1][out]
        return scales
