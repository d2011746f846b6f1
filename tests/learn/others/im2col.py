"""Solutions of im2col as different students write them: every patch becomes a row."""

import numpy as np

from minidl.kernels.reference import pad2d


def right_row_by_row(x, kernel, stride, padding):
    kh, kw = kernel
    n, h, w, c = x.shape
    xp = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    oh = (h + 2 * padding - kh) // stride + 1
    ow = (w + 2 * padding - kw) // stride + 1
    cols = np.zeros((n * oh * ow, kh * kw * c), dtype=x.dtype)
    p = 0
    for b in range(n):
        for i in range(0, oh * stride, stride):
            for j in range(0, ow * stride, stride):
                cols[p] = xp[b, i : i + kh, j : j + kw].ravel()
                p += 1
    return cols


def right_sliding_windows(x, kernel, stride, padding):
    padded = np.pad(x, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)))
    v = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(1, 2))[:, ::stride, ::stride]
    v = v.transpose(0, 1, 2, 4, 5, 3)  # (N, OH, OW, C, KH, KW) -> (N, OH, OW, KH, KW, C)
    return v.reshape(-1, kernel[0] * kernel[1] * x.shape[3])


def right_strided_view(x, kernel, stride, padding):
    xp = pad2d(x, padding)
    n, h, w, c = xp.shape
    kh, kw = kernel
    sn, sh, sw, sc = xp.strides
    oh, ow = (h - kh) // stride + 1, (w - kw) // stride + 1
    view = np.lib.stride_tricks.as_strided(xp, (n, oh, ow, kh, kw, c), (sn, sh * stride, sw * stride, sh, sw, sc))
    return view.reshape(n * oh * ow, kh * kw * c)


def right_index_arrays(x, kernel, stride, padding):
    xp = pad2d(x, padding)
    kh, kw = kernel
    top = np.arange(0, xp.shape[1] - kh + 1, stride)
    left = np.arange(0, xp.shape[2] - kw + 1, stride)
    rows = top[:, None, None, None] + np.arange(kh)[None, None, :, None]
    cols = left[None, :, None, None] + np.arange(kw)[None, None, None, :]
    patches = xp[:, rows, cols]  # (N, OH, OW, KH, KW, C)
    return patches.reshape(len(x) * len(top) * len(left), -1)


