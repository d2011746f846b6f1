"""The reference kernels of windows of every kind: the shortest correct form, on NumPy and on CuPy arrays.

They are those of `minidl/kernels/reference.py` with two things more. A Window has its own stride, dilation and
padding on each axis. And a convolution may have G groups: the channels are cut into G equal runs, the filters too,
and the filters of a run see the channels of the same run only. So patches and filters have a leading axis of groups,
and each product is a batch of G products:

    y[g,p,f] = sum over k of  patches[g,p,k] w[g,k,f]        (G, P, K) @ (G, K, F/G),   K = KH KW C/G
"""

from __future__ import annotations

from collections.abc import Iterator

from minidl.backend.arrays import Array, array_module
from minidl.kernels.general.window import Pair, Shape, Window

# ------------------------------------------------------------------ windows


def pad(x: Array, window: Window, value: float = 0.0) -> Array:
    """`x` (N, H, W, C) with the window's padding of `value` around, always a new array."""
    n, h, w, c = x.shape
    (top, bottom), (left, right) = window.padding
    padded = array_module(x).full((n, top + h + bottom, left + w + right, c), value, dtype=x.dtype)
    padded[:, top : top + h, left : left + w] = x
    return padded


def unpad(padded: Array, window: Window) -> Array:
    """`padded` without its border: the transpose of zero padding."""
    (top, bottom), (left, right) = window.padding
    return padded[:, top : padded.shape[1] - bottom, left : padded.shape[2] - right]


def padded_zeros(like: Array, x_shape: Shape, window: Window) -> Array:
    """Zeros of the shape that `pad` makes of x."""
    n, h, w, c = x_shape
    (top, bottom), (left, right) = window.padding
    return array_module(like).zeros((n, top + h + bottom, left + w + right, c), dtype=like.dtype)


