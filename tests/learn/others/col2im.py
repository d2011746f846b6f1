"""Solutions of col2im as different students write them: every pixel receives the sum over its copies."""

import numpy as np

from minidl.kernels.shapes import window_positions


def right_window_by_window(dpatches, x_shape, kernel, stride, padding):
    n, h, w, c = x_shape
    kh, kw = kernel
    oh = (h + 2 * padding - kh) // stride + 1
    ow = (w + 2 * padding - kw) // stride + 1
    blocks = dpatches.reshape(n, oh, ow, kh, kw, c)
    dx = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dtype=dpatches.dtype)
    for i in range(oh):
        for j in range(ow):
            dx[:, i * stride : i * stride + kh, j * stride : j * stride + kw] += blocks[:, i, j]
    return dx[:, padding : padding + h, padding : padding + w]


def right_add_at(dpatches, x_shape, kernel, stride, padding):
    n, h, w, c = x_shape
    kh, kw = kernel
    oh = window_positions(h, kh, stride, padding)
    ow = window_positions(w, kw, stride, padding)
    image, i, j, u, v, channel = np.indices((n, oh, ow, kh, kw, c)).reshape(6, -1)
    dx = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dpatches.dtype)
    np.add.at(dx, (image, i * stride + u, j * stride + v, channel), dpatches.reshape(-1))
    return dx[:, padding : h + padding, padding : w + padding].copy()


def right_bincount(dpatches, x_shape, kernel, stride, padding):
    n, h, w, c = x_shape
    big = (n, h + 2 * padding, w + 2 * padding, c)
    place = np.arange(np.prod(big)).reshape(big)
    view = np.lib.stride_tricks.sliding_window_view(place, kernel, axis=(1, 2))[:, ::stride, ::stride]
    where = view.transpose(0, 1, 2, 4, 5, 3).ravel()
    total = np.bincount(where, weights=dpatches.ravel(), minlength=place.size)
    dpadded = total.astype(dpatches.dtype).reshape(big)
    return dpadded[:, padding : padding + h, padding : padding + w]


def right_writable_view(dpatches, x_shape, kernel, stride, padding):
    n, h, w, c = x_shape
    kh, kw = kernel
    dx = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dpatches.dtype)
    view = np.lib.stride_tricks.sliding_window_view(dx, kernel, axis=(1, 2), writeable=True)
    view = view[:, ::stride, ::stride]  # (N, OH, OW, C, KH, KW)
    dp = dpatches.reshape(*view.shape[:3], kh, kw, c)
    for u, v in np.ndindex(kh, kw):
        view[..., u, v] += dp[:, :, :, u, v]
    return dx[:, padding : padding + h, padding : padding + w]


def right_pixel_asks_its_windows(dpatches, x_shape, kernel, stride, padding):
    n, h, w, c = x_shape
    kh, kw = kernel
    oh = (h + 2 * padding - kh) // stride + 1
    ow = (w + 2 * padding - kw) // stride + 1
    dp = dpatches.reshape(n, oh, ow, kh, kw, c)
    dx = np.zeros(x_shape, dpatches.dtype)
    for row in range(h):
        rows = [(i, row + padding - i * stride) for i in range(oh) if 0 <= row + padding - i * stride < kh]
        for column in range(w):
            for j in range(ow):
                v = column + padding - j * stride
                if 0 <= v < kw:
                    for i, u in rows:
                        dx[:, row, column] += dp[:, i, j, u, v]
    return dx


def wrong_assigns(dpatches, x_shape, kernel, stride, padding):
    """assigns where overlapping windows must be added"""
    n, h, w, c = x_shape
    kh, kw = kernel
    oh = (h + 2 * padding - kh) // stride + 1
    ow = (w + 2 * padding - kw) // stride + 1
    blocks = dpatches.reshape(n, oh, ow, kh, kw, c)
    dx = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dtype=dpatches.dtype)
    for i in range(oh):
        for j in range(ow):
            dx[:, i * stride : i * stride + kh, j * stride : j * stride + kw] = blocks[:, i, j]
    return dx[:, padding : padding + h, padding : padding + w]


def wrong_plus_with_repeated_indices(dpatches, x_shape, kernel, stride, padding):
    """adds with dx[index] += values, which counts a repeated index once; np.add.at is needed"""
    n, h, w, c = x_shape
    kh, kw = kernel
    rows = np.arange(0, h + 2 * padding - kh + 1, stride)[:, None, None, None] + np.arange(kh)[:, None]
    cols = np.arange(0, w + 2 * padding - kw + 1, stride)[:, None, None] + np.arange(kw)
    dx = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dpatches.dtype)
    dx[:, rows, cols] += dpatches.reshape(n, rows.shape[0], cols.shape[0], kh, kw, c)
    return dx[:, padding : padding + h, padding : padding + w]


