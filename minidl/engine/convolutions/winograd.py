"""A k x k convolution as three matrix products: Winograd's algorithm along columns, overlapping windows along rows.

**An example.** Two outputs of a filter with three taps, y0 = d0 g0 + d1 g1 + d2 g2 and y1 = d1 g0 + d2 g1 + d3 g2,
need six products. Four are enough:
    m1 = (d0 - d2) g0                        m2 = (d1 + d2) (g0 + g1 + g2) / 2
    m3 = (d2 - d1) (g0 - g1 + g2) / 2        m4 = (d1 - d3) g2
    y0 = m1 + m2 + m3,    y1 = m2 - m3 - m4
The factors of g are computed once per filter, and the sums of d and m are cheap.

**Columns.** In general, take one column d of an image and one column g of the filter. m outputs of the correlation
y_i = sum_j g_j d_{i+j} need a = m + k - 1 inputs and m k products, but a products are enough. The transpose of this
map is easier to see. It takes the m coefficients of a polynomial u to the a coefficients of the product g u. A
product of polynomials can be computed by values: evaluate both factors at a points, multiply the values, interpolate.
With E_n the matrix that evaluates n coefficients at the points,
    g u = E_a^-1 [(E_k g) * (E_m u)],    so the map is  E_a^-1 diag(E_k g) E_m,    and its transpose
    y   = E_m.T [(E_k g) * (E_a^-1.T d)]  =: A.T [(G g) * (B.T d)].
The points are 0, 1, -1, 2, -2, 1/2, -1/2 and infinity, where the "value" of a polynomial is its leading coefficient.
An image column of H pixels is cut into R = ceil(H / m) runs of m outputs. B.T for all runs is one sparse matrix
`spread` (a R, H), which includes the padding (a tap outside the image has no column); A.T is `gather` (H, a R). With
m = 4 and k = 3, six products do the work of twelve. `run_of` chooses the m with the fewest products a R.

**Rows.** The k pixels of a window's row lie side by side in memory: with C channels they are a run of k C numbers.
The windows of neighbouring pixels overlap, and BLAS accepts no matrix with overlapping rows. But the windows of every
k-th pixel don't overlap and follow one another without a gap. So the pixels are divided into k *phases*, each a
matrix that is read in place. Every image row ends in (k - 1) / 2 zero pixels: its right border, and the left border
of the next row.

**Together**, for each of the a points, with U = G w over the filter's rows, (a, KW C, F):
    s = spread x        (a R, H) @ (H, C)             for every image and image column
    v = windows(s) U    (pixels, KW C) @ (KW C, F)    for every point and phase
    y = gather v        (H, a R) @ (a R, F)           for every image and image column
Nothing is copied in between: each product reads and writes strided views.

**Backward**, from dz at the output. dx is the same convolution of dz, with the filters turned. For dw, with h the
input,
    dw[kh, kw, c, f] = sum over pixels i of  h[i]_c dz[i - (kh - p, kw - p)]_f
is, along columns, a correlation of dz with the filter h, as above. With s = spread dz (which dx needs too) and
t = gather.T h,
    dU[kw, c, f] = sum over pixels i of  t[i]_c s[i + kw - p]_f  for each point,    dw = G.T dU, turned.

Rounding in float32 grows to about 1e-6 (m = 4) or 1e-5 (m = 6) of the largest output.
Source: Lavin & Gray, Fast algorithms for convolutional neural networks, 2015, sections 3 and 4.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from minidl.engine.tiles.recycler import Empty, aligned, aligned_copy
from minidl.engine.tiles.runner import Scratch

Array = np.ndarray

POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)  # and infinity: more would cost float32 its digits
KERNELS = (3, 5, 7)
SLOWER = 1.5  # multiply-adds of the transforms, whose products are small, take this times the others' time


class Transforms(NamedTuple):
    """The three matrices for an axis of `size` pixels; a points, R runs."""

    spread: Array  # (a R, size), B.T of all runs
    gather: Array  # (size, a R), A.T of all runs
    filters: Array  # (a, k), G

    @property
    def points(self) -> int:
        return len(self.filters)

    @property
    def runs(self) -> int:
        return len(self.spread) // self.points


@lru_cache(64)
def transforms(kernel: int, size: int, m: int, dtype: np.dtype) -> Transforms:
    """The transforms along an axis of `size` pixels, for k taps, "same" padding and runs of m outputs."""
    a, runs, pad = m + kernel - 1, -(-size // m), kernel // 2
    b_t, g, a_t = winograd_matrices(kernel, m)
    spread, gather = np.zeros((a, runs, size)), np.zeros((size, a, runs))
    for run in range(runs):
        for j in range(a):
            pixel = run * m + j - pad
            if 0 <= pixel < size:
                spread[:, run, pixel] = b_t[:, j]
        for i in range(min(m, size - run * m)):
            gather[run * m + i, :, run] = a_t[i]
    parts = spread.reshape(a * runs, size), gather.reshape(size, a * runs), g
    return Transforms(*(aligned_copy(part.astype(dtype)) for part in parts))


def winograd_matrices(kernel: int, m: int) -> tuple[Array, Array, Array]:
    """B.T (a, a), G (a, k) and A.T (m, a) of F(m, k): m outputs of a filter g of k taps with a = m + k - 1 products.

    y_i = sum over j of g_j d_{i+j}, i < m, is  y = A.T [(G g) * (B.T d)].  With E_n = `evaluate(a, n)`, which takes n
    coefficients of a polynomial to its values at a points, G = E_k, A = E_m and B.T = (E_a^-1).T. A row of B.T may be
    divided by a number if the same row of G is multiplied by it.
    """
    a = m + kernel - 1
    b_t = np.linalg.inv(evaluate(a, a)).T
    norm = np.abs(b_t).max(axis=1, keepdims=True)  # b_t keeps numbers near 1; the filters take the rest
    return b_t / norm, evaluate(a, kernel) * norm, evaluate(a, m).T


def run_of(kernel: int, size: int) -> int:
    """m, the number of outputs of a run: the one with the fewest products a R."""
    most = len(POINTS) + 2 - kernel
    return min(range(2, most + 1), key=lambda m: (m + kernel - 1) * -(-size // m))


def evaluate(points: int, coefficients: int) -> Array:
    """The matrix (points, coefficients) that evaluates a polynomial, given by its coefficients, at the points."""
    rows = np.vander(POINTS[: points - 1], coefficients, increasing=True)
    return np.vstack([rows, np.eye(1, coefficients, coefficients - 1)])  # infinity: the leading coefficient


def turned(w: Array) -> Array:
    """w (KH, KW, C, F) turned by 180 degrees, with C and F exchanged: the filters of the convolution for dx."""
    return w[::-1, ::-1].swapaxes(2, 3)


class WinogradConv:
    """The convolution of a tile of images (n, H, W, C) and its gradients: stride 1, "same" padding, k in KERNELS.

    Filters and dw have another form inside: see `filters`, filters of `turned` w; `weight_grad`.
    """

    def __init__(self, kernel: int, images: int, height: int, width: int, dtype: np.dtype) -> None:
        self.k, self.pad = kernel, kernel // 2
        self.images, self.height, self.width = images, height, width
        self.matrices = transforms(kernel, height, run_of(kernel, height), np.dtype(dtype))
        self.points, self.runs = self.matrices.points, self.matrices.runs
        self.row = width + self.pad  # pixels of an image row with its padding
        self.line = -(-images * self.row // kernel) * kernel  # pixels of all images' rows, whole phases
        self._name = f"{kernel}x{kernel} on {images}x{height}x{width}"

    @staticmethod
    def work(kernel: int, height: int, width: int, c: int, f: int) -> float:
        """The multiply-adds of an image's forward pass, those of the transforms times SLOWER."""
        m = run_of(kernel, height)
        products = (m + kernel - 1) * -(-height // m)  # a R
        return products * width * (kernel * c * f + SLOWER * height * (c + f))

    def filters(self, w: Array, empty: Empty = aligned) -> Array:
        """w (KH, KW, C, F) in the form for `forward`, (a, KW C, F), in memory from `empty`."""
        kh, kw, c, f = w.shape
        out = empty((self.points, kw * c, f), w.dtype)
        np.matmul(self.matrices.filters, w.reshape(kh, -1), out=out.reshape(self.points, -1))  # KH -> a
        return out

    def weight_grad(self, dw: Array) -> Array:
        """The sum dw (a KW, C, F), over turned windows, as (KH, KW, C, F)."""
        dw_rows = self.matrices.filters.T @ dw.reshape(self.points, -1)  # (KH, a) @ (a, KW C F)
        return dw_rows.reshape(self.k, self.k, *dw.shape[1:])[::-1, ::-1]

    def forward(self, x: Array, filters: Array, out: Array, scratch: Scratch) -> None:
        """out (n, H, W, F) = the convolution of x (n, H, W, C); both may be channel slices of wider maps."""
        self._apply(self._spread(x, scratch), filters, out, scratch)

    input_grad = forward  # dx from dz is the same convolution, with filters of `turned` w

    def backward(
        self, dz: Array, h: Array, filters: Array, out: Array | None, scratch: Scratch
    ) -> tuple[Array, Array]:
        """out = dh (n, H, W, C) unless None, with filters of `turned` w. Returns two matrices (or stacks of them)
        in scratch memory, whose product is dw in the form for `weight_grad`.
        """
        spread = self._spread(dz, scratch)
        if out is not None:
            self._apply(spread, filters, out, scratch)
        shape = self.points * self.runs, self.line, h.shape[3]
        taps, columns = scratch.bordered(f"taps {self._name}", shape, h.dtype, self._columns)  # t = gather.T h
        np.matmul(self.matrices.gather.T, h.swapaxes(1, 2), out=columns)
        taps = taps.reshape(self.points, -1, h.shape[3]).swapaxes(1, 2)  # (a, C, pixels)
        f, pixels = dz.shape[3], self.runs * self.line
        strides = (pixels * f, f, f, 1)  # point, kw, pixel, filter: the pixels moved by kw - pad
        moved = _view(spread, (self.points, self.k, pixels, f), strides)
        return taps[:, None], moved  # (C, pixels), (pixels, F) for each point and kw

    def _spread(self, x: Array, scratch: Scratch) -> Array:
        """s = spread x, as a stream (pad + a R line + pad, C) with zeros in place of the padding pixels."""
        rows = self.points * self.runs

        def columns(stream: Array) -> Array:
            return self._columns(stream[self.pad : len(stream) - self.pad].reshape(rows, self.line, -1))

        shape = rows * self.line + 2 * self.pad, x.shape[3]
        stream, columns_of_x = scratch.bordered(f"spread {self._name}", shape, x.dtype, columns)
        np.matmul(self.matrices.spread, x.swapaxes(1, 2), out=columns_of_x)
        return stream

    def _apply(self, stream: Array, filters: Array, out: Array, scratch: Scratch) -> None:
        """out = gather [windows(s) U]."""
        k, (_, c), f = self.k, stream.shape, filters.shape[2]
        steps = self.runs * self.line // k
        windows = _view(stream, (self.points, k, steps, k * c), (self.runs * self.line * c, c, k * c, 1))
        lines = scratch("products", (self.points * self.runs, self.line, f), stream.dtype)
        phases = lines.reshape(self.points, steps, k, f).swapaxes(1, 2)  # (a, k, steps, F)
        np.matmul(windows, filters[:, None], out=phases)
        np.matmul(self.matrices.gather, self._columns(lines), out=out.swapaxes(1, 2))

    def _columns(self, lines: Array) -> Array:
        """(a R, line, C) as the matrices of every image and image column, (n, W, a R, C), a view."""
        valid = lines[:, : self.images * self.row].reshape(len(lines), self.images, self.row, -1)
        return valid[:, :, : self.width].transpose(1, 2, 0, 3)


def _view(stream: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """A view of a contiguous array with these strides, counted in numbers; `as_strided` takes ten times as long."""
    return np.ndarray(shape, stream.dtype, stream, strides=[s * stream.itemsize for s in strides])
