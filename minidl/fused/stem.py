"""A network's first layers, 3x3 convolution + BN + ReLU + 4x4 max pool at step 2, without the map between them.

An image (64, 64, 3) becomes (62, 62, 128), forty times as many numbers, of which the pool keeps a quarter. Writing
and reading that map is most of the plain layers' time. Here it lives strip by strip in the cache. Three ideas:

BN's statistics without z. z = p w for the patch p (a row of 27 numbers) of every pixel. So sums over pixels of z and
z^2 are those of p and p'p, that is, of the 28 x 28 matrix  G = sum [p 1]' [p 1]  (Gram matrix):
    M mean = g w,    M var = diag(w' G w) - M mean^2    with g = sum p.
The difference loses digits where p's mean is far from zero, so p is taken relative to the channels' mean c over the
batch if that is large (`FAR`). A constant moves z's mean by c w and nothing else; below, p means the centred patch.

Pooling before BN. y = max(scale z + shift, 0) rises with z where scale > 0 and falls where scale < 0. Take s =
sign(scale) into the filters, which is exact, and the largest s z of a window gives the largest y; where scale is 0
all are equal, and are. So BN and ReLU run on pooled pixels only. After ReLU, windows without a positive
value tie at 0; whichever pixel won, its gradient is 0, since ReLU's is.

Pooling by parity. A window is four pixels wide and high, at a step of two: along a row it is two neighbouring pairs
(even column, odd column), down a column likewise. Evaluate z in four maps, for its even and odd rows and columns.
Then each step of the pool is a maximum of two contiguous maps: odd against even columns, the next pair against this
one, odd against even rows, the next pair against this one. Reading order is row by row, and the second must be
strictly larger to win: so "the first maximum wins" holds in each step. The comparisons are kept, one byte each.

Backward. d = dy [y > 0] belongs to the winners and takes the four steps in reverse. Then with S = sum p' d,
dbeta = sum d and z's part from `batchnorm.py`,
    dw = sum p' dz = scale (S + slope (G w - g' mean) - g' dbeta / M),    sum d (z - mean) = w . S - mean dbeta:
the dense part comes from G again, which is also why c cancels (sum dz = 0).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minidl.fused import batchnorm as bn
from minidl.fused.base import Fused
from minidl.fused.conv_bn_relu import FusedConvBNReLU
from minidl.fused.maxpool import FusedMaxPool
from minidl.fused.memory import aligned_copy
from minidl.fused.products import part
from minidl.fused.runner import Scratch, TileRunner, tile_slices
from minidl.layers import BatchNorm2D, Conv2D, Layer, MaxPool2D, ReLU, Sequential

Array = np.ndarray

GATHER_IMAGES = 4  # whose patches are gathered at a time


class Wins(NamedTuple):
    """Where the second of two is the larger: masks of all images, or of one, each (..., h w, F)."""

    odd: Array  # (N, 2, h w, F) the odd column, in rows of even and odd number
    right: Array  # (N, 2, h w, F) the next pair of columns
    lower: Array  # (N, h w, F) the odd row
    below: Array  # (N, h w, F) the next pair of rows
    positive: Array  # (N, h - 1, w - 2, F) y > 0

    @staticmethod
    def new(y_shape: tuple[int, ...], pixels: int, empty: Any) -> Wins:
        n, *_, f = y_shape
        return Wins(*(empty((n, *rows, pixels, f), bool) for rows in ((2,), (2,), (), ())), empty(y_shape, bool))

    def of(self, i: int) -> Wins:
        return Wins(*(part[i] for part in self))


class Cache(NamedTuple):
    x: Array
    patches: Array
    wins: Wins
    gram: Array
    mean: Array  # (F,) float64, of z from centred patches
    norm: bn.Normalization


class FusedStem(Fused):
    """Derived from a Sequential with the leaves Conv2D, BatchNorm2D, ReLU, MaxPool2D that `matches` accepts.

    Shapes: x (N, H, W, C), y (N, h - 1, w - 1, F) for h x w blocks, h = (H - 2) / 2. Odd H or W, and dx when it is
    asked for, go through the two composites for convolution and pool.
    """

    def __init__(self, plain: Sequential, runner: TileRunner) -> None:
        super().__init__(plain, runner)
        leaves = list(plain.leaves())
        paths = [leaf.path for leaf in leaves]
        self.conv = FusedConvBNReLU(Sequential(leaves[:3]), runner)
        self.pool = FusedMaxPool(leaves[3], runner)
        for leaf, path in zip(leaves, paths, strict=True):
            leaf.set_path(path)
        self.bn, self.weight = self.conv.tail.bn, self.conv.weight

    @staticmethod
    def matches(leaves: list[Layer]) -> bool:
        """Whether these layers have the one form this class knows."""
        if [type(leaf) for leaf in leaves] != [Conv2D, BatchNorm2D, ReLU, MaxPool2D]:
            return False
        conv, _, _, pool = leaves
        kernel, _, c, _ = conv.params["weight"].value.shape
        return (
            (kernel, conv.stride, conv.padding, pool.kernel, pool.stride, pool.padding) == (3, 1, 0, 4, 2, 0)
            and c <= 4
            and "bias" not in conv.params
        )

    # ------------------------------------------------------------------ training

    def train(self, x: Array) -> tuple[Array, Any]:
        if not _even(x.shape):
            y, cache = self.conv.train(x)
            y, pool_cache = self.pool.train(y)
            return y, (cache, pool_cache)
        n, height, width, c = x.shape
        h, w, f = height // 2 - 1, width // 2, self.bn.channels
        center = _center(x)
        patches = self.runner.empty((n, 9 * c + 1, 4, h * w), x.dtype)
        tiles = tile_slices(n, GATHER_IMAGES)
        grams = np.empty((len(tiles), 9 * c + 1, 9 * c), x.dtype)

        def gather(i: int, lane: int, scratch: Scratch) -> None:
            fill_patches(x[tiles[i]], center, patches[tiles[i]], scratch)
            p = patches[tiles[i]].swapaxes(1, 2)  # (n, 4, K + 1, h w)
            parts = scratch("gram", (*p.shape[:2], *grams[i].shape), x.dtype)
            np.add.reduce(np.matmul(p, p[:, :, :-1].swapaxes(2, 3), out=parts), axis=(0, 1), out=grams[i])

        self.runner.run(gather, len(tiles))
        gram, signs = grams.sum(axis=0, dtype=np.float64), self.bn.signs()
        filters = self.weight.value.reshape(9 * c, f) * signs  # (3, 3, C, F) -> (K, F)
        pixels, g = n * (height - 2) * (width - 2), gram[-1]
        mean = g @ filters / pixels
        var = np.einsum("kf,kf->f", filters, gram[:-1] @ filters) / pixels - mean**2
        moved = np.tile(center, 9).astype(np.float64) @ filters
        norm = self.bn.with_moments(mean + moved, var, pixels)
        y = self.runner.empty((n, h - 1, w - 2, f), x.dtype)
        line = norm._replace(shift=(self.bn.param("beta") - mean * norm.scale).astype(x.dtype)).line(y)
        wins = Wins.new(y.shape, h * w, self.runner.empty)
        rising = aligned_copy(filters * (self.bn.param("gamma") != 0))  # with gamma 0 all pixels tie

        def pool(i: int, lane: int, scratch: Scratch) -> None:
            pool_blocks(patches[i, :-1], rising, y[i], wins.of(i), scratch)
            bn.affine_relu(y[i : i + 1], *line, y[i : i + 1])
            np.greater(y[i], 0, out=wins.positive[i])

        self.runner.run(pool, n)
        return y, Cache(x, patches, wins, gram, mean, norm)

    def train_backward(self, dy: Array, cache: Any, need_dx: bool) -> Array | None:
        if isinstance(cache, Cache) and need_dx:
            y, conv_cache = self.conv.train(cache.x, cache.norm)
            cache = (conv_cache, self.pool.train(y)[1])
        if not isinstance(cache, Cache):
            conv_cache, pool_cache = cache
            return self.conv.train_backward(self.pool.train_backward(dy, pool_cache, True), conv_cache, need_dx)
        _, patches, wins, gram, mean, norm = cache
        parts = np.empty((len(dy), patches.shape[1], dy.shape[3]), dy.dtype)

        def task(i: int, lane: int, scratch: Scratch) -> None:
            winners_sum(patches[i], dy[i], wins.of(i), parts[i], scratch)

        self.runner.run(task, len(dy))
        total = parts.sum(axis=0, dtype=np.float64)
        s, dbeta = total[:-1], total[-1]  # the patches' last row is 1
        filters, g = self.weight.value.reshape(s.shape) * norm.signs, gram[-1][:, None]
        dot = np.einsum("kf,kf->f", filters, s) - mean * dbeta
        slope, _ = self.bn.backward(dbeta, dot, norm)
        dw = s + slope * (gram[:-1] @ filters - g * mean) - g * (dbeta / norm.pixels)
        dw *= norm.scale * norm.signs
        self.weight.grad += dw.reshape(self.weight.grad.shape).astype(dy.dtype)  # (K, F) -> (3, 3, C, F)
        return None

    # ----------------------------------------------------------------- inference

    def infer(self, x: Array) -> Array:
        folded, y = self.fold(x), np.empty(self.plain.out_shape(x.shape), x.dtype)

        def task(i: int, lane: int, scratch: Scratch) -> None:
            y[i] = self.infer_tile(x[i : i + 1], folded, scratch)[0]

        self.runner.run(task, len(x))
        return y

    def fold(self, x: Array) -> Any:
        """The filters with BN's scale in them, and BN's shift as the row that meets the patches' ones."""
        if not _even(x.shape):
            return self.conv.fold(x)
        scale, shift = self.bn.folded()
        return aligned_copy(np.vstack([self.weight.value.reshape(-1, len(scale)) * scale, shift]))  # (K + 1, F)

    def infer_tile(self, x: Array, folded: Any, scratch: Scratch) -> Array:
        """y of some images, in scratch memory of this layer."""
        if not _even(x.shape):
            return self.pool.infer_tile(self.conv.infer_tile(x, folded, scratch), None, scratch)
        n, height, width, c = x.shape
        y = scratch(f"y of {self.path}", self.plain.out_shape(x.shape), x.dtype)
        patches = scratch("stem patches", (n, 9 * c + 1, 4, (height // 2 - 1) * (width // 2)), x.dtype)
        fill_patches(x, np.zeros(c, x.dtype), patches, scratch)
        for i in range(n):
            pool_blocks(patches[i], folded, y[i], None, scratch)
        np.maximum(bn.rows(y), np.zeros(y.shape[2] * y.shape[3], y.dtype), out=bn.rows(y))
        return y


def _even(x_shape: tuple[int, ...]) -> bool:
    """Whether the blocks of 2x2 pixels cover the convolution's output, and a window fits."""
    return all(size % 2 == 0 and size >= 6 for size in x_shape[1:3])


def _center(x: Array) -> Array:
    """The channels' means where they are far from zero, else zeros (and the patches are x's own numbers)."""
    sums = bn.Sums(1, x)
    sums.add_up(0, x, x)
    mean, square = (total / (x.size // x.shape[3]) for total in sums.over_batch())
    return np.where(mean**2 > bn.FAR * (square - mean**2), mean, 0).astype(x.dtype)


# -------------------------------------------------------------------- some images


# Maps of h x w pixels, h = H / 2 - 1 and w = W / 2: of a pair of rows and a pair of columns each. The last column has
# no convolution output. It stays, so that neighbours in a map are neighbours in memory at one distance (1 or w
# pixels) and every step is one call on long runs. What is computed there never meets a window; patches are 0 there.


def fill_patches(x: Array, center: Array, patches: Array, scratch: Scratch) -> None:
    """patches (n, 9 C + 1, 4, h w) from x (n, H, W, C), of every image:
    [kh kw c, a b, i j] = x[2i + a + kh, 2j + b + kw, c] - center[c].

    The last row is 1. Rows and columns of x come apart by parity first: then every patch row is one long run.
    """
    n, height, width, c = x.shape
    h, w = height // 2 - 1, width // 2
    planes = scratch("stem planes", (n, c, 2, 2, height * w // 2 + 1), x.dtype)
    pixels = x.reshape(n, h + 1, 2, w, 2, c).transpose(0, 5, 2, 4, 1, 3)  # n, c, row's parity, column's parity, i, j
    np.subtract(pixels, center.reshape(c, 1, 1, 1, 1), out=planes[..., :-1].reshape(pixels.shape))
    image, plane, row, column, pixel = planes.strides
    out = patches[:, :-1].reshape(n, 3, 3, c, 2, 2, h * w)  # n, kh, kw, c, a, b, i j
    for kh, (down, above) in enumerate(((0, row), (row, w * pixel), (w * pixel, row + w * pixel))):  # a = 0, a = 1
        for kw, (left, right) in enumerate(((0, column), (column, pixel), (pixel, column + pixel))):  # b = 0, b = 1
            strides = image, plane, above - down, right - left, pixel
            out[:, kh, kw] = np.ndarray((n, c, 2, 2, h * w), x.dtype, planes, down + left, strides)
    patches[:, -1] = 1
    patches.reshape(n, -1, 4, h, w)[..., -1] = 0


def in_parts(patches: Array, f: int) -> Array:
    """(K, 4, h w) -> (K, 4, parts, pixels), for small products with F columns."""
    k, _, pixels = patches.shape
    return patches.reshape(k, 4, -1, part(pixels, k * f))


def pool_blocks(patches: Array, filters: Array, y: Array, wins: Wins | None, scratch: Scratch) -> None:
    """y (h - 1, w - 2, F) = the pool of patches' filters (K, F); notes the winners in `wins` if given.

    Three maps of working memory, written over and over, stay in the cache.
    """
    pixels, w, f = patches.shape[2], y.shape[1] + 2, y.shape[2]
    maps = scratch("three maps", (3, pixels, f), y.dtype)
    upper, pairs, lower = maps
    parts = in_parts(patches, f).transpose(1, 2, 3, 0)  # (4, parts, pixels, K)
    z = maps[1:].reshape(2, *parts.shape[1:3], f)  # of even columns, of odd columns
    for a, quads in enumerate((upper, lower)):
        np.matmul(parts[2 * a : 2 * a + 2], filters, out=z)  # (pixels, K) @ (K, F)
        _larger(pairs, lower, pairs, wins and wins.odd[a])
        _larger(pairs[:-1], pairs[1:], quads[:-1], wins and wins.right[a, :-1])
    _larger(upper, lower, upper, wins and wins.lower)
    if wins:
        np.greater(upper[w:], upper[:-w], out=wins.below[:-w])
    blocks = upper.reshape(-1, w, f)  # (h w, F) -> (h, w, F)
    np.maximum(blocks[:-1, :-2], blocks[1:, :-2], out=y)


def _larger(first: Array, second: Array, out: Array, second_wins: Array | None) -> None:
    if second_wins is not None:
        np.greater(second, first, out=second_wins)
    np.maximum(first, second, out=out)


def winners_sum(patches: Array, dy: Array, wins: Wins, out: Array, scratch: Scratch) -> None:
    """out (K, F) = sum over windows of the winner's patch times dy [y > 0]; dy (h - 1, w - 2, F).

    The gradient goes from a map to the places of its winners, in place: three maps stay in the cache.
    """
    pixels, w, f = patches.shape[2], dy.shape[1] + 2, dy.shape[2]
    maps = scratch("three d maps", (3, pixels, f), dy.dtype)
    upper, moved, lower = maps
    upper[...] = 0
    np.multiply(dy, wins.positive, out=upper.reshape(-1, w, f)[:-1, :-2])
    _move_winners(upper, wins.below, w, moved)
    np.multiply(upper, wins.lower, out=lower)
    upper -= lower
    parts = in_parts(patches, f).transpose(1, 2, 0, 3)  # (4, parts, K, pixels)
    sums = scratch("stem sums", (*parts.shape[:2], *out.shape), dy.dtype)
    for a, dz in enumerate((maps[:2], maps[:0:-1])):  # upper, moved; lower, moved
        d = dz[0]
        _move_winners(d, wins.right[a], 1, moved)
        np.multiply(d, wins.odd[a], out=moved)
        d -= moved  # d is dz of the even columns, moved of the odd ones
        rows = slice(2 * a, 2 * a + 2)
        np.matmul(parts[rows], dz.reshape(2, parts.shape[1], -1, f), out=sums[rows])  # (K, pixels) @ (pixels, F)
    np.add.reduce(sums, axis=(0, 1), out=out)


def _move_winners(d: Array, second_wins: Array, distance: int, moved: Array) -> None:
    """d[i] stays where the first of (i, i + distance) won, and moves to i + distance where the second did."""
    last = len(d) - distance
    np.multiply(d[:last], second_wins[:last], out=moved[:last])
    d[:last] -= moved[:last]
    d[distance:] += moved[:last]
