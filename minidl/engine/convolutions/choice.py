"""Chooses the form of a convolution on a tile: the one with the fewest multiply-adds that fits."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from minidl.engine.convolutions.patches import PatchConv
from minidl.engine.convolutions.winograd import KERNELS, WinogradConv
from minidl.engine.convolutions.winograd2d import Winograd2DConv

FEW_CHANNELS = 8  # below, windows and runs are too short for Winograd
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
        return PatchConv(kernel, stride, padding)
    both_axes = kernel < 7 and Winograd2DConv.work(kernel, h, w, c, f) < WinogradConv.work(kernel, h, w, c, f)
    return (Winograd2DConv if both_axes else WinogradConv)(kernel, n, h, w, dtype)
