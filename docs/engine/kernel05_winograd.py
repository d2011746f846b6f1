"""Kernel 5: Winograd's trick along the columns. Fewer than half of the products.

Chapter 12 computes m outputs of a filter with k taps by a = m + k - 1 products, y = A.T ((G g) * (B.T d)). Here d is
an image column, cut into runs of m pixels, and each "product" is a matrix product over the KW C numbers of a window's
row. With 30 rows, m = 6 and k = 3 there are 5 runs of 8 products: 40 for each column and tap along the width, where
kernel 4 has 3 for each of 30 rows, 90.

`spread` is B.T for all runs of a column as one matrix, and `gather` is A.T: both transforms are products over pixels,
and together cost less than they save. `spread` also does what kernel 4's copies did: it knows which rows a run reads,
and that there are zeros outside. Along the rows nothing changes: windows in K phases, read in place. (The picture in
docs/fast-engine.md shows the stream of one image.)
"""

from functools import lru_cache

import numpy as np

import kernel01_im2col as kernel1
import kernel04_phases as kernel4
from compare import Case, show
from kernel03_threads import over_tiles, scratch
from kernel04_phases import view
from minidl.engine.convolutions.winograd import run_of, winograd_matrices  # chapter 12 explains them


@lru_cache
def transforms(k, size, m, dtype):
    """spread (a R, size), gather (size, a R) and G (a, k), for an axis of `size` pixels in R runs of m."""
    b_t, g, a_t = winograd_matrices(k, m)
    a, runs = len(g), -(-size // m)
    spread, gather = np.zeros((a, runs, size), dtype), np.zeros((size, a, runs), dtype)
    for run in range(runs):
        for j in range(a):
            pixel = run * m + j - k // 2
            if 0 <= pixel < size:
                spread[:, run, pixel] = b_t[:, j]
        for i in range(min(m, size - run * m)):
            gather[run * m + i, :, run] = a_t[i]
    return spread.reshape(a * runs, size), gather.reshape(size, a * runs), g.astype(dtype)


def filters_at_points(w, height):
    """G w over the rows of the filters: w (KH, KW, C, F) -> (a, KW C, F)."""
    k, _, c, f = w.shape
    _, _, g = transforms(k, height, run_of(k, height), w.dtype)
    return (g @ w.reshape(k, -1)).reshape(len(g), k * c, f)


def conv_tile(x, filters, out):
    """out (n, H, W, F) = the convolution of a tile x (n, H, W, C)."""
    (n, height, width, c), (a, kc, f) = x.shape, filters.shape
    k = kc // c
    p, row = k // 2, width + k // 2
    spread, gather, _ = transforms(k, height, run_of(k, height), x.dtype)
    steps = -(-n * row // k)
    line, runs = k * steps, len(spread) // a  # pixels of one of the a R lines

    def columns(lines):  # (a R, line, C) -> the matrix (a R, C) of every image and column: (n, W, a R, C)
        return lines[:, : n * row].reshape(len(lines), n, row, -1)[:, :, :width].transpose(1, 2, 0, 3)

    stream = scratch(f"stream of {n}x{height}x{width}, {k}x{k}", (p + a * runs * line + p, c), x.dtype, np.zeros)
    np.matmul(spread, x.swapaxes(1, 2), out=columns(stream[p : len(stream) - p].reshape(-1, line, c)))
    windows = view(stream, (a, k, runs * steps, kc), (runs * line * c, c, kc, 1))  # point, phase, step
    lines = scratch("lines", (a * runs, line, f), x.dtype)
    phases = lines.reshape(a, runs * steps, k, f).swapaxes(1, 2)
    np.matmul(windows, filters[:, None], out=phases)  # (steps, KW C) @ (KW C, F)
    np.matmul(gather, columns(lines), out=out.swapaxes(1, 2))


def conv2d(x, w):
    """See kernel 1."""
    y = np.empty((*x.shape[:3], w.shape[3]), x.dtype)
    filters = filters_at_points(w, x.shape[1])
    over_tiles(lambda tile: conv_tile(x[tile], filters, y[tile]), len(x))
    return y


CASES = [Case("5 Winograd", "3x3, 48->64 at 30x30", kernel1.MODULE_1, kernel1.truth, kernel4.conv2d, conv2d)]

if __name__ == "__main__":
    show(*CASES)
