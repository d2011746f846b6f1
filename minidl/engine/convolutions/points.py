"""A 1x1 convolution of a tile: one matrix product."""

from __future__ import annotations

import numpy as np

from minidl.engine.tiles.products import product
from minidl.engine.tiles.recycler import Empty, aligned, aligned_copy
from minidl.engine.tiles.runner import Scratch

Array = np.ndarray


class PointConv:
    """z = x w,  dx = dz w.T,  dw = x.T dz,  with the methods of `WinogradConv`; stride 1, no padding."""

    def filters(self, w: Array, empty: Empty = aligned) -> Array:
        return aligned_copy(w[0, 0], empty)

    def weight_grad(self, dw: Array) -> Array:
        return dw

    def forward(self, x: Array, filters: Array, out: Array, scratch: Scratch) -> None:
        product(_pixels(x), filters, _pixels(out))

    input_grad = forward  # dx from dz, with filters of `turned` w

    def backward(
        self, dz: Array, h: Array, filters: Array, out: Array | None, scratch: Scratch
    ) -> tuple[Array, Array]:
        if out is not None:
            self.forward(dz, filters, out, scratch)
        return _pixels(h).T, _pixels(dz)  # (C, P), (P, F)


def _pixels(a: Array) -> Array:
    """(n, H, W, C) -> (P, C), a view, also of a channel slice."""
    return a.reshape(-1, a.shape[3])
