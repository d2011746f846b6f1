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
from functools import partial
from typing import NamedTuple

import numpy as np

from minidl.engine.blocks import batchnorm as bn
from minidl.engine.blocks.epilogue import Epilogue
from minidl.engine.blocks.fused import Fused
from minidl.engine.blocks.maps import Shape
from minidl.engine.blocks.maxpool import FusedMaxPool
from minidl.engine.blocks.stage import Input, Stage, Weights
from minidl.engine.blocks.training import Gradient, StagePass
from minidl.engine.tiles.grid import Grid
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

    stages: list[StagePass]
    around: list[StagePass]
    end: Epilogue


class Folded(NamedTuple):
    """For INFER mode: weights multiplied by BN's scale, and BN's shifts."""

    weights: list[Weights]  # of every stage, and of the shortcut if it is one
    shifts: list[Array]  # of every stage, `per_row`, or (R,) if it passes channels on
    shapes: list[Shape]  # of every stage's z, for one image
    pool_first: bool


class Block(Fused):
    """A composite made from plain layers. A subclass says which ones (`match`, see fuse.py), and its `design`."""

    _shapes: Sequence[Shape] = [()]  # what `shapes` returned last

    def __init__(self, plain: Layer, runner: TileRunner) -> None:
        super().__init__(plain, runner)
        self.stages, pool, self.shortcut = self.design(plain)
        self.around = [self.shortcut] if isinstance(self.shortcut, Stage) else []  # it leads around the stages
        self.pool = FusedMaxPool(pool, runner) if pool else None

    @staticmethod
    def design(plain: Layer) -> Design:
        """The parts of the block, made from its plain layers."""
        raise NotImplementedError

    @property
    def pool_first(self) -> bool:
        """Whether the pool may come before BN and f; see epilogue.py."""
        return self.pool is not None and self.stages[-1].activation.rises and not self.shortcut

    # ------------------------------------------------------------------ training

    def train(self, x: Array, norm: bn.Normalization | None = None) -> tuple[Array, Cache]:
        """See Fused.train. If statistics of the last stage are given, they are used, and the running ones don't
        change.
        """
        tiles, (_, *shapes), below, passes = self.tiles(x), self.shapes(x.shape), x, []
        signs = self.full([stage.bn.signs() for stage in (*self.stages, *self.around)])
        for stage, shape, sign in zip(self.stages, shapes, signs, strict=False):
            below = StagePass(stage, below, shape, sign, tiles, self.runner)
            passes.append(below)
        around = [StagePass(stage, x, shapes[-1], signs[-1], tiles, self.runner) for stage in self.around]
        shortcut = around[0] if around else x if self.shortcut else None
        end = Epilogue(passes[-1], shortcut, self.pool, self.pool_first)
        side_by_side = [passes[0], *around]  # both read x
        for at in side_by_side:
            at.weights.now()
        for above in (*passes[1:], None):
            self.runner.run(partial(_forward, side_by_side), tiles, above.weights.jobs if above else [])
            for at in side_by_side:
                at.normalize(None if above else norm)
            side_by_side = [above]
        return end.forward(), Cache(passes, around, end)

    def train_backward(self, dy: Array, cache: Cache, need_dx: bool) -> Array | None:
        passes, around, end = cache
        del cache  # every stage's memory is free for the stages below it
        scales = self.full([at.norm.scale * at.norm.signs for at in (*passes, *around)])
        for at, scale in zip((*passes, *around), scales, strict=True):
            at.prepare(scale, turn=True)
        d = end.backward(dy, [job for at in (passes[-1], *around) for job in at.weights.jobs])
        del end
        at_end, tiles = d if self.shortcut else None, passes[-1].tiles
        for at in around:
            at.start_backward(False)
        while passes:
            at = passes.pop()
            at.start_backward(bool(passes) or need_dx)
            through = partial(_backward_around, around, at_end) if self.shortcut and not passes else _backward
            self.runner.run(partial(through, at, d), tiles, passes[-1].weights.jobs if passes else [])
            self.runner.later(*at.grad_jobs())
            d = partial(lambda dx, tile, scratch: dx[tile], at.dx)  # at itself would keep its z
        self.runner.later(*(job for at in around for job in at.grad_jobs()))
        return at.dx

    # ----------------------------------------------------------------- inference

    def fold(self, x: Array, pool_first: bool | None = None) -> Folded:
        """The weights and running statistics as one set of weights and shifts, for inputs like x."""
        pool_first = self.pool_first if pool_first is None else pool_first
        scales, shifts = map(list, zip(*(stage.folded() for stage in (*self.stages, *self.around)), strict=True))
        if self.around:
            shifts[-2] = shifts[-2] + shifts[-1]
        shapes = self.shapes(x.shape)[1:]
        widths = [shape[2] for shape in [*shapes[:-1], self.pool.out_shape(shapes[-1]) if pool_first else shapes[-1]]]
        shifts = [
            shift if stage.passes else bn.per_row(shift, width)
            for stage, shift, width in zip(self.stages, shifts, widths, strict=False)
        ]
        return Folded(self.weights(scales, False, x), shifts, [shape[1:] for shape in shapes], pool_first)

    def infer_tile(self, x: Array, folded: Folded, scratch: Scratch) -> Array:
        """y of some images, in scratch memory of this layer."""
        return self.up(x, folded, None, scratch)[0]

    def up(
        self, x: Array, folded: Folded, slopes: list[Array] | None, scratch: Scratch
    ) -> tuple[Array, Array | None]:
        """(y, None) like `infer_tile`; or if f' of every stage shall be in `slopes`, (y, the pool's winners)."""
        a, kept, index = Input(x), slopes or [None] * len(self.stages), None
        for s, (stage, shape) in enumerate(zip(self.stages, folded.shapes, strict=True)):
            is_y = stage is self.stages[-1] and not self.pool  # which outlives the block
            z = scratch(f"y of {self.key}" if is_y else f"z{s}", (len(x), *shape), x.dtype)
            if is_y and self.shortcut and np.may_share_memory(x, z):  # x is this block's last y, and is still needed
                z = scratch(f"second y of {self.key}", z.shape, z.dtype)
            stage.forward(a, folded.weights[s], z, scratch)
            if stage is not self.stages[-1]:
                a = stage.shifted(z, folded.shifts[s], None, kept[s], scratch)
        around = x if self.shortcut else None
        for stage in self.around:
            around = scratch("shortcut", z.shape, z.dtype)
            stage.forward(Input(x), folded.weights[-1], around, scratch)
        if folded.pool_first:
            z, _ = self._pooled(z, False, scratch)
        self.stages[-1].shifted(z, folded.shifts[-1], around, kept[-1], scratch)
        if self.pool and not folded.pool_first:
            z, index = self._pooled(z, slopes is not None, scratch)
        return z, index

    def _pooled(self, z: Array, winners: bool, scratch: Scratch) -> tuple[Array, Array | None]:
        y = scratch(f"y of {self.key}", self.pool.out_shape(z.shape), z.dtype)
        index = scratch(f"winners of {self.key}", y.shape, np.uint8) if winners else None
        self.pool.maxima(z, y, index, scratch)
        return y, index

    # ------------------------------------------------------- geometry and weights

    def tiles(self, x: Array) -> Grid:
        numbers = max(math.prod(x.shape[1:]), math.prod(self.shapes(x.shape)[-1][1:]))
        return self.runner.grid(len(x), max(1, TILE_NUMBERS // numbers))

    def shapes(self, x_shape: Shape) -> Sequence[Shape]:
        """Of x, and of the z of every stage."""
        if self._shapes[0] != x_shape:
            shapes = [x_shape]
            for stage in self.stages:
                shapes.append(stage.out_shape(shapes[-1]))
            self._shapes = shapes
        return self._shapes

    def weights(self, scales: list[Array], turn: bool, x: Array) -> list[Weights]:
        """Of every stage, and of the shortcut if it is one, for its normalized channels' `scales`."""
        shapes = [*self.shapes(x.shape)[:-1], x.shape]
        stages = zip((*self.stages, *self.around), self.full(scales), shapes, strict=False)
        return [
            Weights(stage.parts, scale, turn, shape, x.dtype, self.runner.empty).now()
            for stage, scale, shape in stages
        ]

    def full(self, scales: list[Array]) -> list[Array]:
        """The factors of all channels of every stage, from those of the normalized ones."""
        scales = list(scales)
        for s in reversed(range(len(self.stages) - 1)):
            if self.stages[s].passes:
                passed = [scales[s + 1][out] for linear, _, out in self.stages[s + 1].parts if not linear.weighted]
                scales[s] = np.concatenate([scales[s], *passed])
        return scales


def _forward(passes: list[StagePass], i: int, lane: int, scratch: Scratch) -> None:
    for at in passes:
        at.forward(i, scratch)


def _backward(at: StagePass, d: Gradient, i: int, lane: int, scratch: Scratch) -> Array | None:
    """dx of one tile. `d` makes that of a tile."""
    dx = None if at.dx is None else at.dx[at.tiles[i]]
    at.backward(i, d(at.tiles[i], scratch), dx, scratch)
    return dx


def _backward_around(
    around: list[StagePass], at_end: Gradient, first: StagePass, d: Gradient, i: int, lane: int, scratch: Scratch
) -> None:
    """Also through the shortcut: dx += d at the end, or what its stage makes of it."""
    dx = _backward(first, d, i, lane, scratch)
    d = at_end(first.tiles[i], scratch)
    for at in around:
        d, above = None if dx is None else scratch("dx of the shortcut", dx.shape, dx.dtype), d
        at.backward(i, above, d, scratch)
    if dx is not None:
        dx += d
