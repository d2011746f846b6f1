"""Winograd's algorithm along columns and rows: a k x k convolution with a quarter of the products and no windows.

`winograd.py` derives y = A.T [(G g) * (B.T d)] for one axis. Here it is applied to the columns, and then to the rows
of the result. The filter becomes U = G w G.T with a^2 values, and the input a^2 numbers per run of m x m outputs: for
3 x 3 filters and m = 4, 36 products do the work of 144. Each product is a sum over channels, so with T runs in the
tile's images
    s = spread_h x spread_w.T      two products over pixels, for each channel
    v = s U                        (T, C) @ (C, F) for each of the a^2 points
    y = A.T v A                    one product for all runs, (m^2, a^2) @ (a^2, T F)
The last one has A.T along both axes in a single matrix, their Kronecker product: this needs more multiplications than
two products, but few large products are faster than many small ones. Then the pixels are copied to their places. For
`spread` two products are faster, because the runs of the input overlap.
The transforms cost more than those of one axis, and their cost doesn't depend on the number of channels that are
summed up. So with few channels `WinogradConv` is faster (`choice.py` compares their `work`).

The layouts let every product read and write plain strided matrices. Columns come first: every image column (H, C)
becomes (a R, C), a points for R runs. Then, for each point, W rows of R n C numbers become a Q rows:
    x (n, H, W, C)  ->  (W, a, R, n, C)  ->  (a, a, Q, R, n, C) = (a, a, T, C).
Backward is as in `winograd.py`: dz is spread once for dx and dw, and dU = t.T s for each point, with t = A h A.T.

Rounding in float32 grows to about 1e-5 of the largest output. Source: as `winograd.py`, section 4.1.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from minidl.engine.convolutions.winograd import SLOWER, transforms, winograd_matrices
from minidl.engine.tiles.recycler import Empty, aligned, aligned_copy
from minidl.engine.tiles.runner import Scratch

Array = np.ndarray

POINTS = 6  # along an axis: more would cost float32 its digits


class Winograd2DConv:
    """`WinogradConv` on both axes, with the same methods and results; k 3 or 5."""

    def __init__(self, kernel: int, images: int, height: int, width: int, dtype: np.dtype) -> None:
        self.k, self.m = kernel, (m := POINTS + 1 - kernel)
        self.rows, self.columns = (transforms(kernel, size, m, np.dtype(dtype)) for size in (width, height))
        self.transform, self.gather = both_axes(kernel, m, np.dtype(dtype))
        self.q, self.r = self.rows.runs, self.columns.runs
        self._name = f"2-D {kernel}x{kernel} on {images}x{height}x{width}"

    @staticmethod
    def work(kernel: int, height: int, width: int, c: int, f: int) -> float:
        """The multiply-adds of an image's forward pass, those of the transforms times SLOWER."""
        m = POINTS + 1 - kernel
        tall, wide = (POINTS * -(-size // m) for size in (height, width))  # a R, a Q
        return tall * (wide * c * f + SLOWER * (width * (height + wide) * c + wide * m**2 * f))

    def filters(self, w: Array, empty: Empty = aligned) -> Array:
        """w (KH, KW, C, F) in the form for `forward`, (a, a, C, F), in memory from `empty`."""
        out = empty((POINTS, POINTS, *w.shape[2:]), w.dtype)
        np.matmul(self.transform, w.reshape(len(self.transform.T), -1), out=out.reshape(POINTS**2, -1))
        return out

    def weight_grad(self, dw: Array) -> Array:
        """The sum dw (a a, C, F), over turned windows, as (KH, KW, C, F)."""
        dw_rows = self.transform.T @ dw.reshape(POINTS**2, -1)  # (KH KW, a a) @ (a a, C F)
        return dw_rows.reshape(self.k, self.k, *dw.shape[1:])[::-1, ::-1]

    def forward(self, x: Array, filters: Array, out: Array, scratch: Scratch) -> None:
        """out (n, H, W, F) = the convolution of x (n, H, W, C); both may be channel slices of wider maps."""
        self._apply(self._spread(x, scratch), filters, out, scratch)

    input_grad = forward  # dx from dz is the same convolution, with filters of `turned` w

    def backward(
        self, dz: Array, h: Array, filters: Array, out: Array | None, scratch: Scratch
    ) -> tuple[Array, Array]:
        """out = dh (n, H, W, C) unless None, with filters of `turned` w. Returns matrices whose product is dw."""
        spread = self._spread(dz, scratch)
        if out is not None:
            self._apply(spread, filters, out, scratch)
        taps = scratch("taps", (*spread.shape[:3], h.shape[3]), h.dtype)
        np.matmul(self.gather.T, self._runs(h, scratch), out=taps.reshape(POINTS**2, -1))
        return taps.swapaxes(2, 3), spread  # (C, T), (T, F) for each point

    def _spread(self, x: Array, scratch: Scratch) -> Array:
        """s (a, a, T, C) of x (n, H, W, C)."""
        n, _, w, c = x.shape
        lines = scratch("lines", (w, POINTS * self.r, n, c), x.dtype)
        np.matmul(self.columns.spread, x.swapaxes(1, 2), out=lines.transpose(2, 0, 1, 3))  # (a R, H) @ (H, C)
        lines = lines.reshape(w, POINTS, -1).swapaxes(0, 1)  # (W, a R, n, C) -> (a, W, R n C)
        out = scratch("spread", (POINTS, POINTS * self.q, lines.shape[2]), x.dtype)
        np.matmul(self.rows.spread, lines, out=out)  # (a Q, W) @ (W, R n C)
        return out.reshape(POINTS, POINTS, -1, c)  # (a, a Q, R n C) -> (a, a, T, C)

    def _apply(self, spread: Array, filters: Array, out: Array, scratch: Scratch) -> None:
        """out = A.T [s U] A."""
        n, h, w, f = out.shape
        products = scratch("products", (*spread.shape[:3], f), out.dtype)
        np.matmul(spread, filters, out=products)  # (T, C) @ (C, F) for each point
        runs, pixels = self._blocks(n, f, out.dtype, scratch)
        np.matmul(self.gather, products.reshape(POINTS**2, -1), out=runs)
        whole = out if pixels.size == out.size else scratch("whole", self._whole(n, f), out.dtype)
        whole.reshape(pixels.shape)[...] = pixels  # axes are only split, so this is a view
        if whole is not out:
            out[...] = whole[:, :h, :w]

    def _runs(self, x: Array, scratch: Scratch) -> Array:
        """x (n, H, W, C) as (m^2, T C), with zeros for pixels of the last runs that are outside of x."""
        n, h, w, c = x.shape
        runs, pixels = self._blocks(n, c, x.dtype, scratch)
        if pixels.size != x.size:
            shape, inside = self._whole(n, c), lambda a: a[:, :h, :w]
            whole, part = scratch.bordered(f"whole {self._name}", shape, x.dtype, inside)
            part[...] = x
            x = whole
        pixels[...] = x.reshape(pixels.shape)
        return runs

    def _whole(self, n: int, c: int) -> tuple[int, ...]:
        return n, self.r * self.m, self.q * self.m, c

    def _blocks(self, n: int, c: int, dtype: np.dtype, scratch: Scratch) -> tuple[Array, Array]:
        """Working memory (m^2, T C) for the pixels of all runs, and a view of it, (n, R, m, Q, m, C)."""
        blocks = scratch("runs", (self.m, self.m, self.q, self.r, n, c), dtype)
        return blocks.reshape(self.m**2, -1), blocks.transpose(4, 3, 0, 2, 1, 5)


@lru_cache(16)
def both_axes(kernel: int, m: int, dtype: np.dtype) -> list[Array]:
    """G (a^2, k^2) and A.T (m^2, a^2), each on both axes."""
    _, g, a_t = winograd_matrices(kernel, m)
    return [aligned_copy(np.kron(matrix, matrix).astype(dtype)) for matrix in (g, a_t)]
