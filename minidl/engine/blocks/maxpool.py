"""Max pooling on tiles, see `minidl/kernels/max_pooling.py`."""

from __future__ import annotations

import numpy as np

from minidl.engine.blocks.fused import Fused
from minidl.engine.tiles.grid import Grid
from minidl.engine.tiles.runner import Scratch
from minidl.kernels.max_pooling import max_pool, max_pool_dx
from minidl.layers import GeneralMaxPool2D, Layer
from minidl.layers.pooling import MaxPool2D, MaxPoolCache

Array = np.ndarray

TILE_NUMBERS = 1 << 19  # the most numbers in a tile of x, unless a single image has more


class FusedMaxPool(Fused):
    """Made from a max pool, with the same results, bit for bit. Shapes: x (N, H, W, C), y (N, OH, OW, C)."""

    @staticmethod
    def match(layers: list[Layer], first: bool) -> int:
        return int(type(layers[0]) in (MaxPool2D, GeneralMaxPool2D))

    def train(self, x: Array) -> tuple[Array, MaxPoolCache]:
        y = self.runner.empty(self.plain.out_shape(x.shape), x.dtype)
        index, tiles = self.runner.empty(y.shape, np.uint8), self.tiles(x)

        def task(i: int, lane: int, scratch: Scratch) -> None:
            self.maxima(x[tiles[i]], y[tiles[i]], index[tiles[i]], scratch)

        self.runner.run(task, tiles)
        return y, MaxPoolCache(index, x.shape)

    def train_backward(self, dy: Array, cache: MaxPoolCache, need_dx: bool) -> Array | None:
        if not need_dx:
            return None
        dx = self.runner.empty(cache.x_shape, dy.dtype)
        tiles = self.tiles(dx)

        def task(i: int, lane: int, scratch: Scratch) -> None:
            max_pool_dx(dy[tiles[i]], cache.index[tiles[i]], dx[tiles[i]], self.plain.window(dx.shape), scratch)

        self.runner.run(task, tiles)
        return dx

    def tiles(self, x: Array) -> Grid:
        return self.runner.grid(len(x), max(1, TILE_NUMBERS // x[0].size))

    def fold(self, x: Array) -> None:
        """Nothing to prepare."""

    def infer_tile(self, x: Array, folded: None, scratch: Scratch) -> Array:
        """y of some images, in scratch memory of this layer."""
        y = scratch(f"y of {self.key}", self.plain.out_shape(x.shape), x.dtype)
        self.maxima(x, y, None, scratch)
        return y

    # ------------------------------------------------------------- on a tile, also for a block

    def maxima(self, x: Array, y: Array, index: Array | None, scratch: Scratch) -> None:
        """y (n, OH, OW, C) = the maxima of x (n, H, W, C), and their offsets in `index` unless it is None."""
        max_pool(x, y, index, self.plain.window(x.shape), scratch)

    def add_gradient(self, dy: Array, index: Array, dx: Array, scratch: Scratch) -> None:
        """dx (n, H, W, C) += the gradient of x."""
        grad = scratch("gradient of the pool", dx.shape, dx.dtype)  # copying and one long sum beat four short ones
        max_pool_dx(dy, index, grad, self.plain.window(dx.shape), scratch)
        dx += grad
