"""The GPU kernels for CuPy arrays: CUDA C (the sources are in the folder cuda/), and cuBLAS for matrix products.

Signatures and results are those of the reference. Most operations are one launch with one thread per element. No
kernel uses atomics, so every sum has a fixed order and the same input gives the same bits. A convolution is im2col
and one matrix product; if the patches would take more than PATCH_BYTES, it works on a few images at a time.
Transposes are flags of the product, not copies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from minidl.backend.arrays import Array, array_module
from minidl.kernels import reference
from minidl.kernels.general import cuda as general
from minidl.kernels.general.window import square
from minidl.kernels.launch import BLOCK, contiguous, launch, launch_each
from minidl.kernels.shapes import window_positions

Shape = tuple[int, ...]

PATCH_BYTES = 256 << 20  # the largest im2col block (one image at least)
SUM_ROWS, SUM_BLOCKS = 256, 1024  # sums over rows: rows per block, unless that makes more blocks than SUM_BLOCKS
JOIN_CHANNELS = 32  # channels of a block that joins partial sums: few, so that many lanes share the work


# -------------------------------------------------------------- convolution


def im2col(x: Array, kernel: tuple[int, int], stride: int, padding: int) -> Array:
    """See reference.im2col."""
    (x,) = contiguous(x, x)
    n, h, w, c = x.shape
    (kh, kw), (oh, ow) = kernel, _positions(x.shape, kernel, stride, padding)
    patches = array_module(x).empty((n * oh * ow, kh * kw * c), x.dtype)
    launch_each("im2col", n * oh * ow * kw * c, x, x, patches, h, w, c, oh, ow, kh, kw, stride, padding)
    return patches


def col2im(dpatches: Array, x_shape: Shape, kernel: tuple[int, int], stride: int, padding: int) -> Array:
    """See reference.col2im. Every thread serves one pixel and reads all its copies."""
    (dpatches,) = contiguous(dpatches, dpatches)
    dx = array_module(dpatches).empty(x_shape, dpatches.dtype)
    _col2im(dpatches, dx, kernel, stride, padding)
    return dx


def _col2im(dpatches: Array, dx: Array, kernel: tuple[int, int], stride: int, padding: int) -> None:
    """Writes to all of dx (N, H, W, C)."""
    out = _positions(dx.shape, kernel, stride, padding)
    launch_each("col2im", dx.size, dpatches, dpatches, dx, *dx.shape[1:], *out, *kernel, stride, padding)


def _positions(x_shape: Shape, kernel: tuple[int, int], stride: int, padding: int) -> tuple[int, int]:
    oh, ow = (window_positions(size, k, stride, padding) for size, k in zip(x_shape[1:3], kernel, strict=True))
    return oh, ow


def _image_blocks(images: int, bytes_each: int) -> Iterator[slice]:
    """Slices of at most PATCH_BYTES worth of images, at least one image each."""
    most = max(1, PATCH_BYTES // bytes_each)
    return (slice(start, start + most) for start in range(0, images, most))


def _patches(x: Array, kernel: tuple[int, int], stride: int, padding: int) -> Iterator[tuple[slice, Array]]:
    """Yields (slice of images, patches (P, K)). The patches of a 1x1 convolution are the pixels themselves."""
    if (kernel, stride, padding) == ((1, 1), 1, 0):
        yield slice(0, len(x)), x.reshape(-1, x.shape[-1])  # (N, H, W, C) -> (N H W, C)
        return
    count = math.prod(_positions(x.shape, kernel, stride, padding))  # patches of an image
    for block in _image_blocks(len(x), count * math.prod(kernel) * x.shape[-1] * x.itemsize):
        yield block, im2col(x[block], kernel, stride, padding)


def conv2d(x: Array, w: Array, stride: int, padding: int) -> Array:
    """See reference.conv2d: y = patches @ w."""
    x, w = contiguous(x, x, w)
    xp = array_module(x)
    kh, kw, _, f = w.shape
    y = xp.empty((len(x), *_positions(x.shape, (kh, kw), stride, padding), f), x.dtype)
    for block, patches in _patches(x, (kh, kw), stride, padding):
        xp.matmul(patches, w.reshape(-1, f), out=y[block].reshape(-1, f))  # (P, K) @ (K, F)
    return y


def conv2d_dw(x: Array, dy: Array, w_shape: Shape, stride: int, padding: int) -> Array:
    """See reference.conv2d_dw: dw = sum over blocks of patches.T @ dy."""
    x, dy = contiguous(x, x, dy)
    kh, kw, _, f = w_shape
    blocks = _patches(x, (kh, kw), stride, padding)
    products = (patches.T @ dy[block].reshape(-1, f) for block, patches in blocks)  # (K, P) @ (P, F)
    dw = next(products)
    for product in products:
        dw += product
    return dw.reshape(w_shape)  # (K, F) -> (KH, KW, C, F)


def conv2d_dx(dy: Array, w: Array, x_shape: Shape, stride: int, padding: int) -> Array:
    """See reference.conv2d_dx: dx = col2im(dy @ w.T)."""
    dy, w = contiguous(dy, dy, w)
    xp = array_module(dy)
    kh, kw, _, f = w.shape
    wt = w.reshape(-1, f).T  # (K, F) -> (F, K)
    if (kh, kw, stride, padding) == (1, 1, 1, 0):
        return (dy.reshape(-1, f) @ wt).reshape(x_shape)  # (P, F) @ (F, C) -> (N, H, W, C)
    dx = xp.empty(x_shape, dy.dtype)
    for block in _image_blocks(len(dy), math.prod(dy.shape[1:3]) * math.prod(w.shape[:3]) * dy.itemsize):
        dpatches = dy[block].reshape(-1, f) @ wt  # (P, F) @ (F, K)
        _col2im(dpatches, dx[block], (kh, kw), stride, padding)
    return dx


# ------------------------------------------------------------------ pooling


def max_pool(x: Array, kernel: int, stride: int, padding: int) -> tuple[Array, Array]:
    """See reference.max_pool."""
    return general.max_pool(x, square(kernel, stride, padding))


def max_pool_dx(
    dy: Array, index: Array, x_shape: Shape, kernel: int, stride: int, padding: int, overlap: str = "sum"
) -> Array:
    """See reference.max_pool_dx."""
    return general.max_pool_dx(dy, index, x_shape, square(kernel, stride, padding), overlap)


def avg_pool(x: Array, kernel: int, stride: int, padding: int) -> Array:
    """See reference.avg_pool: all of the padding counts."""
    return general.avg_pool(x, square(kernel, stride, padding), (padding, padding))


def avg_pool_dx(dy: Array, x_shape: Shape, kernel: int, stride: int, padding: int) -> Array:
    """See reference.avg_pool_dx."""
    return general.avg_pool_dx(dy, x_shape, square(kernel, stride, padding), (padding, padding))


# ------------------------------------------- batch normalization, activation


def _by_rows(x: Array) -> tuple[int, int, int, int, int]:
    """How a sum over the rows of (M, C) is divided: M, C, rows per block, number of blocks, channels per block."""
    c = x.shape[-1]
    m = x.size // c
    rows = max(SUM_ROWS, -(-m // SUM_BLOCKS))
    return m, c, rows, -(-m // rows), min(c, BLOCK)


def batch_statistics(x: Array) -> tuple[Array, Array]:
    """See reference.batch_statistics: one pass over x, two launches."""
    (x,) = contiguous(x, x)
    xp = array_module(x)
    m, c, rows, blocks, width = _by_rows(x)
    partial = xp.empty((2, blocks, c), xp.float64)
    mean, var = xp.empty(c, xp.float64), xp.empty(c, xp.float64)
    launch("batch_partial_statistics", (blocks, -(-c // width)), x, x, partial, m, c, rows, width)
    width = min(c, JOIN_CHANNELS)
    launch("batch_join_statistics", (-(-c // width),), x, partial, mean, var, blocks, m, c, rows, width)
    return mean, var


def batch_norm_moments(
    mean: Array, var: Array, running_mean: Array, running_var: Array, momentum: float, unbias: float, eps: float
) -> tuple[Array, Array]:
    """See reference.batch_norm_moments."""
    if not (running_mean.flags.c_contiguous and running_var.flags.c_contiguous):
        return reference.batch_norm_moments(mean, var, running_mean, running_var, momentum, unbias, eps)
    mean, var = contiguous(mean, mean, var)
    c, dtype, xp = mean.size, running_mean.dtype, array_module(mean)
    batch_mean, inv_std = xp.empty(c, dtype), xp.empty(c, dtype)
    arrays = mean, var, running_mean, running_var, batch_mean, inv_std
    launch_each("batch_norm_moments", c, running_mean, *arrays, *map(float, (momentum, unbias, eps)))
    return batch_mean, inv_std


def batch_norm(x: Array, mean: Array, inv_std: Array, gamma: Array, beta: Array) -> Array:
    """See reference.batch_norm."""
    x, *vectors = contiguous(x, x, mean, inv_std, gamma, beta)
    y = array_module(x).empty(x.shape, x.dtype)
    launch_each("batch_norm", x.size, x, x, *vectors, y, x.shape[-1])
    return y


def batch_norm_sums(dy: Array, x: Array, mean: Array, inv_std: Array) -> tuple[Array, Array]:
    """See reference.batch_norm_sums: one pass over dy and x, two launches."""
    dy, x, mean, inv_std = contiguous(x, dy, x, mean, inv_std)
    xp = array_module(x)
    m, c, rows, blocks, width = _by_rows(x)
    partial = xp.empty((2, blocks, c), xp.float64)
    dgamma, dbeta = xp.empty(c, x.dtype), xp.empty(c, x.dtype)
    grid = (blocks, -(-c // width))
    launch("batch_norm_partial_sums", grid, x, dy, x, mean, inv_std, partial, m, c, rows, width)
    width = min(c, JOIN_CHANNELS)
    launch("batch_norm_join_sums", (-(-c // width),), x, partial, dgamma, dbeta, blocks, c, width)
    return dgamma, dbeta


def batch_norm_dx(
    dy: Array, x: Array, mean: Array, inv_std: Array, gamma: Array, dgamma: Array, dbeta: Array
) -> Array:
    """See reference.batch_norm_dx."""
    dy, x, *vectors = contiguous(x, dy, x, mean, inv_std, gamma, dgamma, dbeta)
    dx = array_module(x).empty(x.shape, x.dtype)
    c = x.shape[-1]
    launch_each("batch_norm_dx", x.size, x, dy, x, *vectors, dx, c, c / x.size)
    return dx


def relu(x: Array) -> tuple[Array, Array]:
    """See reference.relu."""
    (x,) = contiguous(x, x)
    xp = array_module(x)
    y, mask = xp.empty(x.shape, x.dtype), xp.empty(x.shape, bool)
    launch_each("relu", x.size, x, x, y, mask)
    return y, mask


def relu_dx(dy: Array, mask: Array) -> Array:
    """See reference.relu_dx."""
    (dy,) = contiguous(dy, dy)
    xp = array_module(dy)
    dx = xp.empty(dy.shape, dy.dtype)
    launch_each("relu_dx", dy.size, dy, dy, xp.ascontiguousarray(mask), dx)
    return dx


def leaky_relu(x: Array, slope: float) -> tuple[Array, Array]:
    """See reference.leaky_relu."""
    (x,) = contiguous(x, x)
    xp = array_module(x)
    y, mask = xp.empty(x.shape, x.dtype), xp.empty(x.shape, bool)
    launch_each("leaky_relu", x.size, x, x, y, mask, float(slope))
    return y, mask


def leaky_relu_dx(dy: Array, mask: Array, slope: float) -> Array:
    """See reference.leaky_relu_dx."""
    (dy,) = contiguous(dy, dy)
    xp = array_module(dy)
    dx = xp.empty(dy.shape, dy.dtype)
    launch_each("leaky_relu_dx", dy.size, dy, dy, xp.ascontiguousarray(mask), dx, float(slope))
    return dx


def silu(x: Array) -> Array:
    """See reference.silu."""
    return _each("silu", x)


def silu_dx(dy: Array, x: Array) -> Array:
    """See reference.silu_dx."""
    return _each("silu_dx", dy, x)


def sigmoid(x: Array) -> Array:
    """See reference.sigmoid."""
    return _each("sigmoid", x)


def sigmoid_dx(dy: Array, y: Array) -> Array:
    """See reference.sigmoid_dx."""
    return _each("sigmoid_dx", dy, y)


def tanh(x: Array) -> Array:
    """See reference.tanh."""
    return _each("tanh_forward", x)


def tanh_dx(dy: Array, y: Array) -> Array:
    """See reference.tanh_dx."""
    return _each("tanh_dx", dy, y)


def _each(name: str, *arrays: Array) -> Array:
    """A new array of the first one's shape; the kernel computes every element from those of `arrays`."""
    arrays = contiguous(arrays[0], *arrays)
    out = array_module(arrays[0]).empty(arrays[0].shape, arrays[0].dtype)
    launch_each(name, out.size, out, *arrays, out)
    return out


