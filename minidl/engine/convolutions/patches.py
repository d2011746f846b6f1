"""The convolution of a tile by im2col, for all strides, paddings and kernels that `WinogradConv` can't do.

A pixel of a 1x1 convolution with stride 1 and no padding is its own patch: one matrix product, and nothing is copied.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from minidl.engine.convolutions.winograd import turned
from minidl.engine.tiles.products import product
from minidl.engine.tiles.recycler import Empty, aligned, aligned_copy
from minidl.engine.tiles.runner import Scratch
from minidl.kernels import blocked

Array = np.ndarray


class PatchConv:
    """The convolution of `kernels/reference.py` in scratch memory, with the methods and results of `WinogradConv`."""

    def __init__(self, kernel: int, stride: int, padding: int) -> None:
        self.stride, self.padding = stride, padding
        self.points = (kernel, stride, padding) == (1, 1, 0)

    def filters(self, w: Array, empty: Empty = aligned) -> Array:
        return aligned_copy(w, empty)

    def weight_grad(self, dw: Array) -> Array:
        return dw

    def forward(self, x: Array, filters: Array, out: Array, scratch: Scratch) -> None:
        """out (n, OH, OW, F) = the convolution of x (n, H, W, C)."""
        f = filters.shape[3]
        product(self._patches(x, filters.shape, scratch), filters.reshape(-1, f), out.reshape(-1, f))

    def backward(
        self, dz: Array, h: Array, filters: Array, out: Array | None, scratch: Scratch
    ) -> tuple[Array, Array]:
        """out = dh (n, H, W, C) unless None, from filters of `turned` w; returns (K, P) and (P, F)."""
        if out is not None:
            self.input_grad(dz, filters, out, scratch)
        return self._patches(h, filters.shape, scratch).T, dz.reshape(-1, dz.shape[3])

    def input_grad(self, dz: Array, filters: Array, out: Array, scratch: Scratch) -> None:
        """out = dx (n, H, W, C) from dz (n, OH, OW, F) and filters of `turned` w."""
        if self.points:
            self.forward(dz, filters, out, scratch)
            return
        out[...] = blocked.conv2d_dx(dz, turned(filters), out.shape, self.stride, self.padding)

    def _patches(self, x: Array, w_shape: tuple[int, ...], scratch: Scratch) -> Array:
        """The windows of all output pixels as rows, (n OH OW, KH KW C)."""
        if self.points:
            return x.reshape(-1, x.shape[3])
        (n, h, w, c), (kh, kw), p, s = x.shape, w_shape[:2], self.padding, self.stride
        shape = n, h + 2 * p, w + 2 * p, c
        padded, pixels = scratch.bordered(f"padded by {p}", shape, x.dtype, lambda a: a[:, p : p + h, p : p + w])
        pixels[...] = x
        windows = sliding_window_view(padded, (kh, kw), axis=(1, 2))[:, ::s, ::s]  # (n, OH, OW, C, KH, KW)
        windows = windows.transpose(0, 1, 2, 4, 5, 3)
        patches = scratch("patches", windows.shape, x.dtype)
        patches[...] = windows
        return patches.reshape(-1, kh * kw * c)  # (n, OH, OW, KH, KW, C) -> (P, K)
