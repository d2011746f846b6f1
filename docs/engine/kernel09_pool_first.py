"""Kernel 9: the max pool comes before batch normalization and ReLU.

Chapter 12 shows why this is allowed: both keep the order of the numbers, or reverse it where gamma is negative, and
then the filters take the sign. What is it worth? A 2x2 pool leaves a quarter of the pixels. So BN and ReLU read and
write a quarter, and the full map after them never exists. The pool itself reads z while the tile is in the cache.

BN's sums are still over all pixels of z: its mean and variance are not those of the maxima. (The engine also keeps
which pixel won, in one byte, for the way back.)
"""

import numpy as np

import kernel07_batch_norm as kernel7
from compare import Case, show
from kernel03_threads import over_tiles, scratch
from kernel07_batch_norm import affine_relu, arrays, point, scale_and_shift, sums
from minidl.kernels import reference


def pool(z, y):
    """y (n, H/2, W/2, F) = the 2x2 maxima of a tile z (n, H, W, F), H and W even: first left and right."""
    pairs = scratch("pairs", (*z.shape[:2], *y.shape[2:]), z.dtype)
    np.maximum(z[:, :, ::2], z[:, :, 1::2], out=pairs)
    np.maximum(pairs[:, ::2], pairs[:, 1::2], out=y)


def half(z):
    n, height, width, f = z.shape
    return np.empty((n, height // 2, width // 2, f), z.dtype)


def pool_behind(x, w, gamma, beta):
    whole = kernel7.block(x, w, gamma, beta)
    y = half(whole)
    over_tiles(lambda tile: pool(whole[tile], y[tile]), len(x))
    return y


def pool_first(x, w, gamma, beta):
    """y (N, H/2, W/2, F): 1x1 convolution, batch normalization, ReLU, 2x2 max pool."""
    z = np.empty((*x.shape[:3], w.shape[1]), x.dtype)
    filters, zmax = w * np.where(gamma < 0, -1, 1).astype(w.dtype), half(z)

    def convolve(tile):
        point(x[tile], filters, z[tile])
        pool(z[tile], zmax[tile])
        return sums(z[tile], z[tile])

    scale, shift = scale_and_shift(over_tiles(convolve, len(x)), z, np.abs(gamma), beta)
    width, f = zmax.shape[2:]
    scale, shift = scale[: width * f], shift[: width * f]  # the rows of zmax are shorter
    y = np.empty_like(zmax)
    over_tiles(lambda tile: affine_relu(zmax[tile], scale, shift, y[tile]), len(x))
    return y


def truth(x, w, gamma, beta):
    return reference.max_pool(kernel7.truth(x, w, gamma, beta), 2, 2, 0)[0]


CASES = [Case("9 pool first", "1x1, 32->128 at 30x30, BN, ReLU, 2x2 pool", arrays, truth, pool_behind, pool_first)]

if __name__ == "__main__":
    show(*CASES)
