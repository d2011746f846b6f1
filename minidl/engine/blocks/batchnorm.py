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
from typing import NamedTuple

import numpy as np

from minidl.engine.tiles.recycler import aligned
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

    def __init__(self, tiles: int, z: Array) -> None:
        self.channels = z.shape[3]
        self.total, self.dot = np.zeros((2, tiles, z.shape[2] * z.shape[3]), z.dtype)

    def add_up(self, tile: int, a: Array, b: Array) -> None:
        """The sums of one tile: a and b (n, H, W, C), contiguous."""
        a, b = rows(a), rows(b)
        np.matmul(constant(1, len(a), a.dtype), a, out=self.total[tile])  # BLAS's fast column sum
        np.einsum("rc,rc->c", a, b, out=self.dot[tile])

    def over_batch(self) -> tuple[Array, Array]:
        """(sum a, sum a b) of every channel, (C,) float64."""
        return tuple(
            part.sum(axis=0, dtype=np.float64).reshape(-1, self.channels).sum(axis=0)  # (T, W C) -> (W, C) -> (C,)
            for part in (self.total, self.dot)
        )


class Normalization(NamedTuple):
    """The statistics of one TRAIN forward pass, per channel; scale and shift in the dtype of z."""

    scale: Array  # |gamma| inv_std
    shift: Array  # beta - mean scale
    signs: Array  # of gamma, -1 or 1
    mean: Array  # (C,) float64
    inv_std: Array  # (C,) float64
    pixels: int  # M
    large_mean: bool  # some channel has mean^2 > MEAN_LIMIT var: subtract the mean before products with z are summed

    def scale_and_shift(self, z: Array) -> tuple[Array, Array]:
        """scale and shift, each `per_row` of z."""
        return per_row(self.scale, z.shape[2]), per_row(self.shift, z.shape[2])


class BatchNorms:
    """Several BatchNorm2D layers side by side on the channel axis, in the order given. The layers keep the arrays."""

    def __init__(self, layers: Sequence[BatchNorm2D]) -> None:
        self.layers = list(layers)
        ends = np.cumsum([layer.params["gamma"].size for layer in self.layers]).tolist()
        self._slices = [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)]
        self.channels: int = ends[-1]

    def param(self, name: str) -> Array:
        return np.concatenate([layer.params[name].value for layer in self.layers])

    def signs(self) -> Array:
        """-1 where gamma is negative, otherwise 1, in gamma's dtype."""
        gamma = self.param("gamma")
        return np.where(gamma < 0, -1, 1).astype(gamma.dtype)

    def _eps(self) -> Array:
        return np.concatenate([np.full(layer.params["gamma"].size, layer.eps) for layer in self.layers])

    def normalize(self, z: Array, sums: Sums, tiles: list[slice], runner: TileRunner) -> Normalization:
        """The statistics of z from `sums` of z and z^2. Updates the running statistics as BatchNorm2D does.

        Raises ShapeError if the batch has a single pixel, which has no variance.
        """
        pixels = z.size // z.shape[3]
        total, dot = sums.over_batch()
        mean = total / pixels
        var = dot / pixels - mean**2
        if (mean**2 > MEAN_LIMIT * var).any():
            center = mean.astype(z.dtype)

            def add_up(i: int, accumulator: int, scratch: Scratch) -> None:
                deviation = z[tiles[i]] - center
                sums.add_up(i, deviation, deviation)

            runner.run(add_up, len(tiles))
            total, dot = sums.over_batch()
            mean, var = center + total / pixels, dot / pixels - (total / pixels) ** 2
        return self.with_moments(mean, var, pixels)

    def with_moments(self, mean: Array, var: Array, pixels: int) -> Normalization:
        """The same from mean and variance, (C,) float64, of z with the signs in it."""
        if pixels < 2:
            raise ShapeError(f"{self.layers[0].label}: training needs more than one value per channel, got one")
        var, signs = np.maximum(var, 0), self.signs()
        for layer, own in zip(self.layers, self._slices, strict=True):
            running_mean, running_var = layer.buffers["running_mean"], layer.buffers["running_var"]
            unbias = pixels / (pixels - 1)
            move_running(mean[own] * signs[own], var[own], running_mean, running_var, layer.momentum, unbias)
        inv_std = 1 / np.sqrt(var + self._eps())
        scale = np.abs(self.param("gamma")) * inv_std
        shift = self.param("beta") - mean * scale
        large_mean = bool((mean**2 > MEAN_LIMIT * var).any())
        scale, shift = scale.astype(signs.dtype), shift.astype(signs.dtype)
        return Normalization(scale, shift, signs, mean, inv_std, pixels, large_mean)

    def folded(self) -> tuple[Array, Array]:
        """(scale, shift) from the running statistics: in INFER mode the layers compute y = z scale + shift."""
        mean, var = (np.concatenate([layer.buffers[name] for layer in self.layers]).astype(np.float64)
                     for name in ("running_mean", "running_var"))  # fmt: skip
        return fold_batch_norm(self.param("gamma"), self.param("beta"), mean, var, self._eps())

    def backward(self, dbeta: Array, dot: Array, norm: Normalization) -> tuple[Array, Array]:
        """(slope, offset) from sum d and sum d (z - mean); adds dgamma and dbeta to the layers' gradients."""
        dgamma = norm.inv_std * dot
        for layer, own in zip(self.layers, self._slices, strict=True):
            for name, grad in (("gamma", norm.signs * dgamma), ("beta", dbeta)):
                p = layer.params[name]
                p.grad += grad[own].astype(p.grad.dtype)
        slope = -norm.inv_std * dgamma / norm.pixels
        offset = -dbeta / norm.pixels - norm.mean * slope
        return slope.astype(norm.scale.dtype), offset.astype(norm.scale.dtype)


class GradientSums:
    """The sums of d and of d (z - mean) over the batch, computed tile by tile."""

    def __init__(self, tiles: int, z: Array, norm: Normalization) -> None:
        self._sums, self._norm = Sums(tiles, z), norm

    def add_up(self, tile: int, d: Array, z: Array) -> None:
        """The sums of one tile: d and z (n, H, W, C), contiguous."""
        self._sums.add_up(tile, d, z - self._center(z) if self._norm.large_mean else z)

    def over_batch(self) -> tuple[Array, Array]:
        """dbeta, and dgamma without its factor inv_std; (C,) float64."""
        total, dot = self._sums.over_batch()
        center = self._center(self._norm.scale) if self._norm.large_mean else 0
        return total, dot - (self._norm.mean - center) * total

    def _center(self, like: Array) -> Array:
        return self._norm.mean.astype(like.dtype)


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


def per_row(vector: Array, width: int) -> Array:
    """A vector over channels, (C,), repeated for all pixels of a row: (W C,)."""
    row = aligned((width, len(vector)), vector.dtype)
    row[...] = vector
    return row.reshape(-1)  # (W, C) -> (W C,)


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
