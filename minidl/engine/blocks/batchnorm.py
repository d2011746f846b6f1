"""Batch normalization in tiles: what all composites share.

`BatchNorm2D` needs sums over the whole batch before it can normalize a single pixel, and again before it can send a
gradient back. A composite computes these sums tile by tile (`add_up`), while the tile is in the cache.

Forward. From the sums of z and z^2 over the M pixels of a channel,
    mean = (1/M) sum z,    M var = sum z^2 - M mean^2.
The difference loses digits if the mean is far from zero (`MEAN_LIMIT`). In that case, and only then, a second pass
subtracts the mean c first (rounded to z's dtype). The same formula holds for z - c, whose mean is almost zero.
y = gamma (z - mean) inv_std + beta is a linear function per channel, y = z scale + shift, with
    scale = gamma inv_std,    shift = beta - mean scale.

Backward. With d = dL/dy, `BatchNorm2D` derives dz = scale (d - dbeta/M - xhat dgamma/M), xhat = (z - mean) inv_std.
Collect the terms that are the same for all pixels of a channel:
    dz = scale (d + slope z + offset),    slope = -inv_std dgamma / M,    offset = -dbeta/M - mean slope.
So two sums over tiles and one pass are enough. `scale` needs no pass at all: the convolution before BN, z = sum x w,
is linear in w, so its dx uses the filters w scale, and its dw is multiplied by scale once.

Signs. A max pool after BN and ReLU may be computed before them if y rises with z. So the composites convolve with w
sign, where sign = -1 if gamma < 0. From there on z, mean and gamma stand for sign z, sign mean and |gamma|; y is the
same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from minidl.engine.tiles.grid import Grid
from minidl.engine.tiles.recycler import Empty, aligned
from minidl.engine.tiles.runner import Scratch, TileRunner
from minidl.errors import ShapeError
from minidl.kernels.reference import move_running
from minidl.layers import BatchNorm2D

Array = np.ndarray

MEAN_LIMIT = 128.0  # mean^2 / var above which E[z^2] - mean^2 would lose more than 7 binary digits


class Sums:
    """The sums of a and of a b over the pixels of every tile, separate for each of the W C numbers of an image row.

    The rows of one tile are added in float32, everything else in float64.
    """

    def __init__(self, tiles: Grid, z: Array) -> None:
        _, height, width, self.channels = z.shape
        self.tiles, self.pixels = tiles, height * width
        self.parts = np.empty((2, len(tiles), self.channels))  # of every tile

    def add_up(self, tile: int, a: Array, b: Array) -> None:
        """The sums of one tile: a and b (n, H, W, C), contiguous."""
        a, b = rows(a), rows(b)
        sums = np.empty((2, a.shape[1]), a.dtype)
        np.matmul(constant(1, len(a), a.dtype), a, out=sums[0])  # BLAS's fast column sum
        np.einsum("rc,rc->c", a, b, out=sums[1])
        np.add.reduce(sums.reshape(2, -1, self.channels), axis=1, dtype=np.float64, out=self.parts[:, tile])  # over W

    def moments(self, runner: TileRunner) -> tuple[int, Array, Array]:
        """(M, mean, variance) of every channel over the batch, (C,) float64, if the sums are of a and a^2.

        Every shard has a number of pixels n, a mean and a sum M2 of squared deviations from its mean. With these of
        all shards (Chan et al. 1979),
            M = sum n,    M mean = sum n mean,    M var = sum M2 + sum n (mean of the shard - mean)^2.
        """
        total, dot = self.tiles.lane_sums(self.parts, axis=1)  # each (S, C)
        parts = np.empty((len(total), 3, self.channels))  # n, mean, M2 of each shard
        parts[:, 0] = n = self.pixels * self.tiles.images
        np.divide(total, n, out=parts[:, 1])
        np.subtract(dot, total * parts[:, 1], out=parts[:, 2])
        parts = runner.merge(parts)
        n, means = parts[:, 0], parts[:, 1]  # each (S, C)
        pixels = int(np.add.reduce(n[:, 0]))
        mean = np.add.reduce(n * means) / pixels
        away = means - mean
        away *= away
        away *= n
        away += parts[:, 2]
        return pixels, mean, np.add.reduce(away) / pixels


class Normalization(NamedTuple):
    """The statistics of one TRAIN forward pass, per channel."""

    line: Array  # (2, C) scale = |gamma| inv_std and shift = beta - mean scale, in the dtype of z
    signs: Array  # of gamma, -1 or 1
    mean: Array  # (C,) float64
    inv_std: Array  # (C,) float64
    pixels: int  # M
    large_mean: bool  # some channel has mean^2 > MEAN_LIMIT var: subtract the mean before products with z are summed

    @property
    def scale(self) -> Array:
        return self.line[0]


class BatchNorms:
    """Several BatchNorm2D layers side by side on the channel axis, in the order given. The layers keep the arrays."""

    def __init__(self, layers: Sequence[BatchNorm2D]) -> None:
        self.layers = list(layers)
        self._sizes = [layer.params["gamma"].size for layer in self.layers]
        ends = np.cumsum([0, *self._sizes]).tolist()
        self._slices = [slice(a, b) for a, b in zip(ends, ends[1:], strict=False)]
        self.channels: int = ends[-1]

    def param(self, name: str) -> Array:
        return np.concatenate([layer.params[name].value for layer in self.layers])

    def signs(self) -> Array:
        """-1 where gamma is negative, otherwise 1, in gamma's dtype."""
        return _signs(self.param("gamma"))

    def _buffer(self, name: str) -> Array:
        return np.concatenate([layer.buffers[name] for layer in self.layers])

    def _setting(self, name: str) -> float | Array:
        """A setting of the layers: a number; if they differ in it, one for each channel."""
        values = [getattr(layer, name) for layer in self.layers]
        return values[0] if len(set(values)) == 1 else np.repeat(values, self._sizes)

    def normalize(self, z: Array, sums: Sums, tiles: Grid, runner: TileRunner) -> Normalization:
        """The statistics of z from `sums` of z and z^2. Updates the running statistics as BatchNorm2D does.

        Raises ShapeError if the batch has a single pixel, which has no variance.
        """
        pixels, mean, var = sums.moments(runner)
        if not _is_large(mean, var):
            return self.with_moments(mean, var, pixels, runner, large=False)
        center = mean.astype(z.dtype)

        def add_up(i: int, lane: int, scratch: Scratch) -> None:
            deviation = z[tiles[i]] - center
            sums.add_up(i, deviation, deviation)

        runner.run(add_up, tiles)
        _, rest, var = sums.moments(runner)
        mean = center + rest
        return self.with_moments(mean, var, pixels, runner, _is_large(mean, var))

    def with_moments(self, mean: Array, var: Array, pixels: int, runner: TileRunner, large=True) -> Normalization:
        """The same from mean and variance, (C,) float64, of z with the signs in it."""
        if pixels < 2:
            raise ShapeError(f"{self.layers[0].label}: training needs more than one value per channel, got one")
        gamma, var = self.param("gamma"), np.maximum(var, 0)
        signs = _signs(gamma)
        runner.later(partial(self._move_running, mean, signs, var, pixels))
        inv_std = 1 / np.sqrt(var + self._setting("eps"))
        scale = np.abs(gamma) * inv_std
        line = np.empty((2, self.channels), gamma.dtype)
        line[0], line[1] = scale, self.param("beta") - mean * scale
        return Normalization(line, signs, mean, inv_std, pixels, large)

    def _move_running(self, mean: Array, signs: Array, var: Array, pixels: int) -> None:
        running = self._buffer("running_mean"), self._buffer("running_var")
        move_running(mean * signs, var, *running, self._setting("momentum"), pixels / (pixels - 1))
        for layer, own in zip(self.layers, self._slices, strict=True):
            layer.buffers["running_mean"][...] = running[0][own]
            layer.buffers["running_var"][...] = running[1][own]

    def folded(self) -> tuple[Array, Array]:
        """(scale, shift) from the running statistics: in INFER mode the layers compute y = z scale + shift."""
        mean, var = (self._buffer(name).astype(np.float64) for name in ("running_mean", "running_var"))
        return fold_batch_norm(self.param("gamma"), self.param("beta"), mean, var, self._setting("eps"))

    def backward(self, dbeta: Array, dot: Array, norm: Normalization, runner: TileRunner) -> Array:
        """(2, C) slope and offset from sum d and sum d (z - mean); adds dgamma and dbeta to the layers' gradients."""
        dgamma = norm.inv_std * dot
        if runner.leads:
            runner.later(partial(self._add_grads, norm.signs * dgamma, dbeta, norm.line.dtype))
        slope = norm.inv_std * dgamma / -norm.pixels
        line = np.empty_like(norm.line)
        line[0], line[1] = slope, dbeta / -norm.pixels - norm.mean * slope
        return line

    def _add_grads(self, dgamma: Array, dbeta: Array, dtype: np.dtype) -> None:
        dgamma, dbeta = dgamma.astype(dtype), dbeta.astype(dtype)
        for layer, own in zip(self.layers, self._slices, strict=True):
            layer.params["gamma"].grad += dgamma[own]
            layer.params["beta"].grad += dbeta[own]


