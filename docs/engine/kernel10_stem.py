"""Kernel 10: the first layers of the net, without the largest map of the net.

A 3x3 convolution makes a map of 62x62x128 from an image of 64x64x3: forty times as many numbers, 126 MB for 64
images. After BN and ReLU a 4x4 pool with stride 2 keeps a quarter of them. Two ideas avoid the map.

**BN's statistics without z.** A pixel of z is z = p w, with a patch p of 27 numbers. So the sums of z and z^2 follow
from g = sum p and from the Gram matrix G = sum p.T p, which is only 27 x 27:

    M mean = g w,    M var = diag(w.T G w) - M mean^2

Every patch ends in a 1; so g is one more row of G. And mean and variance are known before any z is computed.

**Pooling by parity.** z is computed in four maps, for even and odd rows and columns. A window of the pool is a square
of 2x2 places in each of them. So the pool is a maximum of contiguous maps, then of the result and itself, one row and
one column further on (the picture in docs/fast-engine.md). Maps of one image stay in the cache. Scale and shift are
in the filters already. Only the ReLU is left, and it comes after the pool.

(The engine has longer copies, subtracts the images' mean first, and keeps the winners: `minidl/engine/stem/`.)
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from compare import Case, normal, show
from kernel03_threads import over_tiles, scratch
from kernel07_batch_norm import EPS, affine_relu, scale_and_shift, sums
from minidl.kernels import reference


def pool(z, y):
    """y = the 4x4 maxima with stride 2 of a tile z (n, H, W, F), H and W even: pairs, then pairs of pairs."""
    pairs = np.maximum(z[:, :, ::2], z[:, :, 1::2])
    wide = np.maximum(pairs[:, :, :-1], pairs[:, :, 1:])
    pairs = np.maximum(wide[:, ::2], wide[:, 1::2])
    np.maximum(pairs[:, :-1], pairs[:, 1:], out=y)


def with_the_map(x, w, gamma, beta):
    """As in kernel 7, with z in memory; the pool follows BN and ReLU while an image is in the cache."""
    (n, height, width, c), f = x.shape, w.shape[3]
    z = np.empty((n, height - 2, width - 2, f), x.dtype)
    y = np.empty((n, height // 2 - 2, width // 2 - 2, f), x.dtype)

    def convolve(tile):
        windows = sliding_window_view(x[tile], (3, 3), axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3)
        patches = scratch("patches", windows.shape, x.dtype)
        patches[...] = windows
        np.matmul(patches.reshape(-1, 9 * c), w.reshape(-1, f), out=z[tile].reshape(-1, f))
        return sums(z[tile], z[tile])

    def finish(tile):
        whole = scratch("whole", z[tile].shape, x.dtype)
        affine_relu(z[tile], scale, shift, whole)
        pool(whole, y[tile])

    scale, shift = scale_and_shift(over_tiles(convolve, n, images=1), z, gamma, beta)
    over_tiles(finish, n, images=1)
    return y


def stem(x, w, gamma, beta):
    """y (N, h - 1, w - 1, F) from x (N, H, W, C), with h, w = H / 2 - 1, W / 2 - 1: conv, BN, ReLU, 4x4 pool."""
    (n, height, width, c), f = x.shape, w.shape[3]
    h, wd = height // 2 - 1, width // 2 - 1
    patches = np.ones((n, 2, 2, h, wd, 9 * c + 1), x.dtype)
    y = np.empty((n, h - 1, wd - 1, f), x.dtype)

    def gather(tile):
        windows = sliding_window_view(x[tile], (3, 3), axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3)
        parity = windows.reshape(-1, h, 2, wd, 2, 3, 3, c).transpose(0, 2, 4, 1, 3, 5, 6, 7)  # rows, columns in front
        patches[tile, ..., :-1] = parity.reshape(*parity.shape[:5], -1)
        flat = patches[tile].reshape(-1, 9 * c + 1)
        return (flat.T @ flat).astype(np.float64)

    gram, filters, pixels = sum(over_tiles(gather, n, images=1)), w.reshape(-1, f), n * 4 * h * wd
    mean = gram[-1, :-1] @ filters / pixels
    var = np.einsum("kf,kf->f", filters, gram[:-1, :-1] @ filters) / pixels - mean**2
    scale = gamma / np.sqrt(var + EPS)
    filters = np.vstack([filters * scale, beta - mean * scale]).astype(x.dtype)  # `shift` meets the patches' 1

    def convolve_and_pool(tile):
        maps = scratch("two maps", (2, h * wd, f), x.dtype)
        largest, other = maps
        for i, rows in enumerate(patches[tile].reshape(4, h * wd, -1)):  # (1, 2, 2, h, w, K) -> (4, h w, K)
            np.matmul(rows, filters, out=maps[min(i, 1)])  # (h w, K) @ (K, F)
            if i:
                np.maximum(largest, other, out=largest)
        square, out = largest.reshape(h, wd, f), y[tile][0]
        np.maximum(square[:-1, :-1], square[:-1, 1:], out=out)
        np.maximum(out, square[1:, :-1], out=out)
        np.maximum(out, square[1:, 1:], out=out)
        np.maximum(out, 0, out=out)

    over_tiles(convolve_and_pool, n, images=1)
    return y


def truth(x, w, gamma, beta):
    z = reference.conv2d(x, w, 1, 0)
    mean, var = reference.batch_statistics(z)
    inv_std = (1 / np.sqrt(var + EPS)).astype(x.dtype)
    y, _ = reference.relu(reference.batch_norm(z, mean.astype(x.dtype), inv_std, gamma, beta))
    return reference.max_pool(y, 4, 2, 0)[0]


def arrays(rng, dtype, small):
    x = normal(rng, dtype, *((3, 8, 10, 3) if small else (64, 64, 64, 3)))
    f = 5 if small else 128
    return x, normal(rng, dtype, 3, 3, 3, f) / 5, normal(rng, dtype, f), normal(rng, dtype, f)


CASES = [Case("10 stem", "3x3, 3->128 at 64x64, BN, ReLU, 4x4 pool", arrays, truth, with_the_map, stem)]

if __name__ == "__main__":
    show(*CASES)
