"""The kernels of plain layers on a CPU for windows of every kind: the reference's mathematics, in blocks.

A convolution copies patches of at most PATCH_BYTES at a time: of some images, or of some channels of one image. With
32 groups of 4 channels a product per group would have 4 columns, which is slow. So neighbouring groups share one
product, JOINED channels wide, whose matrix has zeros where a filter does not see a channel:

    groups of 2 channels and 1 filter:    w0  0        x0 x1 | x2 x3   @   this   =   y0 | y1
                                          w1  0
                                           0 w2
                                           0 w3

The zeros cost multiplications, and far less time than narrow products. Signatures and results are those of the
reference.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from minidl.kernels import max_pooling
from minidl.kernels.general import reference
from minidl.kernels.general.window import Pair, Shape, Window

Array = np.ndarray

JOINED = 16  # channels that share a product, if their groups have fewer
PATCH_BYTES = 2 << 20  # of a block of patches (one image's patches for one product at least)
POOL_BYTES = 2 << 20  # of a pool's input (one image at least)


# -------------------------------------------------------------- convolution


def _joined(groups: int, channels: int) -> int:
    """How many groups of this many channels share a product."""
    return next(n for n in range(max(1, JOINED // channels), 0, -1) if groups % n == 0)


def _finite(x: Array) -> bool:
    """Whether x has finite values only. Of others 0 * x is NaN, and would reach filters that don't see them."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(x.sum()))


