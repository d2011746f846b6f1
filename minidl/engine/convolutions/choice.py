"""Chooses the form of a convolution on a tile: the one with the fewest multiply-adds that fits.

Also makes its filters and weight gradients ready as jobs, which run beside the tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np

from minidl.engine.convolutions.patches import PatchConv
from minidl.engine.convolutions.winograd import KERNELS, WinogradConv
from minidl.engine.convolutions.winograd2d import Winograd2DConv
from minidl.engine.tiles.grid import tree_sum

Array = np.ndarray

FEW_CHANNELS = 8  # below, windows and runs are too short for Winograd
PIECES = 4  # the number of jobs that sum and transform a convolution's weight gradient
TileConv = WinogradConv | Winograd2DConv | PatchConv


@lru_cache(256)
def tile_conv(
    w_shape: tuple[int, ...], stride: int, padding: int, x_shape: tuple[int, ...], dtype: np.dtype
) -> TileConv:
    """The convolution of x (n, H, W, C) with filters (K, K, C, F), as an object that holds only the geometry.

    For another number of images it has the same form, so its `filters` and the shape of dw are the same too.
    """
    kernel, _, c, f = w_shape
    n, h, w, _ = x_shape
    if kernel not in KERNELS or (stride, 2 * padding + 1) != (1, kernel) or min(c, f) < FEW_CHANNELS:
        return PatchConv(stride, padding)
    both_axes = kernel < 7 and Winograd2DConv.work(kernel, h, w, c, f) < WinogradConv.work(kernel, h, w, c, f)
    return (Winograd2DConv if both_axes else WinogradConv)(kernel, n, h, w, dtype)


class Filters:
    """The filters of a tile's convolution, which a job makes ready for the tasks of the next run."""

    def __init__(self, make: Callable[[Array], Array], w: Array) -> None:
        self._make, self._w = make, w
        self.ready: Array | None = None

    def __call__(self) -> None:
        self.ready = self._make(self._w)


def weight_grad_jobs(conv: TileConv, lanes: Array, scale: Array, out: Array) -> list[Callable[[], None]]:
    """Jobs that compute out (K, K, C, F) = the sum of dw over its lanes (S, ..., C, F), times scale (F,)."""
    bounds = np.linspace(0, out.shape[2], min(PIECES, out.shape[2]) + 1).astype(int)

    def fill(channels: slice) -> None:
        dw = conv.weight_grad(tree_sum(lanes[..., channels, :]))
        np.multiply(dw, scale, out=out[:, :, channels])

    return [partial(fill, slice(a, b)) for a, b in zip(bounds, bounds[1:], strict=False)]