class GradientSums(Sums):
    """The sums of d and of d (z - mean) over the batch, computed tile by tile."""

    def __init__(self, tiles: Grid, z: Array, norm: Normalization) -> None:
        super().__init__(tiles, z)
        self._mean, self._center = norm.mean, norm.mean.astype(z.dtype) if norm.large_mean else None

    def add_up(self, tile: int, d: Array, z: Array) -> None:
        """The sums of one tile: d and z (n, H, W, C), contiguous."""
        super().add_up(tile, d, z if self._center is None else z - self._center)

    def over_batch(self, runner: TileRunner) -> tuple[Array, Array]:
        """dbeta, and dgamma without its factor inv_std; (C,) float64."""
        shards = self.tiles.lane_sums(self.parts, axis=1).swapaxes(0, 1)
        total, dot = np.add.reduce(runner.merge(shards))  # (S, 2, C) -> (2, C)
        return total, dot - (self._mean if self._center is None else self._mean - self._center) * total


# ---------------------------------------- work on one tile; z, d, y (n, H, W, C), contiguous unless said otherwise
# NumPy's innermost loop runs along the last axis, and C may be as small as 8: an image row, W C numbers, is longer.


def fold_batch_norm(gamma: Array, beta: Array, mean: Array, var: Array, eps: float | Array) -> tuple[Array, Array]:
    """(scale, shift), such that a batch normalization with running statistics is y = z scale + shift; all (C,).

    y = gamma (z - mean) / sqrt(var + eps) + beta, so scale = gamma / sqrt(var + eps) and shift = beta - mean scale.
    If z = x @ w + b, then y = x @ (w scale) + (b scale + shift): the normalization costs nothing. mean and var are
    float64; the result has the dtype of gamma.
    """
    scale = gamma / np.sqrt(var + eps)
    shift = beta - mean * scale
    return scale.astype(gamma.dtype), shift.astype(gamma.dtype)