def _wide_filters(w: Array, groups: int, join: int) -> Array:
    """w (KH, KW, C/G, F) as the matrices of the shared products: (G/join, KH KW join C/G, join F/G), mostly zeros."""
    kh, kw, c, f = w.shape
    wide = np.zeros((groups // join, kh * kw, join, c, join, f // groups), w.dtype)
    parts = w.reshape(kh * kw, c, groups // join, join, -1)
    for i in range(join):
        wide[:, :, i, :, i] = np.moveaxis(parts[:, :, :, i], 2, 0)
    return wide.reshape(groups // join, kh * kw * join * c, -1)


def _narrow_gradients(wide: Array, w_shape: Shape, groups: int, join: int) -> Array:
    """The transpose of `_wide_filters`: dw (KH, KW, C/G, F) without the numbers at its zeros."""
    kh, kw, c, f = w_shape
    wide = wide.reshape(groups // join, kh * kw, join, c, join, f // groups)
    return np.einsum("gkicif->kcgif", wide).reshape(w_shape)  # the diagonal of the two axes of joined groups


def _blocks(images: int, parts: int, bytes_each: int) -> Iterator[tuple[slice, slice]]:
    """(images, parts of their channels) whose patches take at most PATCH_BYTES, or one image's of one part."""
    most = max(1, PATCH_BYTES // bytes_each)
    of_images, of_parts = max(1, most // parts), min(most, parts)
    for i in range(0, images, of_images):
        for j in range(0, parts, of_parts):
            yield slice(i, min(i + of_images, images)), slice(j, min(j + of_parts, parts))


def _patches(x: Array, window: Window, parts: int, spread: Pair = (1, 1)) -> Iterator[tuple[slice, slice, Array]]:
    """Yields (images, parts, patches (parts, images OH OW, KH KW C / parts)), block by block.

    `parts` cut the channels into equal runs. `spread` puts the pixels of x that far apart, with zeros between them. A
    negative padding cuts lines off. The buffer is used again for the next block.
    """
    n, _, _, c = x.shape
    size = [s * (k - 1) + 1 + sum(p) for s, k, p in zip(spread, x.shape[1:3], window.padding, strict=True)]
    oh, ow = ((s - span) // stride + 1 for s, span, stride in zip(size, window.span, window.stride, strict=True))
    (kh, kw), (sh, sw), (dh, dw), width = window.kernel, window.stride, window.dilation, c // parts
    blocks = list(_blocks(n, parts, oh * ow * kh * kw * width * x.itemsize))
    images, channels = blocks[0][0].stop, blocks[0][1].stop
    padded = np.zeros((channels, images, *size, width), x.dtype)  # its border stays zero
    views = sliding_window_view(padded, window.span, axis=(2, 3))[:, :, ::sh, ::sw, :, ::dh, ::dw]
    views = np.moveaxis(views, 4, 6)  # (parts, N, OH, OW, C/parts, KH, KW) -> (parts, N, OH, OW, KH, KW, C/parts)
    buffer = np.empty((channels, images, oh, ow, kh, kw, width), x.dtype)
    by_parts = np.moveaxis(x.reshape(*x.shape[:3], parts, width), 3, 0)  # (N, H, W, C) -> (parts, N, H, W, C/parts)
    axes = zip(x.shape[1:3], size, window.padding, spread, strict=True)
    (rows, to_rows), (columns, to_columns) = (_inside(k, s, p[0], step) for k, s, p, step in axes)
    for some, part in blocks:
        i, j = some.stop - some.start, part.stop - part.start
        padded[:j, :i, to_rows, to_columns] = by_parts[part, some, rows, columns]
        buffer[:j, :i] = views[:j, :i]
        yield some, part, buffer[:j, :i].reshape(j, i * oh * ow, -1)  # -> (parts, P, K)


def _inside(count: int, size: int, before: int, step: int) -> tuple[slice, slice]:
    """Pixel i goes to place  before + step i  of `size`: the pixels that have a place, and these places."""
    first = max(0, -(before // step))
    end = max(first, min(count, (size - 1 - before) // step + 1))
    return slice(first, end), slice(before + step * first, max(0, before + step * (end - 1) + 1), step)


def _by_parts(a: Array, parts: int) -> Array:
    """(N, H, W, F) as (parts, N H W, F / parts): a view, if `a` is contiguous."""
    return np.moveaxis(a.reshape(-1, parts, a.shape[3] // parts), 1, 0)


def _convolution(x: Array, wide: Array, window: Window, out: Shape, spread: Pair = (1, 1)) -> Array:
    """y (N, OH, OW, F) = patches @ wide, block by block."""
    y = np.empty(out, x.dtype)
    y_parts, pixels = _by_parts(y, len(wide)), out[1] * out[2]
    for some, part, patches in _patches(x, window, len(wide), spread):
        block = y_parts[part, some.start * pixels : some.stop * pixels]
        np.matmul(patches, wide[part], out=block)  # (parts, P, K) @ (parts, K, F / parts)
    return y


def conv2d(x: Array, w: Array, window: Window) -> Array:
    """See reference.conv2d."""
    groups = x.shape[3] // w.shape[2]
    wide = _wide_filters(w, groups, _joined(groups, w.shape[2]) if _finite(x) else 1)
    return _convolution(x, wide, window, (len(x), *window.positions(x.shape), w.shape[3]))


def conv2d_dw(x: Array, dy: Array, w_shape: Shape, window: Window) -> Array:
    """See reference.conv2d_dw: dw = sum over blocks of patches.T @ dy. Some numbers of a shared product are left."""
    groups = x.shape[3] // w_shape[2]
    join = _joined(groups, w_shape[2])
    parts = groups // join
    dy_parts, pixels = _by_parts(dy, parts), dy.shape[1] * dy.shape[2]
    wide = np.zeros((parts, w_shape[0] * w_shape[1] * w_shape[2] * join, w_shape[3] // parts), x.dtype)
    for some, part, patches in _patches(x, window, parts):
        block = dy_parts[part, some.start * pixels : some.stop * pixels]
        wide[part] += patches.swapaxes(1, 2) @ block  # (parts, K, P) @ (parts, P, F / parts)
    return _narrow_gradients(wide, w_shape, groups, join)


def conv2d_dx(dy: Array, w: Array, x_shape: Shape, window: Window) -> Array:
    """See reference.conv2d_dx: a convolution of dy with the filters turned round, as in minidl/kernels/blocked.py.

    With stride s the pixels of dy are spread: s - 1 lines of zeros between two. Pixel (oh, ow) of dy then lies at
    s oh, and it belongs to x's pixel i = s oh + d kh - p. With a = KH - 1 - kh that is s oh = i + d a - q, where
    q = d (KH - 1) - p is the padding before. What comes after makes room for all H windows.
    """
    kh, kw, c, f = w.shape
    groups = x_shape[3] // c
    turned = w[::-1, ::-1].reshape(kh, kw, c, groups, f // groups)
    turned = np.ascontiguousarray(turned.transpose(0, 1, 4, 3, 2)).reshape(kh, kw, f // groups, -1)  # (..., F/G, C)
    padding = []
    axes = zip(x_shape[1:3], dy.shape[1:3], window.span, window.stride, window.padding, strict=True)
    for size, out, span, stride, (before, _) in axes:
        ahead = span - 1 - before
        padding.append((ahead, size + span - 1 - ahead - (stride * (out - 1) + 1)))
    back = Window(window.kernel, (1, 1), tuple(padding), window.dilation)
    wide = _wide_filters(turned, groups, _joined(groups, f // groups) if _finite(dy) else 1)
    return _convolution(dy, wide, back, x_shape, spread=window.stride)


# ------------------------------------------------------------------ pooling


def _image_blocks(x_shape: Shape, itemsize: int) -> Iterator[slice]:
    """Slices of images of at most POOL_BYTES, at least one image each."""
    n, h, w, c = x_shape
    most = max(1, POOL_BYTES // (h * w * c * itemsize))
    return (slice(start, start + most) for start in range(0, n, most))


def max_pool(x: Array, window: Window) -> tuple[Array, Array]:
    """See reference.max_pool, and minidl/kernels/max_pooling.py: some images at a time."""
    shape = (len(x), *window.positions(x.shape), x.shape[3])
    y, index = np.empty(shape, x.dtype), np.empty(shape, np.uint8)
    for block in _image_blocks(x.shape, x.itemsize):
        max_pooling.max_pool(x[block], y[block], index[block], window, _fresh)
    return y, index


def max_pool_dx(dy: Array, index: Array, x_shape: Shape, window: Window, overlap: str = "sum") -> Array:
    """See reference.max_pool_dx, and max_pooling.py: the sum, some images at a time. The reference does the rest."""
    if overlap != "sum":
        return reference.max_pool_dx(dy, index, x_shape, window, overlap)
    dx = np.empty(x_shape, dy.dtype)
    for block in _image_blocks(x_shape, dx.itemsize):
        max_pooling.max_pool_dx(dy[block], index[block], dx[block], window, _fresh)
    return dx


def _fresh(name: str, shape: Shape, dtype: np.dtype | type) -> Array:
    return np.empty(shape, dtype)


def avg_pool(x: Array, window: Window, counted: Pair) -> Array:
    """See reference.avg_pool. First sums along W, then sums of these along H: KW + KH terms instead of KH KW."""
    n, _, _, c = x.shape
    (kh, kw), (sh, sw), (oh, ow) = window.kernel, window.stride, window.positions(x.shape)
    share = reference.shares(x, x.shape, window, counted)
    y = np.empty((n, oh, ow, c), x.dtype)
    for i in range(n):
        padded = reference.pad(x[i : i + 1], window)[0]
        lines = sum(padded[:, k : k + sw * ow : sw] for k in range(kw))
        total = sum(lines[k : k + sh * oh : sh] for k in range(kh))
        np.multiply(total, share, out=y[i])
    return y


def avg_pool_dx(dy: Array, x_shape: Shape, window: Window, counted: Pair) -> Array:
    """See reference.avg_pool_dx: the transposes of avg_pool's two sums, in reverse order."""
    (kh, kw), (sh, sw), (oh, ow) = window.kernel, window.stride, dy.shape[1:3]
    share = reference.shares(dy, x_shape, window, counted)
    dx = np.empty(x_shape, dy.dtype)
    for i in range(len(dy)):
        part = dy[i] * share
        dpadded = reference.padded_zeros(dy, (1, *x_shape[1:]), window)
        dlines = np.zeros((dpadded.shape[1], ow, x_shape[3]), dy.dtype)
        for k in range(kh):
            dlines[k : k + sh * oh : sh] += part
        for k in range(kw):
            dpadded[0, :, k : k + sw * ow : sw] += dlines
        dx[i] = reference.unpad(dpadded, window)[0]
    return dx


def adaptive_avg_pool(x: Array, size: Pair) -> Array:
    """See reference.adaptive_avg_pool. First means of rows, then means of these along W."""
    lines = np.empty((len(x), size[0], *x.shape[2:]), x.dtype)
    y = np.empty((len(x), *size, x.shape[3]), x.dtype)
    for i, rows in enumerate(reference.bins(x.shape[1], size[0])):
        x[:, rows].mean(axis=1, out=lines[:, i])
    for j, columns in enumerate(reference.bins(x.shape[2], size[1])):
        lines[:, :, columns].mean(axis=2, out=y[:, :, j])
    return y


def adaptive_avg_pool_dx(dy: Array, x_shape: Shape) -> Array:
    """See reference.adaptive_avg_pool_dx: the transposes of the two means, in reverse order."""
    n, h, w, c = x_shape
    dlines = np.zeros((n, dy.shape[1], w, c), dy.dtype)
    dx = np.zeros(x_shape, dy.dtype)
    for j, columns in enumerate(reference.bins(w, dy.shape[2])):
        dlines[:, :, columns] += dy[:, :, j : j + 1] * (1 / (columns.stop - columns.start))
    for i, rows in enumerate(reference.bins(h, dy.shape[1])):
        dx[:, rows] += dlines[:, i : i + 1] * (1 / (rows.stop - rows.start))
    return dx