def right_flat_take(x, kernel, stride, padding):
    n, h, w, c = x.shape
    numbers = np.arange(1, n * h * w * c + 1).reshape(n, h, w, c)
    numbers = np.pad(numbers, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    flat = np.concatenate([np.zeros(1, x.dtype), x.reshape(-1)])
    rows = []
    for image in numbers:
        for i in range(0, image.shape[0] - kernel[0] + 1, stride):
            for j in range(0, image.shape[1] - kernel[1] + 1, stride):
                rows.append(image[i : i + kernel[0], j : j + kernel[1]].reshape(-1))
    return flat[np.array(rows)]


def wrong_channels_before_the_window(x, kernel, stride, padding):
    """orders the columns (C, KH, KW), as torch's unfold does"""
    xp = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    v = np.lib.stride_tricks.sliding_window_view(xp, kernel, axis=(1, 2))[:, ::stride, ::stride]
    return v.reshape(-1, x.shape[3] * kernel[0] * kernel[1])


def wrong_window_read_downwards(x, kernel, stride, padding):
    """reads the window column by column"""
    kh, kw = kernel
    xp = pad2d(x, padding)
    rows = []
    for image in xp:
        for i in range(0, image.shape[0] - kh + 1, stride):
            for j in range(0, image.shape[1] - kw + 1, stride):
                rows.append(image[i : i + kh, j : j + kw].swapaxes(0, 1).ravel())
    return np.stack(rows)


def wrong_images_vary_fastest(x, kernel, stride, padding):
    """orders the rows (OH, OW, N), as CS231n does"""
    kh, kw = kernel
    xp = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    n = x.shape[0]
    out = []
    for i in range(0, xp.shape[1] - kh + 1, stride):
        for j in range(0, xp.shape[2] - kw + 1, stride):
            out.append(xp[:, i : i + kh, j : j + kw, :].reshape(n, -1))
    return np.concatenate(out, axis=0)


def wrong_patches_as_columns(x, kernel, stride, padding):
    """returns the transposed matrix: a patch in each column"""
    kh, kw = kernel
    xp = pad2d(x, padding)
    view = np.lib.stride_tricks.sliding_window_view(xp, (kh, kw), axis=(1, 2))[:, ::stride, ::stride]
    return np.moveaxis(view, 3, 5).reshape(-1, kh * kw * x.shape[-1]).T


def wrong_stride_of_one(x, kernel, stride, padding):
    """ignores the stride"""
    xp = pad2d(x, padding)
    kh, kw = kernel
    i = np.arange(xp.shape[1] - kh + 1)[:, None, None, None] + np.arange(kh)[:, None]
    j = np.arange(xp.shape[2] - kw + 1)[:, None, None] + np.arange(kw)
    return xp[:, i, j].reshape(-1, kh * kw * x.shape[3])


def wrong_no_padding(x, kernel, stride, padding):
    """forgets the padding"""
    kh, kw = kernel
    n, h, w, c = x.shape
    oh, ow = (h - kh) // stride + 1, (w - kw) // stride + 1
    patches = np.empty((n, oh, ow, kh, kw, c), x.dtype)
    for i in range(oh):
        for j in range(ow):
            patches[:, i, j] = x[:, stride * i : stride * i + kh, stride * j : stride * j + kw]
    return patches.reshape(n * oh * ow, -1)


def wrong_square_kernel(x, kernel, stride, padding):
    """takes the kernel's first number for height and width"""
    k = kernel[0]
    xp = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    v = np.lib.stride_tricks.sliding_window_view(xp, (k, k), axis=(1, 2))[:, ::stride, ::stride]
    return v.transpose(0, 1, 2, 4, 5, 3).reshape(-1, k * k * x.shape[3])


def wrong_float64(x, kernel, stride, padding):
    """collects the patches in np.zeros without a dtype, so that float32 becomes float64"""
    kh, kw = kernel
    n, h, w, c = x.shape
    xp = pad2d(x, padding)
    oh = (h + 2 * padding - kh) // stride + 1
    ow = (w + 2 * padding - kw) // stride + 1
    cols = np.zeros((n, oh, ow, kh, kw, c))
    for u in range(kh):
        for v in range(kw):
            cols[:, :, :, u, v] = xp[:, u : u + stride * oh : stride, v : v + stride * ow : stride]
    return cols.reshape(n * oh * ow, kh * kw * c)


def wrong_strides_of_the_unpadded_image(x, kernel, stride, padding):
    """gives as_strided the strides of a contiguous array, though x (with padding 0) may be a view"""
    n, h, w, c = x.shape
    xp = pad2d(x, padding) if padding else x
    h, w = h + 2 * padding, w + 2 * padding
    b = x.itemsize
    kh, kw = kernel
    oh, ow = (h - kh) // stride + 1, (w - kw) // stride + 1
    flat = xp.ravel(order="K")
    strides = (h * w * c * b, stride * w * c * b, stride * c * b, w * c * b, c * b, b)
    view = np.lib.stride_tricks.as_strided(flat, (n, oh, ow, kh, kw, c), strides)
    return view.reshape(n * oh * ow, -1)


def wrong_last_window_missing(x, kernel, stride, padding):
    """stops the loops one position too early"""
    kh, kw = kernel
    xp = pad2d(x, padding)
    rows = []
    for b in range(len(xp)):
        for i in range(0, xp.shape[1] - kh, stride):
            for j in range(0, xp.shape[2] - kw, stride):
                rows.append(xp[b, i : i + kh, j : j + kw].flatten())
    return np.array(rows, dtype=x.dtype).reshape(-1, kh * kw * x.shape[3])
