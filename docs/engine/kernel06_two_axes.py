"""Kernel 6: Winograd's trick along both axes. It pays where many channels are summed up.

With m = 4 along both axes, 6 x 6 = 36 products give 4 x 4 = 16 pixels, for which a 3x3 filter takes 144. Every pixel
is read by itself now, so there are no windows left: each of the 36 products is a sum over C channels, not K C.

    x (n, H, W, C)  ->  along the rows (a Q, n, H, C)  ->  along the columns (a, a R, Q, n, C): 36 matrices (T, C)
    each of them times its filters (C, F), and the same way back

The price is the transforms: their work doesn't depend on how many products they save. With C = 96 and F = 128 they
are small against the products. With C = 48 and F = 64 they are not, and kernel 5 is faster: the second line of the
table. So the engine counts multiply-adds, and chooses (`minidl/engine/convolutions/choice.py`).
"""

import numpy as np

import kernel01_im2col as kernel1
import kernel05_winograd as kernel5
from compare import Case, same_padding, show
from kernel03_threads import over_tiles, scratch
from kernel05_winograd import transforms

A = 6  # points along an axis; more would cost float32 its digits


def filters_at_points(w):
    """G w G.T: w (K, K, C, F) -> (a, a, C, F), the points along the width first."""
    k, _, c, f = w.shape
    _, _, g = transforms(k, k, A + 1 - k, w.dtype)
    tall = (g @ w.reshape(k, -1)).reshape(A, k, c * f)  # KH -> a
    return np.ascontiguousarray((g @ tall).reshape(A, A, c, f).swapaxes(0, 1))  # KW -> a


def conv_tile(x, filters, out, k):
    """out (n, H, W, F) = the convolution of a tile x (n, H, W, C)."""
    (n, height, width, c), f = x.shape, filters.shape[3]
    spread_w, gather_w, _ = transforms(k, width, A + 1 - k, x.dtype)
    spread_h, gather_h, _ = transforms(k, height, A + 1 - k, x.dtype)
    q, r = len(spread_w) // A, len(spread_h) // A
    rows = scratch("rows", (A, q, n, height, c), x.dtype)
    np.matmul(spread_w, x, out=rows.reshape(A * q, n, height, c).transpose(1, 2, 0, 3))  # (a Q, W) @ (W, C)
    points = scratch("points", (A, A * r, q, n, c), x.dtype)
    np.matmul(spread_h, rows, out=points.transpose(0, 2, 3, 1, 4))  # (a R, H) @ (H, C)
    products = scratch("products", (A, A * r, q, n, f), x.dtype)
    matrices = points.reshape(A, A, -1, c), products.reshape(A, A, -1, f)  # R, Q, n -> T
    np.matmul(matrices[0], filters, out=matrices[1])  # (T, C) @ (C, F), 36 times
    back = scratch("rows back", (A, q, n, height, f), x.dtype)
    np.matmul(gather_h, products.transpose(0, 2, 3, 1, 4), out=back)
    np.matmul(gather_w, back.reshape(A * q, n, height, f).transpose(1, 2, 0, 3), out=out)


def conv2d(x, w):
    """See kernel 1."""
    y = np.empty((*x.shape[:3], w.shape[3]), x.dtype)
    filters = filters_at_points(w)
    over_tiles(lambda tile: conv_tile(x[tile], filters, y[tile], len(w)), len(x))
    return y


MODULE_3 = same_padding(3, 16, 96, 128)  # the 3x3 convolution of the third inception module
CASES = [
    Case("6 two axes", "3x3, 96->128 at 16x16", MODULE_3, kernel1.truth, kernel5.conv2d, conv2d),
    Case("6 two axes", "3x3, 48->64 at 30x30", kernel1.MODULE_1, kernel1.truth, kernel5.conv2d, conv2d),
]

if __name__ == "__main__":
    show(*CASES)
