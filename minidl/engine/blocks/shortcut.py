"""What a residual block adds to its last stage: x itself, or a stage of its own, linear maps of x and their BN."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidl.engine.blocks import batchnorm as bn
from minidl.engine.blocks.stage import Input, Stage, Weights
from minidl.engine.tiles.grid import Grid
from minidl.engine.tiles.runner import Scratch, TileRunner

Array = np.ndarray


class Around(NamedTuple):
    """The shortcut in one TRAIN pass: r = x, or z of the shortcut's stage with its statistics."""

    r: Array
    weights: Weights | None = None
    sums: bn.Sums | None = None
    norm: bn.Normalization | None = None


class Shortcut:
    """g(x) = x without a `stage`. Its maps work on the tiles of the block's first stage, which read x too."""

    def __init__(self, stage: Stage | None, runner: TileRunner) -> None:
        self.stage, self.runner = stage, runner

    # ------------------------------------------------------------------ training

    def start(self, x: Array, tiles: Grid) -> Around:
        if self.stage is None:
            return Around(x)
        z = self.runner.empty(self.stage.out_shape(x.shape), x.dtype)
        weights = self.stage.weights("filters", self.stage.bn.signs(), x.shape, x.dtype, self.runner.empty)
        return Around(z, weights.now(), bn.Sums(tiles, z))

    def forward(self, i: int, tile: slice, x: Array, around: Around, scratch: Scratch) -> None:
        """Called by a task for tile i of x."""
        if self.stage:
            self.stage.forward(Input(x[tile]), around.weights, around.r[tile], scratch)
            around.sums.add_up(i, around.r[tile], around.r[tile])

    def normalize(self, around: Around, tiles: Grid) -> Around:
        """Called when all tiles are done."""
        if self.stage is None:
            return around
        return Around(around.r, norm=self.stage.bn.normalize(around.r, around.sums, tiles, self.runner))

    def line(self, around: Around) -> tuple[Array, Array] | None:
        """For `add`."""
        return around.norm and around.norm.scale_and_shift(around.r)

    def add(self, u: Array, tile: slice, around: Around, line: tuple[Array, Array] | None, scratch: Scratch) -> None:
        """u += the shortcut of one tile."""
        if line is None:
            u += around.r[tile]
        else:
            u += bn.affine(around.r[tile], *line, scratch("shortcut", u.shape, u.dtype))

    def gradient_sums(self, around: Around, tiles: Grid) -> bn.GradientSums | None:
        return around.norm and bn.GradientSums(tiles, around.r, around.norm)

    # ----------------------------------------------------------------- inference

    def infer_tile(self, x: Array, weights: Weights | None, z: Array, scratch: Scratch) -> Array:
        """What is added to z (n, OH, OW, F), without BN's shift; `weights` carry its scale."""
        if self.stage is None:
            return x
        r = scratch("shortcut", z.shape, z.dtype)
        self.stage.forward(Input(x), weights, r, scratch)
        return r


class ShortcutBack:
    """The way back: d at the sum y = f(... + g(x)) goes to x, beside the tiles of the block's first stage."""

    def __init__(self, shortcut: Shortcut, x: Array, d: Array, around: Around, sums: bn.GradientSums, tiles: Grid):
        self.stage, self.x, self.d, self.around = shortcut.stage, x, d, around
        if self.stage:
            self.scale = around.norm.scale * around.norm.signs
            slopes = self.stage.bn.backward(*sums.over_batch(shortcut.runner), around.norm)
            self.line = bn.per_row(slopes, d.shape[2])
            self.turned = self.stage.weights("turned", self.scale, x.shape, x.dtype, shortcut.runner.empty).now()
            self.dws = self.stage.lanes(tiles, x.shape, x.dtype, shortcut.runner)

    def task(self, tile: slice, lane: int, add: bool, dx: Array | None, scratch: Scratch) -> None:
        """dx += the gradient through the shortcut, on one tile."""
        d = self.d[tile]
        if self.stage:
            dz = bn.affine(self.around.r[tile], *self.line, scratch("dz", d.shape, d.dtype))
            dz += d
            d = None if dx is None else scratch("dx of the shortcut", dx.shape, dx.dtype)
            self.stage.backward(dz, Input(self.x[tile]), self.turned, self.dws, lane, add, d, scratch)
        if dx is not None:
            dx += d

    def grad_jobs(self) -> list:
        return self.stage.grad_jobs(self.dws, self.scale, self.x.shape) if self.stage else []
