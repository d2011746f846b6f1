"""Solutions of max_pool as different students write them: the maximum of each window and its place there."""

import numpy as np

from minidl.kernels.reference import pad2d


def right_sliding_windows(x, kernel, stride, padding):
    border = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    xp = np.pad(x, border, constant_values=-np.inf)
    v = np.lib.stride_tricks.sliding_window_view(xp, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]
    flat = v.reshape(*v.shape[:4], kernel * kernel)
    index = flat.argmax(axis=-1)
    y = np.take_along_axis(flat, index[..., None], axis=-1)[..., 0]
    return y, index.astype(np.uint8)


def right_window_by_window(x, kernel, stride, padding):
    n, h, w, c = x.shape
    xp = pad2d(x, padding, -np.inf)
    oh = (h + 2 * padding - kernel) // stride + 1
    ow = (w + 2 * padding - kernel) // stride + 1
    y = np.zeros((n, oh, ow, c), dtype=x.dtype)
    index = np.zeros((n, oh, ow, c), dtype=np.uint8)
    for b in range(n):
        for i in range(oh):
            for j in range(ow):
                window = xp[b, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
                window = window.reshape(-1, c)  # (K, K, C) -> (K K, C)
                best = np.argmax(window, axis=0)
                index[b, i, j] = best
                y[b, i, j] = window[best, np.arange(c)]
    return y, index


def right_stack_of_shifted_images(x, kernel, stride, padding):
    xp = pad2d(x, padding, -np.inf)
    oh = (xp.shape[1] - kernel) // stride + 1
    ow = (xp.shape[2] - kernel) // stride + 1
    shifted = np.stack(
        [
            xp[:, u : u + stride * oh : stride, v : v + stride * ow : stride]
            for u in range(kernel)
            for v in range(kernel)
        ]
    )
    return np.max(shifted, axis=0), np.argmax(shifted, axis=0).astype(np.uint8)


def right_maximum_first_then_its_place(x, kernel, stride, padding):
    xp = pad2d(x, padding, -np.inf)
    rows, cols = xp.shape[1] - kernel + 1, xp.shape[2] - kernel + 1
    tall = xp[:, :rows]
    for u in range(1, kernel):
        tall = np.maximum(tall, xp[:, u : u + rows])
    y = tall[:, :, :cols]
    for v in range(1, kernel):
        y = np.maximum(y, tall[:, :, v : v + cols])
    y = y[:, ::stride, ::stride]
    index = np.zeros(y.shape, np.uint8)
    for k in range(kernel * kernel - 1, -1, -1):  # backwards, so that the first place in reading order stays
        u, v = divmod(k, kernel)
        here = xp[:, u : u + rows : stride, v : v + cols : stride]
        index[(here == y) | (np.isnan(here) & np.isnan(y))] = k
    return y.copy(), index


def right_pixels_of_the_image_only(x, kernel, stride, padding):
    n, h, w, c = x.shape
    oh = 1 + (h + 2 * padding - kernel) // stride
    ow = 1 + (w + 2 * padding - kernel) // stride
    y = np.full((n, oh, ow, c), -np.inf, x.dtype)
    index = np.zeros((n, oh, ow, c), np.uint8)
    for i in range(oh):
        for j in range(ow):
            best, place = y[:, i, j], index[:, i, j]
            for u in range(kernel):
                for v in range(kernel):
                    row, column = i * stride + u - padding, j * stride + v - padding
                    if 0 <= row < h and 0 <= column < w:
                        here = x[:, row, column]
                        better = ~(here <= best) & ~np.isnan(best)
                        best[better] = here[better]
                        place[better] = u * kernel + v
    return y, index


def wrong_pads_with_zero(x, kernel, stride, padding):
    """pads with 0, which is the maximum of a window of negative numbers at the border"""
    xp = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    v = np.lib.stride_tricks.sliding_window_view(xp, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]
    flat = v.reshape(*v.shape[:4], -1)
    return flat.max(axis=-1), flat.argmax(axis=-1).astype(np.uint8)


def wrong_last_of_equals(x, kernel, stride, padding):
    """lets the last of equal maxima win: >= in place of >"""
    xp = pad2d(x, padding, -np.inf)
    oh, ow = (xp.shape[1] - kernel) // stride + 1, (xp.shape[2] - kernel) // stride + 1
    y = np.full((x.shape[0], oh, ow, x.shape[3]), -np.inf, x.dtype)
    index = np.zeros(y.shape, np.uint8)
    for u in range(kernel):
        for v in range(kernel):
            here = xp[:, u : u + stride * oh : stride, v : v + stride * ow : stride]
            wins = (here >= y) | np.isnan(here)
            y[wins] = here[wins]
            index[wins] = u * kernel + v
    return y, index


def wrong_place_in_the_image(x, kernel, stride, padding):
    """returns the place in the padded image, row times width plus column, in place of the place in the window"""
    xp = pad2d(x, padding, -np.inf)
    n, hp, wp, c = xp.shape
    oh, ow = (hp - kernel) // stride + 1, (wp - kernel) // stride + 1
    y = np.empty((n, oh, ow, c), x.dtype)
    index = np.empty((n, oh, ow, c), np.uint8)
    for i in range(oh):
        for j in range(ow):
            part = xp[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel].reshape(n, -1, c)
            k = part.argmax(axis=1)
            y[:, i, j] = part.max(axis=1)
            index[:, i, j] = (i * stride + k // kernel) * wp + j * stride + k % kernel
    return y, index


def wrong_place_read_downwards(x, kernel, stride, padding):
    """counts the places of the window column by column: kw K + kh"""
    xp = pad2d(x, padding, -np.inf)
    v = np.lib.stride_tricks.sliding_window_view(xp, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]
    flat = v.swapaxes(-1, -2).reshape(*v.shape[:4], kernel**2)
    index = np.argmax(flat, axis=-1)
    return np.take_along_axis(flat, index[..., None], -1).squeeze(-1), index.astype(np.uint8)


def wrong_stride_is_the_kernel(x, kernel, stride, padding):
    """ignores the stride and puts the windows side by side"""
    xp = pad2d(x, padding, -np.inf)
    oh, ow = xp.shape[1] // kernel, xp.shape[2] // kernel
    n, c = x.shape[0], x.shape[3]
    tiles = xp[:, : oh * kernel, : ow * kernel].reshape(n, oh, kernel, ow, kernel, c)
    tiles = tiles.transpose(0, 1, 3, 5, 2, 4).reshape(n, oh, ow, c, kernel * kernel)
    return tiles.max(-1), tiles.argmax(-1).astype(np.uint8)


def wrong_no_padding(x, kernel, stride, padding):
    """ignores the padding"""
    n, h, w, c = x.shape
    oh, ow = (h - kernel) // stride + 1, (w - kernel) // stride + 1
    y, index = np.zeros((n, oh, ow, c), x.dtype), np.zeros((n, oh, ow, c), np.uint8)
    for i in range(oh):
        for j in range(ow):
            window = x[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel].reshape(n, -1, c)
            y[:, i, j], index[:, i, j] = window.max(1), window.argmax(1)
    return y, index


def wrong_maximum_over_the_channels(x, kernel, stride, padding):
    """takes one maximum for all channels of a window"""
    n, h, w, c = x.shape
    xp = pad2d(x, padding, -np.inf)
    oh, ow = (h + 2 * padding - kernel) // stride + 1, (w + 2 * padding - kernel) // stride + 1
    y, index = np.zeros((n, oh, ow, c), x.dtype), np.zeros((n, oh, ow, c), np.uint8)
    for b in range(n):
        for i in range(oh):
            for j in range(ow):
                window = xp[b, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
                y[b, i, j] = window.max()
                index[b, i, j] = window.argmax() // c
    return y, index


def wrong_nan_is_overlooked(x, kernel, stride, padding):
    """compares with > alone, so that a NaN loses unless it comes first"""
    xp = pad2d(x, padding, -np.inf)
    oh, ow = (xp.shape[1] - kernel) // stride + 1, (xp.shape[2] - kernel) // stride + 1
    y = xp[:, : stride * oh : stride, : stride * ow : stride].copy()
    index = np.zeros(y.shape, np.uint8)
    for k in range(1, kernel * kernel):
        u, v = k // kernel, k % kernel
        here = xp[:, u : u + stride * oh : stride, v : v + stride * ow : stride]
        bigger = here > y
        y, index = np.where(bigger, here, y), np.where(bigger, np.uint8(k), index)
    return y, index


def wrong_dtype_of_the_place(x, kernel, stride, padding):
    """returns the places as int64 in place of uint8"""
    xp = pad2d(x, padding, -np.inf)
    v = np.lib.stride_tricks.sliding_window_view(xp, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]
    flat = v.reshape(*v.shape[:4], kernel * kernel)
    return flat.max(axis=-1), flat.argmax(axis=-1)


def wrong_number_of_windows_rounded_up(x, kernel, stride, padding):
    """rounds the number of windows up, so that the last window hangs over the edge"""
    n, h, w, c = x.shape
    oh = -((kernel - h - 2 * padding) // stride) + 1
    ow = -((kernel - w - 2 * padding) // stride) + 1
    xp = np.full((n, h + 2 * padding + stride, w + 2 * padding + stride, c), -np.inf, x.dtype)
    xp[:, padding : padding + h, padding : padding + w] = x
    y, index = np.zeros((n, oh, ow, c), x.dtype), np.zeros((n, oh, ow, c), np.uint8)
    for i in range(oh):
        for j in range(ow):
            part = xp[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel].reshape(n, -1, c)
            y[:, i, j], index[:, i, j] = part.max(axis=1), part.argmax(axis=1)
    return y, index


def wrong_mean(x, kernel, stride, padding):
    """returns the mean of the window with the place of its maximum"""
    xp = pad2d(x, padding, -np.inf)
    v = np.lib.stride_tricks.sliding_window_view(xp, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]
    flat = v.reshape(*v.shape[:4], kernel * kernel)
    inside = np.where(np.isneginf(flat), 0, flat)
    return inside.mean(axis=-1).astype(x.dtype), flat.argmax(axis=-1).astype(np.uint8)
