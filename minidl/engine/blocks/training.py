"""A stage in one TRAIN pass: what its tasks do with a tile, and what is done for the whole batch in between."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from minidl.engine.blocks import batchnorm as bn
from minidl.engine.blocks.maps import Shape
from minidl.engine.blocks.maxpool import FusedMaxPool
from minidl.engine.blocks.stage import Input, Job, Part, Stage, Weights
from minidl.engine.tiles.grid import Grid
from minidl.engine.tiles.runner import Scratch, TileRunner
from minidl.engine.tiles.sums import ProductSum

Array = np.ndarray
Gradient = Callable[[slice, Scratch], Array]  # of a map, tile by tile


class Winners(NamedTuple):
    """The result of a 2x2 max pool that comes before BN (`epilogue.py`)."""

    pool: FusedMaxPool
    zmax: Array  # (N, OH, OW, F)
    index: Array  # their offsets in the windows


class StagePass:
    """A stage whose input is x, or what the stage `below` makes of its z, in one TRAIN pass.

    `forward` and `backward` work on one tile, number i. Each other method is called when all tiles are ready for it.
    """

    winners: Winners | None = None

    def __init__(
        self, stage: Stage, below: Array | StagePass, shape: Shape, signs: Array, tiles: Grid, runner: TileRunner
    ) -> None:
        self.stage, self.tiles, self.runner = stage, tiles, runner
        self.below, self.x = (below, below.z) if isinstance(below, StagePass) else (None, below)
        self.z = runner.empty(shape, self.x.dtype)  # (N, OH, OW, F), with `signs` in it
        self.sums = bn.Sums(tiles, self.z[..., stage.normed])
        self.bias = stage.bias()
        self.prepare(signs, turn=False)

    def prepare(self, scale: Array, turn: bool) -> None:
        """Sets `weights` up for forward, or for backward if `turn`; scale (F,). Their jobs are still to be done."""
        self.weights = Weights(self.stage.parts, scale, turn, self.x.shape, self.x.dtype, self.runner.empty)

    def forward(self, i: int, scratch: Scratch) -> None:
        tile = self.tiles[i]
        z = self.z[tile]
        self.stage.forward(self._input(tile, False, scratch), self.weights, z, scratch)
        if self.bias is not None:
            z += self.bias * self.weights.scale
        dense = self.stage.dense(z, scratch)
        self.sums.add_up(i, dense, dense)
        if self.winners:
            self.winners.pool.maxima(z, self.winners.zmax[tile], self.winners.index[tile], scratch)

    def normalize(self, norm: bn.Normalization | None = None) -> None:
        """Takes the statistics of z, unless others are given; `top` is what BN and the activation work on."""
        z = self.z[..., self.stage.normed]
        self.norm = norm or self.stage.bn.normalize(z, self.sums, self.tiles, self.runner)
        self.top = self.winners.zmax if self.winners else z
        self.line = bn.per_row(self.norm.line, self.top.shape[2], self.runner.empty)
        self.sums = self.weights = None  # their memory is free for the next stage

    # ------------------------------------------------------------------ backward

    def sum_gradients(self) -> None:
        """From now on `sums` takes d, the gradient at BN's output, and `top`."""
        self.sums = bn.GradientSums(self.tiles, self.top, self.norm)

    def start_backward(self, need_dx: bool) -> None:
        """The `sums` of d are complete."""
        line = self.stage.bn.backward(*self.sums.over_batch(self.runner), self.norm, self.runner)
        self.line_back = bn.per_row(line, self.z.shape[2], self.runner.empty)
        self.dws = [self._product_sum(part) if part.map.weighted else None for part in self.stage.parts]
        # Of z, a tile is not needed any more when dx of this tile is made.
        same = self.z.shape == self.x.shape
        self.dx = (self.z if same else self.runner.empty(self.x.shape, self.z.dtype)) if need_dx else None
        if self.below:
            self.below.sum_gradients()

    def backward(self, i: int, d: Array, dx: Array | None, scratch: Scratch) -> None:
        """dx (n, H, W, C) = d at the BN of the stage below, or the gradient at x; and the tile's part of dw."""
        tile = self.tiles[i]
        dz, a = self.dz(tile, d, scratch), self._input(tile, True, scratch)
        for (linear, source, out), w, dw in zip(self.stage.parts, self.weights, self.dws, strict=True):
            into = None if dx is None else dx[..., source]
            product = linear.backward(dz[..., out], a.channels(source), w, into, scratch)
            if dw:
                dw.add(i, *product, scratch)
        if self.below:
            normed = self.below.stage.normed
            d = np.multiply(dx[..., normed], a.slope, out=scratch("d", a.slope.shape, dx.dtype))
            dx[..., normed] = d
            self.below.sums.add_up(i, d, a.z)

    def dz(self, tile: slice, d: Array, scratch: Scratch) -> Array:
        """dz / scale of one tile: slope z + offset everywhere, and d, at the winners if there are any."""
        z = self.stage.dense(self.z[tile], scratch)
        dz = bn.affine(z, *self.line_back, scratch("dz", z.shape, z.dtype))
        if self.winners:
            self.winners.pool.add_gradient(d, self.winners.index[tile], dz, scratch)
        elif self.stage.passes:
            d[..., self.stage.normed] += dz
            return d
        else:
            dz += d
        return dz

    def grad_jobs(self) -> list[Job]:
        """Jobs that add dw, of all tiles and times scale, to the gradients of the weights."""
        jobs = []
        for part, dw in zip(self.stage.parts, self.dws, strict=True):
            if dw:
                scale = None if self.runner.by_shard else self.weights.scale[part.out]
                jobs += part.map.grad_jobs(dw.total, scale, self.x.shape)
        return jobs

    def _product_sum(self, part: Part) -> ProductSum:
        scale = self.weights.scale[part.out]
        of_shard = partial(part.map.weight_grad, scale=scale, x_shape=self.x.shape) if self.runner.by_shard else None
        return ProductSum(self.tiles, self.runner.empty, of_shard)

    def _input(self, tile: slice, slope: bool, scratch: Scratch) -> Input:
        if self.below is None:
            return Input(self.x[tile])
        return self.below.stage.activated(self.x[tile], self.below.line, slope, scratch)
