"""Kernel 7: batch normalization and ReLU, with two passes over the map instead of four.

After the convolution come layers that do very little with each number, and fetch it from memory every time:

    one by one    z = conv(x)   |   sums of z, z^2   |   (z - mean) inv_std gamma + beta   |   max(..., 0)
    fused         z = conv(x), and its sums          |   max(z scale + shift, 0)

This matters most after a convolution that computes little, such as this 1x1: one small product per pixel.

The sums over a tile are computed while the tile is in the cache. Then all threads wait for each other (the barrier):
mean and variance need all tiles. BN is a linear function per channel, z scale + shift, and the ReLU follows at once.

NumPy's inner loop runs along the last axis, and that is short: F numbers. So an image row, W F numbers, is one row
here, and `scale` is repeated W times. Column sums are matrix products, `ones @ z`; einsum adds up z^2 without storing
it. (E[z^2] - mean^2 loses digits if the mean is far from zero. The engine notices, and then makes one more pass.)
"""

import numpy as np

from compare import Case, normal, show
from kernel03_threads import over_tiles
from minidl.kernels import reference

EPS = 1e-5


def point(x, w, z):
    """A 1x1 convolution of a tile: z (n, H, W, F) from x (n, H, W, C) and w (C, F)."""
    np.matmul(x.reshape(-1, len(w)), w, out=z.reshape(-1, w.shape[1]))  # (n H W, C) @ (C, F)


def rows(z):
    return z.reshape(-1, z.shape[2] * z.shape[3])  # (n, H, W, F) -> (n H, W F)


def sums(a, b):
    """The sums of a and of a b over the pixels of a tile, (2, F)."""
    total = np.ones(len(rows(a)), a.dtype) @ rows(a), np.einsum("rc,rc->c", rows(a), rows(b))
    return np.array(total, np.float64).reshape(2, -1, a.shape[3]).sum(axis=1)  # (2, W F) -> (2, W, F) -> (2, F)


def scale_and_shift(parts, z, gamma, beta):
    """BN as z scale + shift, from the tiles' sums; added in order, whichever thread computed them. Both (W F,)."""
    mean, square = sum(parts) / (z.size // z.shape[3])
    scale = gamma / np.sqrt(square - mean**2 + EPS)
    return [np.tile(v.astype(z.dtype), z.shape[2]) for v in (scale, beta - mean * scale)]


def one_by_one(x, w, gamma, beta):
    z = np.empty((*x.shape[:3], w.shape[1]), x.dtype)
    over_tiles(lambda tile: point(x[tile], w, z[tile]), len(x))
    scale, shift = scale_and_shift(over_tiles(lambda tile: sums(z[tile], z[tile]), len(x)), z, gamma, beta)
    y, zero = np.empty_like(z), np.zeros_like(scale)

    def normalize(tile):
        np.multiply(rows(z[tile]), scale, out=rows(y[tile]))
        np.add(rows(y[tile]), shift, out=rows(y[tile]))

    over_tiles(normalize, len(x))
    over_tiles(lambda tile: np.maximum(rows(y[tile]), zero, out=rows(y[tile])), len(x))
    return y


def affine_relu(z, scale, shift, y):
    """y = max(z scale + shift, 0) for a tile."""
    np.multiply(rows(z), scale, out=rows(y))
    np.add(rows(y), shift, out=rows(y))
    np.maximum(rows(y), np.zeros_like(shift), out=rows(y))  # faster than with the number 0


def block(x, w, gamma, beta):
    """y (N, H, W, F): 1x1 convolution, batch normalization, ReLU."""
    z = np.empty((*x.shape[:3], w.shape[1]), x.dtype)
    y = np.empty_like(z)

    def convolve(tile):
        point(x[tile], w, z[tile])
        return sums(z[tile], z[tile])

    scale, shift = scale_and_shift(over_tiles(convolve, len(x)), z, gamma, beta)
    over_tiles(lambda tile: affine_relu(z[tile], scale, shift, y[tile]), len(x))
    return y


def truth(x, w, gamma, beta):
    z = reference.conv2d(x, w[None, None], 1, 0)
    mean, var = reference.batch_statistics(z)
    inv_std = (1 / np.sqrt(var + EPS)).astype(x.dtype)
    return reference.relu(reference.batch_norm(z, mean.astype(x.dtype), inv_std, gamma, beta))[0]


def arrays(rng, dtype, small):
    (c, f), shape = ((4, 5), (3, 6, 8)) if small else ((32, 128), (64, 30, 30))
    w = normal(rng, dtype, c, f) / np.sqrt(c).astype(dtype)
    return normal(rng, dtype, *shape, c), w, normal(rng, dtype, f), normal(rng, dtype, f)


CASES = [Case("7 batch norm", "1x1, 32->128 at 30x30, BN, ReLU", arrays, truth, one_by_one, block)]

if __name__ == "__main__":
    show(*CASES)
