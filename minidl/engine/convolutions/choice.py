"""Which of its forms a convolution takes on a tile: the one with the fewest multiply-adds that fits; and its filters
and weight gradients as jobs, to be done beside the tiles."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np

from minidl.engine.convolutions.patches import PatchConv
from minidl.engine.convolutions.winograd import KERNELS, WinogradConv
from minidl.engine.convolutions.winograd2d import Winograd2DConv

Array = np.ndarray

FEW_CHANNELS = 8  # below, windows and runs are too short for Winograd
PIECES = 4  # a convolution's weight gradient is summed up and transformed in so many jobs
TileConv = WinogradConv | Winograd2DConv | PatchConv


@lru_cache(256)
def tile_conv(
    w_shape: tuple[int, ...], stride: int, padding: int, x_shape: tuple[int, ...], dtype: np.dtype
) -> TileConv:
    """The convolution of x (n, H, W, C) with filters (K, K, C, F). It holds geometry alone.

    For other numbers of images its form is the same: so are its `filters`, and the shape of dw.
    """
    kernel, _, c, f = w_shape
    n, h, w, _ = x_shape
    if kernel not in KERNELS or (stride, 2 * padding + 1) != (1, kernel) or min(c, f) < FEW_CHANNELS:
        return PatchConv(stride, padding)
    both_axes = kernel < 7 and Winograd2DConv.work(kernel, h, w, c, f) < WinogradConv.work(kernel, h, w, c, f)
    return (Winograd2DConv if both_axes else WinogradConv)(kernel, n, h, w, dtype)


class Filters:
    """Filters of a tile's convolution that a job makes ready for the tasks of the next run."""

    def __init__(self, make: Callable[[Array], Array], w: Array) -> None:
        self._make, self._w = make, w
        self.ready: Array | None = None

    def __call__(self) -> None:
        self.ready = self._make(self._w)


def weight_grad_jobs(conv: TileConv, accumulators: Array, scale: Array, out: Array) -> list[Callable[[], None]]:
    """Jobs for out (K, K, C, F) = the sum of dw over its accumulators (A, ..., C, F), times scale (F,)."""
    bounds = np.linspace(0, out.shape[2], min(PIECES, out.shape[2]) + 1).astype(int)

    def fill(channels: slice) -> None:
        dw = conv.weight_grad(np.add.reduce(accumulators[..., channels, :], axis=0))
        np.multiply(dw, scale, out=out[:, :, channels])

    return [partial(fill, slice(a, b)) for a, b in zip(bounds, bounds[1:], strict=False)]
