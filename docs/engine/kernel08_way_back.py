"""Kernel 8: the way back through ReLU, batch normalization and convolution. dz never reaches memory.

Chapter 6 derives BN's gradient, with d = dy [y > 0], M pixels and xhat = (z - mean) inv_std:

    dz = gamma inv_std (d - dbeta / M - xhat dgamma / M),    dbeta = sum d,    dgamma = sum d xhat

Most of it is the same for all pixels of a channel. Collect it in numbers per channel:

    dz = scale (d + slope z + offset),   scale = gamma inv_std,   slope = -inv_std dgamma / M,
                                         offset = -dbeta / M - mean slope

`scale` needs no pass at all: dx = dz w.T is linear in the filters, so they take it, once; and so does dw = x.T dz.

    one by one    d   |   sums of d, d z   |   dz   |   dx   |   dw
    fused         d, and its sums          |   dz of a tile, in working memory; from it dx and dw
"""

import numpy as np

from compare import Case, normal, show
from kernel03_threads import over_tiles, scratch
from kernel07_batch_norm import EPS, point, rows, sums
from minidl.kernels import reference


def terms(parts, z, mean, inv_std):
    """(dgamma, dbeta, slope, offset), each (F,), from the tiles' sums of d and d z."""
    m, (dbeta, dot) = z.size // z.shape[3], sum(parts)
    dgamma = inv_std * (dot - mean * dbeta)
    slope = -inv_std * dgamma / m
    return dgamma, dbeta, slope, -dbeta / m - mean * slope


def weight_grad(x, dz):
    return x.reshape(-1, x.shape[3]).T @ dz.reshape(-1, dz.shape[3])  # (C, P) @ (P, F)


def one_by_one(dy, y, x, z, w, gamma, mean, inv_std):
    d, dz, dx, n = np.empty_like(dy), np.empty_like(dy), np.empty_like(x), len(x)
    over_tiles(lambda tile: np.multiply(dy[tile], y[tile] > 0, out=d[tile]), n)
    parts = over_tiles(lambda tile: sums(d[tile], z[tile]), n)
    dgamma, dbeta, slope, offset = terms(parts, z, mean, inv_std)
    slope, offset, scale = (np.tile(v.astype(dy.dtype), dy.shape[2]) for v in (slope, offset, gamma * inv_std))

    def through_bn(tile):
        out = rows(dz[tile])
        np.multiply(rows(z[tile]), slope, out=out)
        out += offset
        out += rows(d[tile])
        out *= scale

    over_tiles(through_bn, n)
    back = np.ascontiguousarray(w.T)
    over_tiles(lambda tile: point(dz[tile], back, dx[tile]), n)
    return dx, sum(over_tiles(lambda tile: weight_grad(x[tile], dz[tile]), n)), dgamma, dbeta


def block_back(dy, y, x, z, w, gamma, mean, inv_std):
    """dx (N, H, W, C), dw (C, F), dgamma and dbeta (F,) of kernel 7's block; mean and inv_std are its batch's."""
    d, dx, n = np.empty_like(dy), np.empty_like(x), len(x)
    scale = (gamma * inv_std).astype(w.dtype)
    back = np.ascontiguousarray((w * scale).T)

    def through_relu(tile):
        np.multiply(dy[tile], y[tile] > 0, out=d[tile])
        return sums(d[tile], z[tile])

    dgamma, dbeta, slope, offset = terms(over_tiles(through_relu, n), z, mean, inv_std)
    slope, offset = (np.tile(v.astype(dy.dtype), dy.shape[2]) for v in (slope, offset))

    def through_bn_and_convolution(tile):
        dz = scratch("dz", z[tile].shape, z.dtype)
        np.multiply(rows(z[tile]), slope, out=rows(dz))
        rows(dz)[...] += offset
        dz += d[tile]
        point(dz, back, dx[tile])
        return weight_grad(x[tile], dz)

    return dx, sum(over_tiles(through_bn_and_convolution, n)) * scale, dgamma, dbeta


def truth(dy, y, x, z, w, gamma, mean, inv_std):
    mean, inv_std, filters = mean.astype(z.dtype), inv_std.astype(z.dtype), w[None, None]
    d = reference.relu_dx(dy, y > 0)
    dgamma, dbeta = reference.batch_norm_sums(d, z, mean, inv_std)
    dz = reference.batch_norm_dx(d, z, mean, inv_std, gamma, dgamma, dbeta)
    dw = reference.conv2d_dw(x, dz, filters.shape, 1, 0)[0, 0]
    return reference.conv2d_dx(dz, filters, x.shape, 1, 0), dw, dgamma, dbeta


def arrays(rng, dtype, small):
    n, size, c, f = (3, 6, 4, 5) if small else (64, 30, 32, 128)
    x, w, gamma = normal(rng, dtype, n, size, size, c), normal(rng, dtype, c, f), normal(rng, dtype, f)
    z = reference.conv2d(x, w[None, None], 1, 0)
    mean, var = reference.batch_statistics(z)
    inv_std = 1 / np.sqrt(var + EPS)
    y = np.maximum((z - mean) * inv_std * gamma, 0).astype(dtype)
    return normal(rng, dtype, *z.shape), y, x, z, w, gamma, mean, inv_std


CASES = [Case("8 way back", "the same, backward", arrays, truth, one_by_one, block_back)]

if __name__ == "__main__":
    show(*CASES)
