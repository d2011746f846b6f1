"""Solutions of conv2d_dx as different students write them: the gradient of the input of a convolution."""

import numpy as np

from minidl.kernels.reference import col2im


def right_window_by_window(dy, w, x_shape, stride, padding):
    n, h, wid, c = x_shape
    kh, kw, _, _ = w.shape
    dx = np.zeros((n, h + 2 * padding, wid + 2 * padding, c), dtype=dy.dtype)
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            back = np.tensordot(dy[:, i, j], w, axes=(1, 3))  # (N, F), (KH, KW, C, F) -> (N, KH, KW, C)
            dx[:, i * stride : i * stride + kh, j * stride : j * stride + kw] += back
    return dx[:, padding : padding + h, padding : padding + wid]


def right_tap_by_tap(dy, w, x_shape, stride, padding):
    n, h, wid, c = x_shape
    _, oh, ow, _ = dy.shape
    padded = np.zeros((n, h + 2 * padding, wid + 2 * padding, c), dy.dtype)
    for u, v in np.ndindex(w.shape[:2]):
        padded[:, u : u + stride * oh : stride, v : v + stride * ow : stride] += dy @ w[u, v].T
    return padded[:, padding : padding + h, padding : padding + wid]


def right_full_convolution(dy, w, x_shape, stride, padding):
    n, h, wid, c = x_shape
    kh, kw, _, f = w.shape
    _, oh, ow, _ = dy.shape
    # dy with stride - 1 zeros between its pixels and a border of KH - 1, then the filter turned round
    wide = np.zeros((n, (oh - 1) * stride + 2 * kh - 1, (ow - 1) * stride + 2 * kw - 1, f), dy.dtype)
    wide[:, kh - 1 : kh - 1 + oh * stride : stride, kw - 1 : kw - 1 + ow * stride : stride] = dy
    windows = np.lib.stride_tricks.sliding_window_view(wide, (kh, kw), axis=(1, 2))
    part = np.einsum("nijfuv,uvcf->nijc", windows, w[::-1, ::-1])
    dx = np.zeros((n, h + 2 * padding, wid + 2 * padding, c), dy.dtype)
    dx[:, : part.shape[1], : part.shape[2]] = part
    return dx[:, padding : padding + h, padding : padding + wid]


def right_add_at(dy, w, x_shape, stride, padding):
    n, h, wid, c = x_shape
    kh, kw, _, _ = w.shape
    _, oh, ow, _ = dy.shape
    dp = np.einsum("nijf,uvcf->nijuvc", dy, w)
    b, i, j, u, v, ch = np.ogrid[:n, :oh, :ow, :kh, :kw, :c]
    dx = np.zeros((n, h + 2 * padding, wid + 2 * padding, c), dy.dtype)
    np.add.at(dx, (b, i * stride + u, j * stride + v, ch), dp)
    return dx[:, padding : h + padding, padding : wid + padding]


def right_the_equation(dy, w, x_shape, stride, padding):
    _, h, wid, _ = x_shape
    kh, kw, _, _ = w.shape
    _, oh, ow, _ = dy.shape
    dx = np.zeros(x_shape, dy.dtype)
    for row in range(h):
        for column in range(wid):
            for i in range(oh):
                u = row + padding - stride * i
                if not 0 <= u < kh:
                    continue
                for j in range(ow):
                    v = column + padding - stride * j
                    if 0 <= v < kw:
                        dx[:, row, column] += dy[:, i, j] @ w[u, v].T
    return dx


def wrong_filter_not_turned(dy, w, x_shape, stride, padding):
    """correlates dy with the filter where the filter must be turned round"""
    n, h, wid, c = x_shape
    kh, kw, _, f = w.shape
    _, oh, ow, _ = dy.shape
    wide = np.zeros((n, (oh - 1) * stride + 2 * kh - 1, (ow - 1) * stride + 2 * kw - 1, f), dy.dtype)
    wide[:, kh - 1 : kh - 1 + oh * stride : stride, kw - 1 : kw - 1 + ow * stride : stride] = dy
    windows = np.lib.stride_tricks.sliding_window_view(wide, (kh, kw), axis=(1, 2))
    part = np.einsum("nijfuv,uvcf->nijc", windows, w)
    dx = np.zeros((n, h + 2 * padding, wid + 2 * padding, c), dy.dtype)
    dx[:, : part.shape[1], : part.shape[2]] = part
    return dx[:, padding : padding + h, padding : padding + wid]


