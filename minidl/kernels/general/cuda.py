"""The GPU kernels of windows of every kind, for CuPy arrays. See minidl/kernels/cuda.py.

The pools' kernels serve the square windows of minidl/kernels/cuda.py, too. A convolution copies its patches group by
group, (G, P, K), and is one batch of G matrix products; if the patches would take more than PATCH_BYTES, it works on
a few images at a time. A batch of products wants matrices in C order: the smaller one is turned, never the patches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from minidl.backend.arrays import Array, array_module
from minidl.kernels.general.window import Pair, Shape, Window
from minidl.kernels.launch import contiguous, launch_each

PATCH_BYTES = 256 << 20  # the largest block of patches (one image at least)


# -------------------------------------------------------------- convolution


def im2col(x: Array, window: Window, groups: int) -> Array:
    """See reference.im2col."""
    (x,) = contiguous(x, x)
    n, h, w, c = x.shape
    out = window.positions(x.shape)
    patches = array_module(x).empty((groups, n * math.prod(out), math.prod(window.kernel) * c // groups), x.dtype)
    sizes = h, w, c // groups, *out, *_numbers(window), *window.dilation, groups, n * math.prod(out)
    launch_each("general_im2col", patches.size, x, x, patches, *sizes)
    return patches


def col2im(dpatches: Array, x_shape: Shape, window: Window) -> Array:
    """See reference.col2im. Every thread serves one pixel and reads all its copies."""
    (dpatches,) = contiguous(dpatches, dpatches)
    n, h, w, c = x_shape
    groups, out = len(dpatches), window.positions(x_shape)
    dx = array_module(dpatches).empty(x_shape, dpatches.dtype)
    sizes = h, w, c // groups, *out, *_numbers(window), *window.dilation, groups, n * math.prod(out)
    launch_each("general_col2im", dx.size, dpatches, dpatches, dx, *sizes)
    return dx


def _numbers(window: Window) -> tuple[int, ...]:
    """Kernel, stride and the padding before, as the kernels take them."""
    return *window.kernel, *window.stride, window.padding[0][0], window.padding[1][0]


def _image_blocks(images: int, bytes_each: int) -> Iterator[slice]:
    """Slices of at most PATCH_BYTES worth of images, at least one image each."""
    most = max(1, PATCH_BYTES // bytes_each)
    return (slice(start, start + most) for start in range(0, images, most))


def _patch_bytes(x_shape: Shape, window: Window, itemsize: int) -> int:
    """Of one image."""
    return math.prod(window.positions(x_shape)) * math.prod(window.kernel) * x_shape[3] * itemsize


def _grouped(a: Array, groups: int, turned: bool = False) -> Array:
    """A matrix (M, F) as (G, M, F/G), or turned as (G, F/G, M), in C order."""
    parts = a.reshape(len(a), groups, -1)  # (M, F) -> (M, G, F/G)
    return array_module(a).ascontiguousarray(parts.transpose(1, 2, 0) if turned else parts.transpose(1, 0, 2))


def conv2d(x: Array, w: Array, window: Window) -> Array:
    """See reference.conv2d: y = patches @ w, group by group."""
    x, w = contiguous(x, x, w)
    *_, c, f = w.shape
    groups = x.shape[3] // c
    filters = _grouped(w.reshape(-1, f), groups)  # (K, F) -> (G, K, F/G)
    y = array_module(x).empty((len(x), *window.positions(x.shape), f), x.dtype)
    for block in _image_blocks(len(x), _patch_bytes(x.shape, window, x.itemsize)):
        product = im2col(x[block], window, groups) @ filters  # (G, P, K) @ (G, K, F/G)
        y[block] = product.transpose(1, 0, 2).reshape(y[block].shape)  # (G, P, F/G) -> (P, G, F/G) -> (N, OH, OW, F)
    return y


def conv2d_dw(x: Array, dy: Array, w_shape: Shape, window: Window) -> Array:
    """See reference.conv2d_dw: the transposed dw = dy.T @ patches, group by group, summed over blocks."""
    x, dy = contiguous(x, x, dy)
    *_, c, f = w_shape
    groups = x.shape[3] // c
    dw = None
    for block in _image_blocks(len(x), _patch_bytes(x.shape, window, x.itemsize)):
        turned = _grouped(dy[block].reshape(-1, f), groups, turned=True)  # (P, F) -> (G, F/G, P)
        product = turned @ im2col(x[block], window, groups)  # (G, F/G, P) @ (G, P, K)
        dw = product if dw is None else dw + product
    return dw.transpose(2, 0, 1).reshape(w_shape)  # (G, F/G, K) -> (K, G, F/G) -> (KH, KW, C/G, F)


def conv2d_dx(dy: Array, w: Array, x_shape: Shape, window: Window) -> Array:
    """See reference.conv2d_dx: dx = col2im(dy @ w.T), group by group."""
    dy, w = contiguous(dy, dy, w)
    *_, c, f = w.shape
    groups = x_shape[3] // c
    turned = _grouped(w.reshape(-1, f), groups, turned=True)  # (K, F) -> (G, F/G, K)
    dx = array_module(dy).empty(x_shape, dy.dtype)
    for block in _image_blocks(len(dy), _patch_bytes(x_shape, window, dy.itemsize)):
        dpatches = _grouped(dy[block].reshape(-1, f), groups) @ turned  # (G, P, F/G) @ (G, F/G, K)
        dx[block] = col2im(dpatches, dx[block].shape, window)
    return dx


# ------------------------------------------------------------------ pooling


def max_pool(x: Array, window: Window) -> tuple[Array, Array]:
    """See reference.max_pool."""
    (x,) = contiguous(x, x)
    xp = array_module(x)
    n, h, w, c = x.shape
    y = xp.empty((n, *window.positions(x.shape), c), x.dtype)
    index = xp.empty(y.shape, xp.uint8)
    launch_each("max_pool", y.size, x, x, y, index, h, w, c, *y.shape[1:3], *_numbers(window))
    return y, index


def max_pool_dx(dy: Array, index: Array, x_shape: Shape, window: Window, overlap: str = "sum") -> Array:
    """See reference.max_pool_dx. Every thread serves one pixel and looks for it in the index of its windows."""
    (dy,) = contiguous(dy, dy)
    xp = array_module(dy)
    dx = xp.empty(x_shape, dy.dtype)
    index = xp.ascontiguousarray(index)
    sizes = *x_shape[1:], *dy.shape[1:3], *_numbers(window)
    rule = ("sum", "last", "max").index(overlap)
    launch_each("max_pool_dx", dx.size, dy, dy, index, dx, *sizes, rule)
    return dx


def avg_pool(x: Array, window: Window, counted: Pair) -> Array:
    """See reference.avg_pool."""
    (x,) = contiguous(x, x)
    n, h, w, c = x.shape
    y = array_module(x).empty((n, *window.positions(x.shape), c), x.dtype)
    launch_each("avg_pool", y.size, x, x, y, h, w, c, *y.shape[1:3], *_numbers(window), *counted)
    return y


def avg_pool_dx(dy: Array, x_shape: Shape, window: Window, counted: Pair) -> Array:
    """See reference.avg_pool_dx."""
    (dy,) = contiguous(dy, dy)
    dx = array_module(dy).empty(x_shape, dy.dtype)
    sizes = *x_shape[1:], *dy.shape[1:3], *_numbers(window)
    launch_each("avg_pool_dx", dx.size, dy, dy, dx, *sizes, *counted)
    return dx


def adaptive_avg_pool(x: Array, size: Pair) -> Array:
    """See reference.adaptive_avg_pool."""
    (x,) = contiguous(x, x)
    n, h, w, c = x.shape
    y = array_module(x).empty((n, *size, c), x.dtype)
    launch_each("adaptive_avg_pool", y.size, x, x, y, h, w, c, *size)
    return y


def adaptive_avg_pool_dx(dy: Array, x_shape: Shape) -> Array:
    """See reference.adaptive_avg_pool_dx. Every thread serves one pixel and reads the bins that contain it."""
    (dy,) = contiguous(dy, dy)
    dx = array_module(dy).empty(x_shape, dy.dtype)
    launch_each("adaptive_avg_pool_dx", dx.size, dy, dy, dx, *x_shape[1:], *dy.shape[1:3])
    return dx