def offsets(window: Window, out: Pair) -> Iterator[tuple[int, slice, slice]]:
    """Yields (k, rows, columns) for every pixel (kh, kw) of the window, in reading order; k = kh KW + kw.

    `rows` and `columns` are slices of the padded input: they select this one pixel in all OH x OW windows.
    """
    (kh_, kw_), (sh, sw), (dh, dw), (oh, ow) = window.kernel, window.stride, window.dilation, out
    for k in range(kh_ * kw_):
        top, left = dh * (k // kw_), dw * (k % kw_)
        yield k, slice(top, top + sh * oh, sh), slice(left, left + sw * ow, sw)


def im2col(x: Array, window: Window, groups: int) -> Array:
    """All patches of `x` (N, H, W, C) as rows, group by group: (G, N OH OW, KH KW C/G)."""
    xp = array_module(x)
    n, _, _, c = x.shape
    oh, ow = window.positions(x.shape)
    kh, kw = window.kernel
    padded = pad(x, window).reshape(n, -1, sum(window.padding[1]) + x.shape[2], groups, c // groups)
    patches = xp.empty((groups, n, oh, ow, kh * kw, c // groups), dtype=x.dtype)
    for k, rows, columns in offsets(window, (oh, ow)):
        patches[..., k, :] = xp.moveaxis(padded[:, rows, columns], 3, 0)  # (N, OH, OW, G, C/G) -> (G, N, OH, OW, C/G)
    return patches.reshape(groups, n * oh * ow, -1)  # (G, N, OH, OW, KH KW, C/G) -> (G, P, K)


def col2im(dpatches: Array, x_shape: Shape, window: Window) -> Array:
    """dx (N, H, W, C) from dpatches (G, N OH OW, KH KW C/G): every pixel receives the sum over its copies."""
    xp = array_module(dpatches)
    n, groups = x_shape[0], len(dpatches)
    oh, ow = window.positions(x_shape)
    kh, kw = window.kernel
    dpatches = dpatches.reshape(groups, n, oh, ow, kh * kw, -1)  # (G, P, K) -> (G, N, OH, OW, KH KW, C/G)
    dpadded = padded_zeros(dpatches, x_shape, window)
    for k, rows, columns in offsets(window, (oh, ow)):
        copies = xp.moveaxis(dpatches[..., k, :], 0, 3)  # (G, N, OH, OW, C/G) -> (N, OH, OW, G, C/G)
        dpadded[:, rows, columns] += copies.reshape(n, oh, ow, -1)  # -> (N, OH, OW, C)
    return unpad(dpadded, window)


# -------------------------------------------------------------- convolution


def grouped(a: Array, groups: int) -> Array:
    """A matrix (M, F) as (G, M, F/G): the columns of each group."""
    return array_module(a).moveaxis(a.reshape(len(a), groups, -1), 1, 0)


def conv2d(x: Array, w: Array, window: Window) -> Array:
    """y[n,oh,ow,f] = sum over kh,kw,c of x[n, s oh + d kh - p, s ow + d kw - p, c0 + c] w[kh,kw,c,f].

    x (N, H, W, C), w (KH, KW, C/G, F) -> y (N, OH, OW, F); c0 is the first channel of the group of f.
    """
    *_, c, f = w.shape
    groups = x.shape[3] // c
    patches = im2col(x, window, groups)
    y = patches @ grouped(w.reshape(-1, f), groups)  # (G, P, K) @ (G, K, F/G)
    y = array_module(x).moveaxis(y, 0, 1)  # (G, P, F/G) -> (P, G, F/G)
    return y.reshape(len(x), *window.positions(x.shape), f)  # -> (N, OH, OW, F)


def conv2d_dw(x: Array, dy: Array, w_shape: Shape, window: Window) -> Array:
    """dw (KH, KW, C/G, F), group by group: dw = patches.T @ dy. x (N, H, W, C), dy (N, OH, OW, F)."""
    *_, c, f = w_shape
    groups = x.shape[3] // c
    patches = im2col(x, window, groups)
    dw = patches.swapaxes(1, 2) @ grouped(dy.reshape(-1, f), groups)  # (G, K, P) @ (G, P, F/G)
    return array_module(x).moveaxis(dw, 0, 1).reshape(w_shape)  # (G, K, F/G) -> (K, G, F/G) -> (KH, KW, C/G, F)


def conv2d_dx(dy: Array, w: Array, x_shape: Shape, window: Window) -> Array:
    """dx (N, H, W, C), group by group: dx = col2im(dy @ w.T). dy (N, OH, OW, F), w (KH, KW, C/G, F)."""
    *_, c, f = w.shape
    groups = x_shape[3] // c
    filters = grouped(w.reshape(-1, f), groups)  # (K, F) -> (G, K, F/G)
    dpatches = grouped(dy.reshape(-1, f), groups) @ filters.swapaxes(1, 2)  # (G, P, F/G) @ (G, F/G, K)
    return col2im(dpatches, x_shape, window)


# ------------------------------------------------------------------ pooling


def max_pool(x: Array, window: Window) -> tuple[Array, Array]:
    """y = max over each window, and where in its window the maximum lies: kh KW + kw, as uint8.

    Of equal values the first in reading order counts as the maximum. A NaN counts as larger than every number; of
    several NaNs the first counts. Padding is -inf, so it is never the maximum.
    """
    xp = array_module(x)
    out = window.positions(x.shape)
    padded = pad(x, window, -xp.inf)
    y, index = None, xp.zeros((len(x), *out, x.shape[3]), dtype=xp.uint8)
    for k, rows, columns in offsets(window, out):
        candidate = padded[:, rows, columns]
        y = candidate.copy() if y is None else y
        wins = (candidate > y) | (xp.isnan(candidate) & ~xp.isnan(y))
        y = xp.where(wins, candidate, y)
        index = xp.where(wins, xp.uint8(k), index)
    return y, index


def max_pool_dx(dy: Array, index: Array, x_shape: Shape, window: Window, overlap: str = "sum") -> Array:
    """dx[h,w] = sum of dy over the windows whose maximum lies at (h, w).

    `overlap` is what a pixel receives that is the maximum of several windows: the "sum" of their dy, the dy of the
    "last" window (the one with the highest (oh, ow)), or the "max" (the largest signed value).
    """
    xp = array_module(dy)
    dpadded = padded_zeros(dy, x_shape, window)
    touched = xp.zeros(dpadded.shape, dtype=bool)
    # For one pixel, a smaller offset within the window means a window further down and to the right.
    for k, rows, columns in reversed(list(offsets(window, dy.shape[1:3]))):
        hit = index == k
        old = dpadded[:, rows, columns]
        if overlap == "sum":
            new = old + dy
        elif overlap == "last":
            new = dy
        else:
            new = xp.where(touched[:, rows, columns], xp.maximum(old, dy), dy)
        dpadded[:, rows, columns] = xp.where(hit, new, old)
        touched[:, rows, columns] |= hit
    return unpad(dpadded, window)


def counts(size: int, positions: int, kernel: int, stride: int, padding: int, counted: int) -> list[int]:
    """How many pixels of each window along one axis count, if `counted` pixels of the padding on each side do."""
    starts = [stride * o - padding for o in range(positions)]
    return [min(start + kernel, size + counted) - max(start, -counted) for start in starts]


def shares(like: Array, x_shape: Shape, window: Window, counted: Pair) -> Array:
    """1 / (the number of pixels that count) of every window, (OH, OW, 1)."""
    xp = array_module(like)
    axes = zip(
        x_shape[1:3], window.positions(x_shape), window.kernel, window.stride, window.padding, counted, strict=True
    )
    rows, columns = (
        xp.asarray(counts(size, out, kernel, stride, padding[0], some))
        for size, out, kernel, stride, padding, some in axes
    )
    return (1 / (rows[:, None, None] * columns[:, None])).astype(like.dtype)


def avg_pool(x: Array, window: Window, counted: Pair) -> Array:
    """y = the sum over each window / the number of its pixels that count.

    Padding adds 0 to the sum; of the padding on each side, `counted` (rows, columns) count as pixels.
    """
    padded, total = pad(x, window), 0
    for _, rows, columns in offsets(window, window.positions(x.shape)):
        total = total + padded[:, rows, columns]
    return total * shares(x, x.shape, window, counted)


def avg_pool_dx(dy: Array, x_shape: Shape, window: Window, counted: Pair) -> Array:
    """dx[h,w] = sum over the windows that contain (h, w) of dy / the number of pixels that count."""
    dpadded = padded_zeros(dy, x_shape, window)
    share = dy * shares(dy, x_shape, window, counted)
    for _, rows, columns in offsets(window, dy.shape[1:3]):
        dpadded[:, rows, columns] += share
    return unpad(dpadded, window)


def bins(size: int, count: int) -> list[slice]:
    """`count` runs that cover an axis: run i from floor(i size / count) to ceil((i + 1) size / count)."""
    return [slice(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def adaptive_avg_pool(x: Array, size: Pair) -> Array:
    """y[n,i,j,c] = the mean of x over the rows of bin i and the columns of bin j: (N, H, W, C) -> (N, *size, C)."""
    xp = array_module(x)
    y = xp.empty((len(x), *size, x.shape[3]), dtype=x.dtype)
    for i, rows in enumerate(bins(x.shape[1], size[0])):
        for j, columns in enumerate(bins(x.shape[2], size[1])):
            y[:, i, j] = x[:, rows, columns].mean(axis=(1, 2))
    return y


def adaptive_avg_pool_dx(dy: Array, x_shape: Shape) -> Array:
    """dx[h,w] = sum over the bins that contain (h, w) of dy / the number of pixels in the bin."""
    dx = array_module(dy).zeros(x_shape, dtype=dy.dtype)
    for i, rows in enumerate(bins(x_shape[1], dy.shape[1])):
        for j, columns in enumerate(bins(x_shape[2], dy.shape[2])):
            pixels = (rows.stop - rows.start) * (columns.stop - columns.start)
            dx[:, rows, columns] += (dy[:, i, j] * (1 / pixels))[:, None, None]  # (N, C) -> (N, 1, 1, C)
    return dx
