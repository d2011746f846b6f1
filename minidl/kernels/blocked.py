"""The kernels of plain layers on a CPU: the reference's mathematics, in blocks that fit the processor's cache.

A 62 x 62 x 128 map of 64 images takes 126 MB. A NumPy call over all of it reads it from memory and writes it back,
and its patches for a 3x3 convolution would be nine times as large. So each kernel here divides its work into blocks
(some images, or some rows) and does all its steps on one block before it starts the next. The patches of a block
take at most PATCH_BYTES, and each operand of an element-wise step ELEMENT_BYTES. Signatures and results are those
of the reference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from minidl.errors import ShapeError
from minidl.kernels import max_pooling, reference
from minidl.kernels.general.window import square
from minidl.kernels.shapes import window_positions

Array = np.ndarray
Shape = tuple[int, ...]

MANY_FILTERS = 16  # for each channel, or more: dx is faster by col2im (`conv2d_dx`)
PATCH_BYTES = 8 << 20  # the largest im2col block (one image at least)
POOL_BYTES = 2 << 20  # of a pool's input (one image at least)
ELEMENT_BYTES = 128 << 10  # of one operand of an element-wise block
INNER_LENGTH = 512  # numbers in a row of an element-wise block: the length of NumPy's innermost loop


# -------------------------------------------------------------- convolution


def _pointwise(kernel: tuple[int, int], stride: int, padding: int) -> bool:
    """Whether this is a 1x1 convolution. Its patches are the pixels themselves, so it needs no im2col."""
    return kernel == (1, 1) and stride == 1 and padding == 0


def _image_blocks(images: int, bytes_each: int, most_bytes: int) -> Iterator[slice]:
    """Slices of nearly equal size, each of at most `most_bytes` (but at least one image)."""
    most = max(1, most_bytes // bytes_each)
    blocks = -(-images // most)
    bounds = [images * i // blocks for i in range(blocks + 1)]
    return (slice(a, b) for a, b in zip(bounds, bounds[1:], strict=False))


def _patches(x: Array, kernel: tuple[int, int], stride: int, padding: int) -> Iterator[tuple[slice, Array]]:
    """The patches, block by block: yields (slice of images, patches (block OH OW, KH KW C)).

    In memory one row of a patch, KW pixels of C channels, is a run of KW C numbers. It starts s C numbers after the
    run of the patch to its left. So a sliding window over the axis W C is a view of all runs, and KH calls copy them
    into the patches. The buffer is used again for the next block, so a block is valid only until then.
    """
    n, h, w, c = x.shape
    kh, kw = kernel
    if _pointwise(kernel, stride, padding):
        yield slice(0, n), x.reshape(-1, c)  # (N, H, W, C) -> (N H W, C)
        return
    oh, ow = (window_positions(size, k, stride, padding) for size, k in ((h, kh), (w, kw)))
    blocks = list(_image_blocks(n, oh * ow * kh * kw * c * x.itemsize, PATCH_BYTES))
    most = max(block.stop - block.start for block in blocks)
    padded = np.zeros((most, h + 2 * padding, w + 2 * padding, c), x.dtype)  # its border stays zero
    lines = padded.reshape(most, h + 2 * padding, -1)  # (N, H, W, C) -> (N, H, W C)
    runs = sliding_window_view(lines, kw * c, axis=2)[:, :, :: stride * c]  # (N, H, OW, KW C)
    buffer = np.empty((most, oh, ow, kh, kw * c), x.dtype)
    for block in blocks:
        images = block.stop - block.start
        padded[:images, padding : padding + h, padding : padding + w] = x[block]
        for i in range(kh):
            buffer[:images, :, :, i] = runs[:images, i : i + stride * oh : stride, :ow]
        yield block, buffer[:images].reshape(images * oh * ow, -1)  # (N, OH, OW, KH, KW C) -> (P, K)


def conv2d(x: Array, w: Array, stride: int, padding: int) -> Array:
    """See reference.conv2d: y = patches @ w, for one block of images at a time."""
    kh, kw, _, f = w.shape
    oh, ow = (window_positions(size, k, stride, padding) for size, k in zip(x.shape[1:3], (kh, kw), strict=True))
    y = np.empty((len(x), oh, ow, f), x.dtype)
    for block, patches in _patches(x, (kh, kw), stride, padding):
        np.matmul(patches, w.reshape(-1, f), out=y[block].reshape(-1, f))  # (P, K) @ (K, F)
    return y


def conv2d_dw(x: Array, dy: Array, w_shape: Shape, stride: int, padding: int) -> Array:
    """See reference.conv2d_dw: dw = sum over blocks of patches.T @ dy."""
    kh, kw, _, f = w_shape
    dw = np.zeros((math.prod(w_shape[:3]), f), x.dtype)
    for block, patches in _patches(x, (kh, kw), stride, padding):
        dw += patches.T @ dy[block].reshape(-1, f)  # (K, P) @ (P, F)
    return dw.reshape(w_shape)  # (K, F) -> (KH, KW, C, F)


def conv2d_dx(dy: Array, w: Array, x_shape: Shape, stride: int, padding: int) -> Array:
    """See reference.conv2d_dx. With stride 1 this is itself a convolution: of dy, with the filters turned round.

    If s = 1, the pixel (i, j) has offset (kh, kw) in the window oh = i + p - kh, ow = j + p - kw. With the new
    indices a = KH - 1 - kh and b = KW - 1 - kw, and the padding q = K - 1 - p of a square filter,
        dx[i,j,c] = sum over a,b,f of  dy[i + a - q, j + b - q, f]  w[KH - 1 - a, KW - 1 - b, c, f]
    This is the formula of `conv2d` with padding q and filters that are turned by 180 degrees, C and F exchanged.
    It copies K^2 F numbers of dy for each pixel, where col2im would add K^2 C numbers of dpatches. Adding is slower
    than copying. So col2im is used, in blocks of images, only if its numbers are far fewer (C = 3 for an image),
    for other strides, and for windows that are not square.
    """
    kh, kw, c, f = w.shape
    if stride == 1 and kh == kw and padding < kh and f < MANY_FILTERS * c:
        turned = np.ascontiguousarray(w[::-1, ::-1].swapaxes(2, 3))  # (KH, KW, F, C)
        return conv2d(dy, turned, 1, kh - 1 - padding)
    dx = np.empty(x_shape, dy.dtype)
    _, oh, ow, _ = dy.shape
    for block in _image_blocks(len(dy), oh * ow * math.prod(w.shape[:3]) * dy.itemsize, PATCH_BYTES):
        shape = (block.stop - block.start, *x_shape[1:])
        dx[block] = reference.conv2d_dx(dy[block], w, shape, stride, padding)
    return dx


# ------------------------------------------------------------------ pooling


def max_pool(x: Array, kernel: int, stride: int, padding: int) -> tuple[Array, Array]:
    """See reference.max_pool, and max_pooling.py: some images at a time."""
    n, h, w, c = x.shape
    oh, ow = (window_positions(size, kernel, stride, padding) for size in (h, w))
    y, index = np.empty((n, oh, ow, c), x.dtype), np.empty((n, oh, ow, c), np.uint8)
    for block in _image_blocks(n, x[0].nbytes, POOL_BYTES):
        max_pooling.max_pool(x[block], y[block], index[block], square(kernel, stride, padding), _fresh)
    return y, index


def max_pool_dx(
    dy: Array, index: Array, x_shape: Shape, kernel: int, stride: int, padding: int, overlap: str = "sum"
) -> Array:
    """See reference.max_pool_dx, and max_pooling.py: the sum, some images at a time. The reference does the rest."""
    if overlap != "sum":
        return reference.max_pool_dx(dy, index, x_shape, kernel, stride, padding, overlap)
    dx = np.empty(x_shape, dy.dtype)
    for block in _image_blocks(len(dx), dx[0].nbytes, POOL_BYTES):
        max_pooling.max_pool_dx(dy[block], index[block], dx[block], square(kernel, stride, padding), _fresh)
    return dx


def _fresh(name: str, shape: Shape, dtype: np.dtype | type) -> Array:
    return np.empty(shape, dtype)


def avg_pool(x: Array, kernel: int, stride: int, padding: int) -> Array:
    """See reference.avg_pool. First sums along W, then sums of these along H: 2 K terms instead of K^2."""
    n, h, w, c = x.shape
    oh, ow = (window_positions(size, kernel, stride, padding) for size in (h, w))
    y = np.empty((n, oh, ow, c), x.dtype)
    padded = np.zeros((h + 2 * padding, w + 2 * padding, c), x.dtype)
    for i in range(n):
        padded[padding : padding + h, padding : padding + w] = x[i]
        lines = sum(padded[:, k : k + stride * ow : stride] for k in range(kernel))
        total = sum(lines[k : k + stride * oh : stride] for k in range(kernel))
        np.multiply(total, 1 / kernel**2, out=y[i])
    return y


def avg_pool_dx(dy: Array, x_shape: Shape, kernel: int, stride: int, padding: int) -> Array:
    """See reference.avg_pool_dx: the transposes of avg_pool's two sums, in reverse order."""
    n, h, w, c = x_shape
    _, oh, ow, _ = dy.shape
    dx = np.empty(x_shape, dy.dtype)
    dlines = np.empty((h + 2 * padding, ow, c), dy.dtype)
    dpadded = np.empty((h + 2 * padding, w + 2 * padding, c), dy.dtype)
    for i in range(n):
        share = dy[i] * (1 / kernel**2)
        dlines[...] = 0
        dpadded[...] = 0
        for k in range(kernel):
            dlines[k : k + stride * oh : stride] += share
        for k in range(kernel):
            dpadded[:, k : k + stride * ow : stride] += dlines
        dx[i] = dpadded[padding : padding + h, padding : padding + w]
    return dx


