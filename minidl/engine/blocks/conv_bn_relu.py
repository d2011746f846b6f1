"""Convolution, batch normalization and ReLU as one layer, tile by tile; with the 2x2 max pool after them, if there is
one.

BN needs a sum over the batch in each direction (`batchnorm.py`). Between these sums every tile is independent of the
others. So the convolution's output z is summed while it is in the cache, and the ReLU needs no pass of its own:

    forward   tiles: z = conv(x), sums of z         batch: mean, var      tiles: y = max(z scale + shift, 0)
    backward  tiles: d = dy [y > 0], sums           batch: slope, offset  tiles: dz = d + slope z + offset, dw, dx

(scale, shift, slope and offset are those of `batchnorm.py`, one number for each channel.)

BN's factor `scale` is not multiplied into dz, but into the filters of dx and, once, into dw. A bias of the
convolution only moves the mean, which BN subtracts again: y doesn't depend on it, and its gradient, sum dz, is
exactly zero.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidl.engine.blocks.batchnorm import Normalization
from minidl.engine.blocks.block import Fused
from minidl.engine.blocks.epilogue import Cache as EpilogueCache
from minidl.engine.blocks.epilogue import Epilogue
from minidl.engine.convolutions.choice import Filters, TileConv, tile_conv, weight_grad_jobs
from minidl.engine.tiles.grid import Grid, grid_of
from minidl.engine.tiles.runner import Scratch, TileRunner
from minidl.layers import Sequential

Array = np.ndarray

TILE_NUMBERS = 1 << 18  # the most numbers in a tile of x or z, unless a single image has more


class Cache(NamedTuple):
    x: Array
    epilogue: EpilogueCache


class Folded(NamedTuple):
    """For INFER mode: filters multiplied by BN's scale, and the shift."""

    filters: Array
    shift: Array  # `per_row`


class FusedConvBNReLU(Fused):
    """Made from a Sequential with the leaves Conv2D, BatchNorm2D, ReLU and perhaps a 2x2 MaxPool2D.

    Shapes: x (N, H, W, C), y (N, OH, OW, F) as Conv2D's or the pool's. `fold` and `infer_tile`: inference for a tile.
    """

    def __init__(self, plain: Sequential, runner: TileRunner) -> None:
        super().__init__(plain, runner)
        self.conv, norm, _, *pool = plain.leaves()
        self.epilogue = Epilogue([norm], pool[0] if pool else None, runner)
        self.weight, self.bias = self.conv.params["weight"], self.conv.params.get("bias")

    # ------------------------------------------------------------------ training

    def train(self, x: Array, norm: Normalization | None = None) -> tuple[Array, Cache]:
        """See Fused.train. If statistics are given, they are used, and the running ones don't change."""
        tiles, signs = self.tiles(x), self.epilogue.bn.signs()
        filters = self._kernel(x).filters(self.weight.value * signs)
        m = self.epilogue.start(self.conv.out_shape(x.shape), x.dtype, tiles)

        def task(i: int, lane: int, scratch: Scratch) -> None:
            out = m.z[tiles[i]]
            self._kernel(x[tiles[i]]).forward(x[tiles[i]], filters, out, scratch)
            if self.bias is not None:
                out += self.bias.value * signs
            self.epilogue.add(i, tiles[i], m, scratch)

        self.runner.run(task, tiles)
        y, cache = self.epilogue.train(m, tiles, norm)
        return y, Cache(x, cache)

    def train_backward(self, dy: Array, cache: Cache, need_dx: bool) -> Array | None:
        x, epilogue = cache
        tiles = self.tiles(x)
        scale, w_shape = epilogue.norm.scale * epilogue.norm.signs, self.weight.shape
        filters = Filters(self._kernel(x).turned_filters, self.weight.value * scale)
        back = self.epilogue.backward(dy, epilogue, tiles, [filters] if need_dx else [])
        dw = self.runner.empty((len(tiles.lanes), *self._kernel(x).dw_shape(w_shape)), x.dtype)
        dx = self.runner.empty(x.shape, x.dtype) if need_dx else None

        def task(i: int, lane: int, scratch: Scratch) -> None:
            tile = tiles[i]
            dz = scratch("dz", epilogue.z[tile].shape, x.dtype)
            self.epilogue.dz(back, epilogue, tile, dz, scratch)
            out = dx[tile] if need_dx else None
            kernel, more = self._kernel(x[tile]), tiles.again[i]
            kernel.backward(dz, x[tile], filters.ready, dw[lane], more, out, scratch)

        self.runner.run(task, tiles)
        grad = np.empty_like(self.weight.grad)
        self.runner.run(task, 0, weight_grad_jobs(self._kernel(x), dw, scale, grad))
        self.weight.grad += grad
        return dx

    # ----------------------------------------------------------------- inference

    def fold(self, x: Array) -> Folded:
        """The weights and running statistics as one set of filters and a shift, for inputs like x."""
        scale, shift = self.epilogue.bn.folded()
        if self.bias is not None:
            shift = shift + self.bias.value * scale
        shift = self.epilogue.infer_shift(shift, self.conv.out_shape(x.shape))
        return Folded(self._kernel(x).filters(self.weight.value * scale), shift)

    def infer_tile(self, x: Array, folded: Folded, scratch: Scratch) -> Array:
        """y of some images, in scratch memory of this layer."""
        z = scratch(f"z of {self.key}", self.conv.out_shape(x.shape), x.dtype)
        self._kernel(x).forward(x, folded.filters, z, scratch)
        return self.epilogue.infer_tile(z, folded.shift, f"y of {self.key}", scratch)

    # ------------------------------------------------------------------ geometry

    def tiles(self, x: Array) -> Grid:
        numbers = max(np.prod(x.shape[1:]), np.prod(self.conv.out_shape(x.shape)[1:]))
        return grid_of(len(x), max(1, TILE_NUMBERS // int(numbers)))

    def _kernel(self, x: Array) -> TileConv:
        """The convolution of a tile x."""
        return tile_conv(self.weight.shape, self.conv.stride, self.conv.padding, x.shape, x.dtype)
