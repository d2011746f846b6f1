"""Winograd's algorithm along columns and rows: a k x k convolution with a quarter of the products and no windows.

`winograd.py` derives y = A.T [(G g) * (B.T d)] for one axis. Here it is applied to the columns, and then to the rows
of the result. The filter becomes U = G w G.T with a^2 values, and the input a^2 numbers per run of m x m outputs: for
3 x 3 filters and m = 4, 36 products do the work of 144. Each product is a sum over channels, so with T runs in the
tile's images
    q = spread_h (x spread_w.T)    two products over pixels, for each channel
    v = q U                        (T, C) @ (C, F) for each of the a^2 points
    y = gather_h (v gather_w.T)    two products again
The transforms cost more than those of one axis, and their cost doesn't depend on the number of channels that are
summed up. So with few channels `WinogradConv` is faster (`choice.py` counts).

The layouts let every product read and write plain strided matrices. Rows come first: an image row (W, C) becomes a Q
rows, a points for Q runs. Then, for each image and each point and run along the width, the column (H, C) becomes (a
R, C):
    x (n, H, W, C)  ->  (a, Q, n, H, C)  ->  (a, a, R, Q, n, C) = (a, a, T, C).
Backward is as in `winograd.py`: dz is spread once for dx and dw, and dU = t.T s for each point, with t = gather.T h
gather.

Rounding in float32 grows to about 1e-5 of the largest output. Source: as `winograd.py`, section 4.1.
"""

from __future__ import annotations

import numpy as np

from minidl.engine.convolutions.winograd import transforms, turned
from minidl.engine.tiles.recycler import aligned
from minidl.engine.tiles.runner import Scratch

Array = np.ndarray

POINTS = 6  # along an axis: more would cost float32 its digits


class Winograd2DConv:
    """`WinogradConv` on both axes, with the same methods and results; k 3 or 5."""

    def __init__(self, kernel: int, images: int, height: int, width: int, dtype: np.dtype) -> None:
        self.images, self.height, self.width = images, height, width
        m = POINTS + 1 - kernel
        self.rows, self.columns = (transforms(kernel, size, m, np.dtype(dtype)) for size in (width, height))
        self._name = f"2-D {kernel}x{kernel} on {images}x{height}x{width}"

    @staticmethod
    def work(kernel: int, height: int, width: int, c: int, f: int) -> int:
        """The multiply-adds of an image's forward pass."""
        m = POINTS + 1 - kernel
        tall, wide = (POINTS * -(-size // m) for size in (height, width))  # a R, a Q
        return tall * wide * c * f + wide * height * (width + tall) * (c + f)

    def filters(self, w: Array) -> Array:
        """w (KH, KW, C, F) in the form for `forward`, (a, a, C, F)."""
        return _on_both_axes(self.rows.filters, w)

    def turned_filters(self, w: Array) -> Array:
        """w (KH, KW, C, F) in the form for `backward`, (a, a, F, C)."""
        return self.filters(turned(w))

    def dw_shape(self, w_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape in which `backward` sums dw: (a, a, C, F), first along the width."""
        return POINTS, POINTS, *w_shape[2:]

    def weight_grad(self, dw: Array) -> Array:
        """The sum dw (a, a, C, F), over turned windows, as (KH, KW, C, F)."""
        return _on_both_axes(self.rows.filters.T, dw)[::-1, ::-1]

    def forward(self, x: Array, filters: Array, out: Array, scratch: Scratch) -> None:
        """out (n, H, W, F) = the convolution of x (n, H, W, C); both may be channel slices of wider maps."""
        self._apply(
            self._transform(x, self.rows.spread, self.columns.spread, "spread", scratch), filters, out, scratch
        )

    input_grad = forward  # dx from dz is the same convolution, with `turned_filters`

    def backward(
        self, dz: Array, h: Array, filters: Array, dw: Array, add: bool, out: Array | None, scratch: Scratch
    ) -> None:
        """out = dh (n, H, W, C) unless None, from `turned_filters`; dw, of shape `dw_shape`, is set or added to."""
        spread = self._transform(dz, self.rows.spread, self.columns.spread, "spread", scratch)
        if out is not None:
            self._apply(spread, filters, out, scratch)
        taps = self._transform(h, self.rows.gather.T, self.columns.gather.T, "taps", scratch)
        part = scratch("dw", dw.shape, dw.dtype) if add else dw
        np.matmul(taps.swapaxes(2, 3), spread, out=part)  # (C, T) @ (T, F) for each point
        if add:
            dw += part

    def _transform(self, x: Array, rows: Array, columns: Array, name: str, scratch: Scratch) -> Array:
        """(n, H, W, C) -> (a, a, T, C), first along the width."""
        n, h, _, c = x.shape
        q, r = self.rows.runs, self.columns.runs
        lines = scratch(f"{name} lines {self._name}", (POINTS * q, n, h, c), x.dtype)
        np.matmul(rows, x, out=lines.transpose(1, 2, 0, 3))  # (a Q, W) @ (W, C) for each image and row
        out = scratch(f"{name} {self._name}", (POINTS, POINTS * r, q, n, c), x.dtype)
        lines = lines.reshape(POINTS, q, n, h, c)
        np.matmul(columns, lines, out=out.transpose(0, 2, 3, 1, 4))  # (a R, H) @ (H, C) for each of the others
        return out.reshape(POINTS, POINTS, -1, c)  # (a, a R, Q, n, C) -> (a, a, T, C)

    def _apply(self, spread: Array, filters: Array, out: Array, scratch: Scratch) -> None:
        n, h, _, f = out.shape
        q, r = self.rows.runs, self.columns.runs
        products = scratch(f"products {self._name}", (POINTS, POINTS * r, q, n, f), out.dtype)
        np.matmul(spread, filters, out=products.reshape(POINTS, POINTS, -1, f))  # (T, C) @ (C, F) for each point
        lines = scratch(f"product lines {self._name}", (POINTS, q, n, h, f), out.dtype)
        np.matmul(self.columns.gather, products.transpose(0, 2, 3, 1, 4), out=lines)
        np.matmul(self.rows.gather, lines.reshape(POINTS * q, n, h, f).transpose(1, 2, 0, 3), out=out)


def _on_both_axes(g: Array, w: Array) -> Array:
    """(rows, columns, C, F) -> (columns', rows', C, F), g applied to both axes in front, a view."""
    rows, columns, c, f = w.shape
    w = (g @ w.reshape(rows, -1)).reshape(-1, columns, c * f)
    out = aligned((len(w), len(g), c * f), w.dtype)
    return np.matmul(g, w, out=out).reshape(*out.shape[:2], c, f).swapaxes(0, 1)