def wrong_assigns(dy, w, x_shape, stride, padding):
    """assigns the gradient of a window where overlapping windows must be added"""
    n, h, wid, c = x_shape
    kh, kw = w.shape[:2]
    dx = np.zeros((n, h + 2 * padding, wid + 2 * padding, c), dtype=dy.dtype)
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            top, left = i * stride, j * stride
            dx[:, top : top + kh, left : left + kw] = np.einsum("nf,uvcf->nuvc", dy[:, i, j], w)
    return dx[:, padding : padding + h, padding : padding + wid]


def wrong_padding_not_cropped(dy, w, x_shape, stride, padding):
    """returns the gradient of the padded image"""
    n, h, wid, c = x_shape
    _, oh, ow, _ = dy.shape
    dxp = np.zeros((n, h + 2 * padding, wid + 2 * padding, c), dy.dtype)
    for u in range(w.shape[0]):
        for v in range(w.shape[1]):
            dxp[:, u : u + stride * oh : stride, v : v + stride * ow : stride] += np.tensordot(dy, w[u, v], (3, 1))
    return dxp


def wrong_padding_ignored(dy, w, x_shape, stride, padding):
    """adds the windows to an image without padding, so that everything is shifted"""
    n, h, wid, c = x_shape
    kh, kw, _, _ = w.shape
    dx = np.zeros((n, max(h, dy.shape[1] * stride + kh), max(wid, dy.shape[2] * stride + kw), c), dy.dtype)
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            back = np.tensordot(dy[:, i, j], w, axes=(1, 3))
            dx[:, i * stride : i * stride + kh, j * stride : j * stride + kw] += back
    return dx[:, :h, :wid]


def wrong_stride_ignored(dy, w, x_shape, stride, padding):
    """moves the window by one pixel whatever the stride"""
    n, h, wid, c = x_shape
    kh, kw = w.shape[:2]
    dxp = np.zeros((n, h + 2 * padding, wid + 2 * padding, c), dy.dtype)
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            dxp[:, i : i + kh, j : j + kw] += np.einsum("nf,uvcf->nuvc", dy[:, i, j], w)
    return dxp[:, padding : padding + h, padding : padding + wid]


def wrong_weights_not_transposed(dy, w, x_shape, stride, padding):
    """reshapes the weights to (F, K), where the (K, F) matrix must be transposed"""
    kh, kw, _, f = w.shape
    dpatches = dy.reshape(-1, f) @ w.reshape(f, -1)
    return col2im(dpatches, x_shape, (kh, kw), stride, padding)


def wrong_first_filter_only(dy, w, x_shape, stride, padding):
    """adds up the dy of all filters and multiplies by the first filter"""
    kh, kw = w.shape[:2]
    dpatches = dy.sum(axis=3).reshape(-1, 1) * w[..., 0].reshape(1, -1)
    return col2im(dpatches, x_shape, (kh, kw), stride, padding)


def wrong_same_convolution(dy, w, x_shape, stride, padding):
    """pads dy by the padding of the forward pass in place of KH - 1 - padding, which fits `same` windows only"""
    n, h, wid, c = x_shape
    kh, kw, _, f = w.shape
    _, oh, ow, _ = dy.shape
    up = np.zeros((n, (oh - 1) * stride + 1, (ow - 1) * stride + 1, f), dy.dtype)
    up[:, ::stride, ::stride] = dy
    up = np.pad(up, ((0, 0), (padding, padding + kh), (padding, padding + kw), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(up, (kh, kw), axis=(1, 2))
    part = np.einsum("nijfuv,uvcf->nijc", windows, w[::-1, ::-1])[:, :h, :wid]
    dx = np.zeros(x_shape, dy.dtype)
    dx[:, : part.shape[1], : part.shape[2]] = part
    return dx


def wrong_channels_and_filters_swapped(dy, w, x_shape, stride, padding):
    """sums over the channels of the filters in place of the filters, which runs for C = F only"""
    n, h, wid, c = x_shape
    _, oh, ow, _ = dy.shape
    dxp = np.zeros((n, h + 2 * padding, wid + 2 * padding, c), dy.dtype)
    for u, v in np.ndindex(w.shape[:2]):
        dxp[:, u : u + stride * oh : stride, v : v + stride * ow : stride] += dy @ w[u, v]
    return dxp[:, padding : padding + h, padding : padding + wid]
