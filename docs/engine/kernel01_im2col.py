"""Kernel 1: a convolution as one matrix product. Chapter 4 of the course derives it; here it is the starting point.

Every window of every image is copied into a row of a matrix, and BLAS multiplies this matrix by the filters. BLAS is
fast, and it does all the arithmetic. So what is slow about it? The matrix. It has nine times as many numbers as x:
64 images of 30x30 pixels with 48 channels make 100 MB of it. They are written to memory one after the other, and by
the time the product reads the first row, that row has long left the cache.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from compare import Case, same_padding, show
from minidl.kernels import reference


def conv2d(x, w):
    """y (N, H, W, F) from x (N, H, W, C) and w (K, K, C, F): stride 1, zeros around the image."""
    k, _, c, f = w.shape
    p = k // 2
    padded = np.pad(x, ((0, 0), (p, p), (p, p), (0, 0)))
    windows = sliding_window_view(padded, (k, k), axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3)  # (N, H, W, K, K, C)
    patches = windows.reshape(-1, k * k * c)  # -> (N H W, K K C), the copy
    return (patches @ w.reshape(-1, f)).reshape(*x.shape[:3], f)  # (N H W, F) -> (N, H, W, F)


def truth(x, w):
    return reference.conv2d(x, w, 1, w.shape[0] // 2)


MODULE_1 = same_padding(3, 30, 48, 64)  # the 3x3 convolution of the first inception module
CASES = [Case("1 im2col", "3x3, 48->64 at 30x30, one core", MODULE_1, truth, None, conv2d, cores=1)]

if __name__ == "__main__":
    show(*CASES)
