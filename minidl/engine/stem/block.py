"""A network's first layers, 3x3 convolution + BN + ReLU + 4x4 max pool with stride 2, without the map between them.

An image (64, 64, 3) becomes a map (62, 62, 128), forty times as many numbers, of which the pool keeps a quarter.
Writing and reading that map takes most of the plain layers' time. Three ideas avoid it:

BN's statistics without z. Every pixel of z is z = p w, where the patch p is a row of 27 numbers. So the sums over
pixels of z and z^2 follow from g = sum p (27 numbers) and from the Gram matrix G = sum p.T p (27 x 27):
    M mean = g w,    M var = diag(w.T G w) - M mean^2.
In the code g is one more row below G, because every patch ends in a 1.
Such sums lose digits if w cancels most of p, as edge filters do with an image's brightness. So the channels' mean c
over the batch is subtracted from p first, unless it is almost zero. This moves z's mean by c w and changes nothing
else. Below, p means the centred patch. For filters that cancel still more, as second derivatives do on smooth images,
G is computed again in float64 (`LOST`).

Pooling before BN. y = max(scale z + shift, 0) rises with z where scale > 0, and falls where scale < 0. Multiply the
filters by s = sign(scale), which is exact; then the largest s z of a window gives the largest y. Where scale is 0,
every pixel gives the same y. So BN and ReLU work on the pooled pixels only. After the ReLU, all pixels of a window
without a positive value are 0; whichever of them wins, its gradient is 0, because the ReLU's is.

Pooling by parity (`parity.py`): z is computed in four maps, for its even and odd rows and columns. The pool is then
four steps, each the maximum of two contiguous maps. Three maps of one image stay in the cache; z as a whole never
exists.

Backward. d = dy [y > 0] belongs to the winners. With S = sum p.T d over them, with dbeta = sum d, and with the terms
in z from `batchnorm.py`,
    dw = sum p.T dz = scale (S + slope (G w - g.T mean) - g.T dbeta / M),    sum d (z - mean) = w . S - mean dbeta.
The dense part comes from G again. It is also the reason why c cancels (sum dz = 0).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minidl.engine.blocks import batchnorm as bn
from minidl.engine.blocks.activation import ReLU as ReLUPart
from minidl.engine.blocks.conv import ConvBlock
from minidl.engine.blocks.fused import Fused
from minidl.engine.blocks.maxpool import FusedMaxPool
from minidl.engine.blocks.pattern import Reader
from minidl.engine.stem.parity import Maxima, fill_patches, pool_blocks, pool_maxima, winners_sum
from minidl.engine.tiles.grid import Grid
from minidl.engine.tiles.recycler import aligned_copy
from minidl.engine.tiles.runner import Scratch, TileRunner
from minidl.layers import Layer, MaxPool2D, ReLU, Sequential
from minidl.layers.base import Parameter

Array = np.ndarray

RELU = ReLUPart()
GATHER_IMAGES = 4  # whose patches are gathered at a time
LOST = 1024.0  # times the variance: larger terms would cost it more than 10 binary digits (trained filters: 185)


class Cache(NamedTuple):
    x: Array
    patches: Array
    maxima: Maxima
    gram: Array
    mean: Array  # (F,) float64, of z from centred patches
    norm: bn.Normalization


class FusedStem(Fused):
    """Made from Conv2D, BatchNorm2D, ReLU and MaxPool2D that `match` accepts.

    Shapes: x (N, H, W, C), y (N, h - 1, w - 1, F) for h x w blocks, h = (H - 2) / 2. If H or W is odd, or if dx is
    asked for, two composites do the work, one for the convolution and one for the pool.
    """

    def __init__(self, plain: Sequential, runner: TileRunner) -> None:
        super().__init__(plain, runner)
        leaves = list(plain.leaves())
        self.conv = ConvBlock(Sequential(leaves[:3]), runner)
        self.pool = FusedMaxPool(leaves[3], runner)
        self.bn, self._conv2d = self.conv.stages[0].bn, leaves[0]

    @property
    def weight(self) -> Parameter:
        return self._conv2d.params["weight"]

    @staticmethod
    def match(layers: list[Layer], first: bool) -> int:
        """It has one form only, and only as a network's first layers."""
        reader = Reader(layers)
        found, pool = reader.conv_bn(), reader.one(MaxPool2D)
        if not (first and found and pool and type(found.activation) is ReLU and "bias" not in found.conv.params):
            return 0
        kernel, _, c, _ = found.conv.params["weight"].shape
        geometry = kernel, found.conv.stride, found.conv.padding, pool.kernel, pool.stride, pool.padding
        return reader.whole if geometry == (3, 1, 0, 4, 2, 0) and c <= 4 else 0

    # ------------------------------------------------------------------ training

    def train(self, x: Array) -> tuple[Array, Any]:
        if not is_even(x.shape):
            y, cache = self.conv.train(x)
            y, pool_cache = self.pool.train(y)
            return y, (cache, pool_cache)
        n, height, width, c = x.shape
        h, w, f = height // 2 - 1, width // 2, self.bn.channels
        tiles = self.tiles(x)
        sums = bn.Sums(tiles, x)
        for i, tile in enumerate(tiles):
            sums.add_up(i, x[tile], x[tile])
        all_pixels, mean, var = sums.moments(self.runner)
        center = np.where(mean**2 > var, mean, 0).astype(x.dtype)  # or it would cost digits instead of saving some
        patches = self.runner.empty((n, 9 * c + 1, 4, h * w), x.dtype)
        grams = np.empty((len(tiles), 9 * c + 1, 9 * c))

        def add_up(i: int, dtype: np.dtype | type, scratch: Scratch) -> None:
            p = patches[tiles[i]].swapaxes(1, 2).astype(dtype, copy=False)  # (n, 4, K + 1, h w)
            parts = scratch("gram", (*p.shape[:2], *grams[i].shape), dtype)
            np.add.reduce(np.matmul(p, p[:, :, :-1].swapaxes(2, 3), out=parts), axis=(0, 1), out=grams[i])

        def gather(i: int, lane: int, scratch: Scratch) -> None:
            fill_patches(x[tiles[i]], center, patches[tiles[i]], scratch)
            add_up(i, x.dtype, scratch)

        def over_batch() -> Array:
            return self.runner.merge(tiles.lane_sums(grams)).sum(axis=0)

        self.runner.run(gather, tiles)
        gram, signs = over_batch(), self.bn.signs()
        filters = self.weight.value.reshape(9 * c, f) * signs  # (3, 3, C, F) -> (K, F)
        pixels = all_pixels // (height * width) * (height - 2) * (width - 2)
        mean, var, terms = _moments(gram, filters, pixels)
        if (terms > LOST * var).any():
            self.runner.run(lambda i, lane, scratch: add_up(i, np.float64, scratch), tiles)
            gram = over_batch()
            mean, var, _ = _moments(gram, filters, pixels)
        moved = np.tile(center, 9).astype(np.float64) @ filters
        norm = self.bn.with_moments(mean + moved, var, pixels, self.runner)
        y = self.runner.empty((n, h - 1, w - 2, f), x.dtype)
        line = np.stack([norm.scale, (self.bn.param("beta") - mean * norm.scale).astype(x.dtype)])
        line = bn.per_row(line, w - 2, self.runner.empty)
        maxima = Maxima.new(y.shape, h * w, self.runner.empty)
        rising = aligned_copy(filters * (self.bn.param("gamma") != 0))  # with gamma 0 all pixels tie

        def pool(i: int, lane: int, scratch: Scratch) -> None:
            pool_blocks(patches[i, :-1], rising, y[i], maxima.of(i), scratch)
            out = bn.affine(y[i : i + 1], *line, y[i : i + 1])
            RELU.forward(out, maxima.positive[i : i + 1], scratch)

        self.runner.run(pool, n)
        return y, Cache(x, patches, maxima, gram, mean, norm)

    def train_backward(self, dy: Array, cache: Any, need_dx: bool) -> Array | None:
        if isinstance(cache, Cache) and need_dx:
            y, conv_cache = self.conv.train(cache.x, cache.norm)
            cache = (conv_cache, self.pool.train(y)[1])
        if not isinstance(cache, Cache):
            conv_cache, pool_cache = cache
            return self.conv.train_backward(self.pool.train_backward(dy, pool_cache, True), conv_cache, need_dx)
        _, patches, maxima, gram, mean, norm = cache
        parts = np.empty((len(dy), patches.shape[1], dy.shape[3]))

        def task(i: int, lane: int, scratch: Scratch) -> None:
            winners_sum(patches[i], dy[i], maxima.of(i), parts[i], scratch)

        self.runner.run(task, len(dy))
        total = self.runner.merge(self.runner.grid(len(dy), 1).lane_sums(parts)).sum(axis=0)
        s, dbeta = total[:-1], total[-1]  # the patches' last row is 1
        filters, g = self.weight.value.reshape(s.shape) * norm.signs, gram[-1][:, None]
        dot = np.einsum("kf,kf->f", filters, s) - mean * dbeta
        slope, _ = self.bn.backward(dbeta, dot, norm, self.runner)
        dw = s + slope * (gram[:-1] @ filters - g * mean) - g * (dbeta / norm.pixels)
        dw *= norm.scale * norm.signs
        if self.runner.leads:
            self.weight.grad += dw.reshape(self.weight.grad.shape).astype(dy.dtype)  # (K, F) -> (3, 3, C, F)
        return None

    # ----------------------------------------------------------------- inference

    def tiles(self, x: Array) -> Grid:
        return self.runner.grid(len(x), GATHER_IMAGES)

    def fold(self, x: Array) -> Any:
        """The filters multiplied by BN's scale, and BN's shift as the row that meets the ones in the patches."""
        if not is_even(x.shape):
            return self.conv.fold(x)
        scale, shift = self.bn.folded()
        return aligned_copy(np.vstack([self.weight.value.reshape(-1, len(scale)) * scale, shift]))  # (K + 1, F)

    def infer_tile(self, x: Array, folded: Any, scratch: Scratch) -> Array:
        """y of some images, in scratch memory of this layer."""
        if not is_even(x.shape):
            return self.pool.infer_tile(self.conv.infer_tile(x, folded, scratch), None, scratch)
        n, height, width, c = x.shape
        h, w = height // 2 - 1, width // 2
        y = scratch(f"y of {self.key}", (n, h - 1, w - 2, self.bn.channels), x.dtype)
        patches = scratch("stem patches", (1, 9 * c + 1, 4, h * w), x.dtype)
        for i in range(n):  # one by one, so that the patches are still in the cache
            fill_patches(x[i : i + 1], np.zeros(c, x.dtype), patches, scratch)
            pool_maxima(patches[0], folded, y[i], scratch)
            RELU.forward(y[i : i + 1], None, scratch)
        return y


def is_even(x_shape: tuple[int, ...]) -> bool:
    """Whether blocks of 2x2 pixels cover the convolution's output, and a window fits."""
    return all(size % 2 == 0 and size >= 6 for size in x_shape[1:3])


def _moments(gram: Array, filters: Array, pixels: int) -> tuple[Array, Array, Array]:
    """(mean, variance) of every filter's z, and the size of the terms whose sum is the variance."""
    g, w = gram[-1], np.abs(filters)
    mean = g @ filters / pixels
    var = np.einsum("kf,kf->f", filters, gram[:-1] @ filters) / pixels - mean**2
    return mean, var, np.einsum("kf,kf->f", w, np.abs(gram[:-1]) @ w) / pixels
