"""Solutions of conv2d as different students write them: sums over the window and the channels."""

import numpy as np

from minidl.kernels.reference import im2col, pad2d
from minidl.kernels.shapes import window_positions


def right_window_by_window(x, w, stride, padding):
    kh, kw, _, f = w.shape
    n, h, wid, _ = x.shape
    xp = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    oh = (h + 2 * padding - kh) // stride + 1
    ow = (wid + 2 * padding - kw) // stride + 1
    y = np.zeros((n, oh, ow, f), dtype=x.dtype)
    for i in range(oh):
        for j in range(ow):
            window = xp[:, i * stride : i * stride + kh, j * stride : j * stride + kw, :]
            for k in range(f):
                y[:, i, j, k] = np.sum(window * w[:, :, :, k], axis=(1, 2, 3))
    return y


def right_sliding_windows(x, w, stride, padding):
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, w.shape[:2], axis=(1, 2))
    return np.einsum("nijcuv,uvcf->nijf", windows[:, ::stride, ::stride], w)


def right_strides_and_tensordot(x, w, stride, padding):
    xp = pad2d(x, padding)
    kh, kw = w.shape[0], w.shape[1]
    n, h, wid, c = xp.shape
    sn, sh, sw, sc = xp.strides
    view = np.lib.stride_tricks.as_strided(
        xp,
        shape=(n, (h - kh) // stride + 1, (wid - kw) // stride + 1, kh, kw, c),
        strides=(sn, sh * stride, sw * stride, sh, sw, sc),
        writeable=False,
    )
    return np.tensordot(view, w, axes=3)


def right_one_tap_after_the_other(x, w, stride, padding):
    kh, kw, _, f = w.shape
    oh = window_positions(x.shape[1], kh, stride, padding)
    ow = window_positions(x.shape[2], kw, stride, padding)
    padded = pad2d(x, padding)
    y = np.zeros((len(x), oh, ow, f), x.dtype)
    for u in range(kh):
        for v in range(kw):
            seen = padded[:, u : u + stride * (oh - 1) + 1 : stride, v : v + stride * (ow - 1) + 1 : stride]
            y += seen @ w[u, v]
    return y


def right_patch_matrix(x, w, stride, padding):
    kh, kw, c, f = w.shape
    oh = 1 + (x.shape[1] + 2 * padding - kh) // stride
    ow = 1 + (x.shape[2] + 2 * padding - kw) // stride
    columns = im2col(x, (kh, kw), stride, padding)
    out = columns.dot(w.reshape(kh * kw * c, f))
    return out.reshape(x.shape[0], oh, ow, f)


def right_gathered_pixels(x, w, stride, padding):
    _, h, wid, _ = x.shape
    kh, kw, _, _ = w.shape
    oh, ow = (h + 2 * padding - kh) // stride + 1, (wid + 2 * padding - kw) // stride + 1
    i = stride * np.arange(oh)[:, None] + np.arange(kh)[None, :] - padding
    j = stride * np.arange(ow)[:, None] + np.arange(kw)[None, :] - padding
    rows, cols = i[:, None, :, None], j[None, :, None, :]
    inside = (rows >= 0) & (rows < h) & (cols >= 0) & (cols < wid)
    values = x[:, rows.clip(0, h - 1), cols.clip(0, wid - 1)]
    values = np.where(inside[..., None], values, x.dtype.type(0))
    return np.tensordot(values, w, axes=([3, 4, 5], [0, 1, 2]))


def wrong_flipped_filter(x, w, stride, padding):
    """turns the filter round, as in the mathematical convolution"""
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, w.shape[:2], axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("nijcuv,uvcf->nijf", windows, w[::-1, ::-1])


def wrong_windows_one_pixel_apart(x, w, stride, padding):
    """counts the outputs with the stride but moves the window by one pixel"""
    kh, kw, c, f = w.shape
    n, h, wid, _ = x.shape
    xp = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    oh = (h + 2 * padding - kh) // stride + 1
    ow = (wid + 2 * padding - kw) // stride + 1
    y = np.zeros((n, oh, ow, f), x.dtype)
    for i in range(oh):
        for j in range(ow):
            y[:, i, j] = xp[:, i : i + kh, j : j + kw].reshape(n, -1) @ w.reshape(-1, f)
    return y


def wrong_no_padding(x, w, stride, padding):
    """ignores the padding"""
    kh, kw, _, _ = w.shape
    oh = (x.shape[1] - kh) // stride + 1
    ow = (x.shape[2] - kw) // stride + 1
    y = 0
    for u in range(kh):
        for v in range(kw):
            part = x[:, u : u + oh * stride : stride, v : v + ow * stride : stride]
            y = y + np.tensordot(part, w[u, v], axes=1)
    return y


def wrong_no_plus_one(x, w, stride, padding):
    """forgets the + 1 in the output size"""
    kh, kw, _, f = w.shape
    n = x.shape[0]
    xp = pad2d(x, padding)
    oh = (xp.shape[1] - kh) // stride
    ow = (xp.shape[2] - kw) // stride
    y = np.zeros((n, oh, ow, f), dtype=x.dtype)
    for i in range(oh):
        for j in range(ow):
            window = xp[:, i * stride : i * stride + kh, j * stride : j * stride + kw]
            y[:, i, j] = np.tensordot(window, w, axes=([1, 2, 3], [0, 1, 2]))
    return y


def wrong_filters_first(x, w, stride, padding):
    """reshapes the weights as if the filters were the first axis: w.reshape(F, -1).T"""
    kh, kw, _, f = w.shape
    cols = im2col(x, (kh, kw), stride, padding)
    y = cols @ w.reshape(f, -1).T
    oh = (x.shape[1] + 2 * padding - kh) // stride + 1
    return y.reshape(x.shape[0], oh, -1, f)


def wrong_channels_not_mixed(x, w, stride, padding):
    """looks at the first channel only, which fits images of one channel"""
    kh, kw = w.shape[:2]
    xp = np.pad(x[..., 0], ((0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(xp, (kh, kw), axis=(1, 2))
    return np.tensordot(windows[:, ::stride, ::stride], w[:, :, 0], axes=2)


def wrong_height_and_width_swapped(x, w, stride, padding):
    """swaps rows and columns inside the window"""
    xp = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    kh, kw = w.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(xp, (kw, kh), axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("nijcuv,vucf->nijf", windows, w)


def wrong_square_filter(x, w, stride, padding):
    """uses the filter's height for its width too"""
    k, _, _, f = w.shape
    n, h, wid, _ = x.shape
    xp = pad2d(x, padding)
    oh = (h + 2 * padding - k) // stride + 1
    ow = (wid + 2 * padding - k) // stride + 1
    y = np.zeros((n, oh, ow, f), x.dtype)
    for i in range(oh):
        for j in range(ow):
            patch = xp[:, i * stride : i * stride + k, j * stride : j * stride + k]
            y[:, i, j] = np.einsum("nuvc,uvcf->nf", patch, w)
    return y


def wrong_padded_before_and_not_behind(x, w, stride, padding):
    """pads at the top and on the left only, by twice the padding, so that the picture is shifted"""
    xp = np.pad(x, ((0, 0), (2 * padding, 0), (2 * padding, 0), (0, 0)))
    win = np.lib.stride_tricks.sliding_window_view(xp, w.shape[:2], axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("nijcuv,uvcf->nijf", win, w)


def wrong_first_image_only(x, w, stride, padding):
    """convolves the first image and repeats its output for the whole batch"""
    kh, kw, _, f = w.shape
    image = np.pad(x[0], ((padding, padding), (padding, padding), (0, 0)))
    oh = (image.shape[0] - kh) // stride + 1
    ow = (image.shape[1] - kw) // stride + 1
    y = np.zeros((len(x), oh, ow, f), x.dtype)
    for i in range(oh):
        for j in range(ow):
            window = image[i * stride : i * stride + kh, j * stride : j * stride + kw]
            y[:, i, j, :] = np.tensordot(window, w, axes=3)
    return y