def wrong_padding_not_cropped(dpatches, x_shape, kernel, stride, padding):
    """forgets to crop the padding"""
    n, h, w, c = x_shape
    kh, kw = kernel
    dx = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dpatches.dtype)
    view = np.lib.stride_tricks.sliding_window_view(dx, kernel, axis=(1, 2), writeable=True)[:, ::stride, ::stride]
    dp = dpatches.reshape(*view.shape[:3], kh, kw, c)
    for u in range(kh):
        for v in range(kw):
            view[..., u, v] += dp[:, :, :, u, v]
    return dx


def wrong_crops_to_minus_zero(dpatches, x_shape, kernel, stride, padding):
    """crops with padding:-padding, which leaves nothing if the padding is 0"""
    n, h, w, c = x_shape
    kh, kw = kernel
    oh, ow = (h + 2 * padding - kh) // stride + 1, (w + 2 * padding - kw) // stride + 1
    dp = dpatches.reshape((n, oh, ow, kh, kw, c))
    dx = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dp.dtype)
    for u in range(kh):
        for v in range(kw):
            dx[:, u : u + stride * oh : stride, v : v + stride * ow : stride, :] += dp[:, :, :, u, v, :]
    return dx[:, padding:-padding, padding:-padding, :]


def wrong_crops_the_wrong_corner(dpatches, x_shape, kernel, stride, padding):
    """keeps the first H x W pixels in place of the middle ones"""
    n, h, w, c = x_shape
    kh, kw = kernel
    oh, ow = (h + 2 * padding - kh) // stride + 1, (w + 2 * padding - kw) // stride + 1
    image, i, j, u, v, channel = np.indices((n, oh, ow, kh, kw, c)).reshape(6, -1)
    dx = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dpatches.dtype)
    np.add.at(dx, (image, i * stride + u, j * stride + v, channel), dpatches.ravel())
    return dx[:, :h, :w]


def wrong_channels_first_in_a_row(dpatches, x_shape, kernel, stride, padding):
    """reads a row as (C, KH, KW) in place of (KH, KW, C)"""
    n, h, w, c = x_shape
    kh, kw = kernel
    oh, ow = (h + 2 * padding - kh) // stride + 1, (w + 2 * padding - kw) // stride + 1
    dp = dpatches.reshape(n, oh, ow, c, kh, kw).transpose(0, 1, 2, 4, 5, 3)
    out = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dpatches.dtype)
    for i in range(oh):
        for j in range(ow):
            out[:, i * stride : i * stride + kh, j * stride : j * stride + kw] += dp[:, i, j]
    return out[:, padding : h + padding, padding : w + padding]


def wrong_stride_forgotten(dpatches, x_shape, kernel, stride, padding):
    """puts neighbouring windows one pixel apart whatever the stride"""
    n, h, w, c = x_shape
    kh, kw = kernel
    oh, ow = (h + 2 * padding - kh) // stride + 1, (w + 2 * padding - kw) // stride + 1
    dp = dpatches.reshape(n, oh, ow, kh, kw, c)
    dx = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dpatches.dtype)
    for u in range(kh):
        for v in range(kw):
            dx[:, u : u + oh, v : v + ow] += dp[..., u, v, :]
    return dx[:, padding : padding + h, padding : padding + w]


def wrong_mean_of_the_copies(dpatches, x_shape, kernel, stride, padding):
    """divides by the number of copies, which gives their mean and not their sum"""
    n, h, w, c = x_shape
    kh, kw = kernel
    oh, ow = (h + 2 * padding - kh) // stride + 1, (w + 2 * padding - kw) // stride + 1
    dp = dpatches.reshape(n, oh, ow, kh, kw, c)
    total = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dpatches.dtype)
    count = np.zeros_like(total)
    for i in range(oh):
        for j in range(ow):
            here = np.s_[:, i * stride : i * stride + kh, j * stride : j * stride + kw]
            total[here] += dp[:, i, j]
            count[here] += 1
    dx = total / np.maximum(count, 1)
    return dx[:, padding : padding + h, padding : padding + w]


def wrong_rows_of_cs231n(dpatches, x_shape, kernel, stride, padding):
    """reads the rows in the order (OH, OW, N), which fits a batch of one"""
    n, h, w, c = x_shape
    kh, kw = kernel
    oh, ow = (h + 2 * padding - kh) // stride + 1, (w + 2 * padding - kw) // stride + 1
    dp = dpatches.reshape(oh, ow, n, kh, kw, c)
    dx = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dpatches.dtype)
    for i in range(oh):
        for j in range(ow):
            dx[:, i * stride : i * stride + kh, j * stride : j * stride + kw] += dp[i, j]
    return dx[:, padding : padding + h, padding : padding + w]


def wrong_rows_and_columns_swapped(dpatches, x_shape, kernel, stride, padding):
    """reads the window column by column"""
    n, h, w, c = x_shape
    kh, kw = kernel
    oh, ow = (h + 2 * padding - kh) // stride + 1, (w + 2 * padding - kw) // stride + 1
    dp = dpatches.reshape(n, oh, ow, kw, kh, c)
    dx = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dpatches.dtype)
    for u in range(kh):
        for v in range(kw):
            dx[:, u : u + stride * oh : stride, v : v + stride * ow : stride] += dp[:, :, :, v, u]
    return dx[:, padding : padding + h, padding : padding + w]