def rows(a: Array) -> Array:
    """(n, H, W, C) -> (n H, W C)."""
    return a.reshape(-1, a.shape[-2] * a.shape[-1])


def to_write(a: Array) -> Array:
    """`rows(a)` to write to; a channel slice, whose pixels don't follow one another, stays (n, H, W, C)."""
    return rows(a) if a.flags.c_contiguous else a


def per_row(vectors: Array, width: int, empty: Empty = aligned) -> Array:
    """Vectors over channels, (..., C), repeated for all pixels of a row: (..., W C)."""
    *several, channels = vectors.shape
    row = empty((*several, width, channels), vectors.dtype)
    row[...] = vectors[..., None, :]
    return row.reshape(*several, -1)  # (..., W, C) -> (..., W C)


def _signs(gamma: Array) -> Array:
    return np.copysign(gamma.dtype.type(1), gamma + 0)  # -0.0 + 0 is 0.0


def _is_large(mean: Array, var: Array) -> bool:
    return bool((mean * mean > MEAN_LIMIT * var).any())


def constant(value: int, size: int, dtype: np.dtype) -> Array:
    """A vector of `size` times the `value`: the beginning of the longest one made so far."""
    vector = _vectors.get((value, dtype))
    if vector is None or len(vector) < size:
        vector = aligned((size,), dtype)
        vector[...] = value
        vector.flags.writeable = False
        _vectors[value, dtype] = vector
    return vector[:size]


_vectors: dict[tuple[int, np.dtype], Array] = {}


def affine(z: Array, slope: Array, offset: Array, out: Array) -> Array:
    """out = slope z + offset, slope and offset `per_row`; returns out."""
    line = rows(out)
    np.multiply(rows(z), slope, out=line)
    line += offset
    return out