# ------------------------------------------- batch normalization, activation


def _wide(arrays: list[Array], vectors: tuple[Array, ...] = ()) -> Iterator[list[Array]]:
    """Yields blocks that fit the cache: views of all `arrays` (..., C) with long rows, then the `vectors` (C,).

    NumPy's innermost loop runs along the last axis, and C may be as small as 8. So k pixels form one row of k C
    numbers, and each vector over channels is repeated k times. The pixels left over form a last block with k = 1.
    """
    if len(shapes := {a.shape for a in arrays}) > 1:
        raise ShapeError(
            f"arrays of the shapes {' and '.join(map(str, sorted(shapes)))}: dy must have the shape of y"
        )
    c = arrays[0].shape[-1]
    flat = [a.reshape(-1, c) for a in arrays]  # (..., C) -> (rows, C)
    rows = len(flat[0])
    k = max(1, INNER_LENGTH // c)
    step = k * max(1, ELEMENT_BYTES // (k * c * arrays[0].itemsize))
    whole = rows - rows % k
    spans = [(lo, min(lo + step, whole), k) for lo in range(0, whole, step)]
    if whole < rows:
        spans.append((whole, rows, 1))
    tiled = {k: [np.tile(v, k) for v in vectors], 1: list(vectors)}
    for lo, hi, k in spans:
        yield [a[lo:hi].reshape(-1, k * c) for a in flat] + tiled[k]  # (rows, C) -> (rows / k, k C)


def _channel_sum(block: Array, channels: int) -> Array:
    """The sum of a block of `_wide` over its pixels, (C,) float64. `ones @ block` sums up columns by BLAS."""
    row = np.ones(len(block), block.dtype) @ block
    return row.reshape(-1, channels).sum(axis=0, dtype=np.float64)  # (k C,) -> (k, C) -> (C,)


def _channel_dot(a: Array, b: Array, channels: int) -> Array:
    """The sum of a * b over the pixels of two blocks of `_wide`, (C,) float64, without storing the product."""
    row = np.einsum("rc,rc->c", a, b)
    return row.reshape(-1, channels).sum(axis=0, dtype=np.float64)  # (k C,) -> (k, C) -> (C,)


def batch_statistics(x: Array) -> tuple[Array, Array]:
    """See reference.batch_statistics: one pass over memory; Chan's formula merges the statistics of the blocks.

    A block of n_b pixels has mean m_b and sum of squared deviations S_b = sum (x - m_b)^2. No digits are lost,
    because the mean is subtracted before squaring. The block joins n earlier pixels with mean m and deviations S;
    with D = m_b - m,
        m <- m + D n_b / (n + n_b),    S <- S + S_b + D^2 n n_b / (n + n_b).
    Source: Chan, Golub & LeVeque, Algorithms for computing the sample variance, 1983, section 2.
    """
    c = x.shape[-1]
    n, mean, squares = 0, np.zeros(c), np.zeros(c)
    for (block,) in _wide([x]):
        n_b = block.size // c
        rough = (_channel_sum(block, c) / n_b).astype(x.dtype)  # rounded to x's dtype; `rest` corrects it
        deviation = block - np.tile(rough, block.shape[1] // c)
        rest = _channel_sum(deviation, c) / n_b
        squares_b = _channel_dot(deviation, deviation, c) - n_b * rest**2
        d = rough + rest - mean
        mean += d * (n_b / (n + n_b))
        squares += squares_b + d**2 * (n * n_b / (n + n_b))
        n += n_b
    return mean, squares / n


def batch_norm_moments(
    mean: Array, var: Array, running_mean: Array, running_var: Array, momentum: float, unbias: float, eps: float
) -> tuple[Array, Array]:
    """See reference.batch_norm_moments: so few numbers need no blocks."""
    return reference.batch_norm_moments(mean, var, running_mean, running_var, momentum, unbias, eps)


def batch_norm(x: Array, mean: Array, inv_std: Array, gamma: Array, beta: Array) -> Array:
    """See reference.batch_norm."""
    y = np.empty(x.shape, x.dtype)
    for xb, yb, m, scale, shift in _wide([x, y], (mean, gamma * inv_std, beta)):
        np.subtract(xb, m, out=yb)
        yb *= scale
        yb += shift
    return y


def batch_norm_sums(dy: Array, x: Array, mean: Array, inv_std: Array) -> tuple[Array, Array]:
    """See reference.batch_norm_sums: dgamma = inv_std sum dy (x - mean), since inv_std is constant in the sum."""
    c = x.shape[-1]
    dot, dbeta = np.zeros(c), np.zeros(c)
    for dyb, xb, m in _wide([dy, x], (mean,)):
        dot += _channel_dot(dyb, xb - m, c)
        dbeta += _channel_sum(dyb, c)
    return (inv_std * dot).astype(x.dtype), dbeta.astype(x.dtype)


def batch_norm_dx(
    dy: Array, x: Array, mean: Array, inv_std: Array, gamma: Array, dgamma: Array, dbeta: Array
) -> Array:
    """See reference.batch_norm_dx.

    The order of the operations is dx = ((x - mean) slope - dbeta/M + dy) gamma inv_std, where slope is one number
    per channel: -inv_std dgamma / M.
    """
    per_pixel = x.shape[-1] / x.size  # 1/M
    dx = np.empty(x.shape, x.dtype)
    vectors = (mean, -inv_std * dgamma * per_pixel, dbeta * per_pixel, gamma * inv_std)
    for dyb, xb, dxb, m, slope, offset, scale in _wide([dy, x, dx], vectors):
        np.subtract(xb, m, out=dxb)
        dxb *= slope
        dxb -= offset
        dxb += dyb
        dxb *= scale
    return dx


def relu(x: Array) -> tuple[Array, Array]:
    """See reference.relu. The zeros are a vector, because NumPy's maximum with a scalar is up to 3 times slower."""
    y, mask = np.empty(x.shape, x.dtype), np.empty(x.shape, bool)
    for xb, yb, mb, zero in _wide([x, y, mask], (np.zeros(x.shape[-1], x.dtype),)):
        np.greater(xb, zero, out=mb)
        np.maximum(xb, zero, out=yb)
    return y, mask


def relu_dx(dy: Array, mask: Array) -> Array:
    """See reference.relu_dx. Multiplying by the bool mask is several times faster than np.where."""
    dx = np.empty(dy.shape, dy.dtype)
    return np.multiply(dy, mask, out=dx)


def leaky_relu(x: Array, slope: float) -> tuple[Array, Array]:
    """See reference.leaky_relu. y = max(x, 0) + slope min(x, 0): one of the two terms is 0."""
    y, mask, zeros = np.empty(x.shape, x.dtype), np.empty(x.shape, bool), np.zeros(x.shape[-1], x.dtype)
    for xb, yb, mb, zero in _wide([x, y, mask], (zeros,)):
        np.greater(xb, zero, out=mb)
        low = np.minimum(xb, zero)
        low *= slope
        np.maximum(xb, zero, out=yb)
        yb += low
    return y, mask


def leaky_relu_dx(dy: Array, mask: Array, slope: float) -> Array:
    """See reference.leaky_relu_dx. `take` looks the factor of an element up, several times faster than np.where."""
    dx, factors = np.empty(dy.shape, dy.dtype), np.array([slope, 1], dy.dtype)
    for dyb, mb, dxb in _wide([dy, mask, dx]):
        np.take(factors, mb.view(np.uint8), out=dxb, mode="clip")
        dxb *= dyb
    return dx


def silu(x: Array) -> Array:
    """See reference.silu."""
    y = np.empty(x.shape, x.dtype)
    for xb, yb in _wide([x, y]):
        np.multiply(xb, _sigmoid(xb), out=yb)
    return y


def silu_dx(dy: Array, x: Array) -> Array:
    """See reference.silu_dx."""
    dx = np.empty(dy.shape, dy.dtype)
    for dyb, xb, dxb in _wide([dy, x, dx]):
        s = _sigmoid(xb)
        np.subtract(1, s, out=dxb)
        dxb *= xb
        dxb += 1
        dxb *= s
        dxb *= dyb
    return dx


def _sigmoid(block: Array) -> Array:
    """1 / (1 + exp(-x)). Where exp(-x) is too large for a number, that is 1 / inf = 0."""
    s = np.negative(block)
    with np.errstate(over="ignore"):
        np.exp(s, out=s)
    s += 1
    return np.divide(1, s, out=s)


def sigmoid(x: Array) -> Array:
    """See reference.sigmoid."""
    y = np.empty(x.shape, x.dtype)
    for xb, yb in _wide([x, y]):
        yb[...] = _sigmoid(xb)
    return y


def sigmoid_dx(dy: Array, y: Array) -> Array:
    """See reference.sigmoid_dx."""
    dx = np.empty(dy.shape, dy.dtype)
    for dyb, yb, dxb in _wide([dy, y, dx]):
        np.subtract(1, yb, out=dxb)
        dxb *= yb
        dxb *= dyb
    return dx


def tanh(x: Array) -> Array:
    """See reference.tanh: one pass over memory."""
    return np.tanh(x)


def tanh_dx(dy: Array, y: Array) -> Array:
    """See reference.tanh_dx."""
    dx = np.empty(dy.shape, dy.dtype)
    for dyb, yb, dxb in _wide([dy, y, dx]):
        np.multiply(yb, yb, out=dxb)
        np.subtract(1, dxb, out=dxb)
        dxb *= dyb
    return dx


# --------------------------------------------------------------------- loss


def softmax_cross_entropy(logits: Array, labels: Array, smoothing: float) -> tuple[Array, Array]:
    """See reference.softmax_cross_entropy: (N, K) is so small that it needs no blocks."""
    return reference.softmax_cross_entropy(logits, labels, smoothing)


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
    """See reference.adam. All its steps are done on one block at a time, so intermediate values stay in the cache."""
    b1, b2 = betas
    for wb, gb, mb, vb in _flat_blocks(w, g, m, v):
        move = np.empty_like(wb)
        if decay:
            gb = gb + np.multiply(wb, decay, out=move)
        mb *= b1
        mb += np.multiply(gb, 1 - b1, out=move)
        vb *= b2
        np.multiply(gb, gb, out=move)
        move *= 1 - b2
        vb += move
        np.sqrt(vb, out=move)
        move += eps * root
        np.divide(mb, move, out=move)
        move *= step * root  # m / (sqrt(v) / root + eps) = root m / (sqrt(v) + eps root)
        wb -= move


def _flat_blocks(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Yields views of at most ELEMENT_BYTES of each array; arrays that aren't contiguous come whole."""
    size, length = arrays[0].size, max(1, ELEMENT_BYTES // arrays[0].itemsize)
    if size <= length or not all(a.flags.c_contiguous for a in arrays):
        yield arrays
        return
    flat = [a.reshape(-1) for a in arrays]  # any shape -> (size,)
    for start in range(0, size, length):
        yield tuple(a[start : start + length] for a in flat)
