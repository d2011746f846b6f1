"""Kernel 4: windows that are read where they are. A third of the copies.

The K pixels of a window's row lie side by side in memory. So do all K K C numbers of a window, if every pixel carries
with it the pixels above and below: K C numbers, only K times as many as x has, where the patches have K K times.

The windows of neighbouring pixels overlap, and BLAS takes no matrix whose rows overlap. But the windows of every
K-th pixel don't overlap, and follow one another without a gap. So there are K products, one for each *phase*, which
read the same memory from K different beginnings:

    pixels      0  1  2  3  4  5  6  7  8
    phase 0    [0  1  2][3  4  5][6  7  8]
    phase 1       [1  2  3][4  5  6] ...
    phase 2          [2  3  4][5  6  7] ...

Every image row ends in p zeros. They are the border on its right, and the border on the left of the next row.
"""

import numpy as np

import kernel01_im2col as kernel1
import kernel03_threads as kernel3
from compare import Case, show
from kernel03_threads import over_tiles, scratch


def view(stream, shape, strides):
    """A view of contiguous memory, strides counted in numbers."""
    return np.ndarray(shape, stream.dtype, stream, strides=[s * stream.itemsize for s in strides])


def conv2d(x, w):
    """See kernel 1."""
    (n, height, width, c), (k, _, _, f), p = x.shape, w.shape, w.shape[0] // 2
    y = np.empty((n, height, width, f), x.dtype)
    filters = w.swapaxes(0, 1).reshape(-1, f)  # (KH, KW, C, F) -> (KW KH C, F)
    row = width + p

    def task(tile):
        images = tile.stop - tile.start
        pixels = images * height * row
        steps = -(-pixels // k)  # of every phase
        stream = scratch(f"stream of {images}x{height}x{width}", (p + steps * k + p, k, c), x.dtype, np.zeros)
        inside = stream[p : p + pixels].reshape(images, height, row, k, c)[:, :, :width]
        for i in range(k):  # the row i - p further down
            first, last = max(0, p - i), min(height, height + p - i)
            inside[:, first:last, :, i] = x[tile][:, first - p + i : last - p + i]
        windows = view(stream, (k, steps, k * k * c), (k * c, k * k * c, 1))  # phase, step, number in the window
        lines = scratch("lines", (steps * k, f), x.dtype)
        np.matmul(windows, filters, out=lines.reshape(steps, k, f).swapaxes(0, 1))  # (steps, K K C) @ (K K C, F)
        y[tile] = lines[:pixels].reshape(images, height, row, f)[:, :, :width]

    over_tiles(task, n)
    return y


CASES = [Case("4 phases", "3x3, 48->64 at 30x30", kernel1.MODULE_1, kernel1.truth, kernel3.conv2d, conv2d)]

if __name__ == "__main__":
    show(*CASES)