# --------------------------------------------------------------------- loss


def softmax_cross_entropy(logits: Array, labels: Array, smoothing: float) -> tuple[Array, Array]:
    """See reference.softmax_cross_entropy: one block of threads per row, then a sum over the rows."""
    (logits,) = contiguous(logits, logits)
    xp = array_module(logits)
    labels = xp.ascontiguousarray(labels, dtype=xp.int64)
    n, k = logits.shape
    losses, dlogits = xp.empty(n, logits.dtype), xp.empty(logits.shape, logits.dtype)
    launch("softmax_cross_entropy", (n,), logits, logits, labels, losses, dlogits, k, float(smoothing))
    return losses.sum(), dlogits


# ---------------------------------------------------------------- optimizer


def adam(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    step: float,
    betas: tuple[float, float],
    root: float,
    eps: float,
    decay: float,
) -> None:
    """See reference.adam: one pass over memory."""
    if not all(a.flags.c_contiguous for a in (w, m, v)):  # the kernel would write to a copy
        return reference.adam(w, g, m, v, step, betas, root, eps, decay)
    b1, b2 = betas
    (g,) = contiguous(w, g)
    launch_each("adam", w.size, w, g, w, m, v, *map(float, (step, b1, 1 - b1, b2, 1 - b2, root, eps, decay)))
