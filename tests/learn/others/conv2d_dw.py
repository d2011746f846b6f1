"""Solutions of conv2d_dw as different students write them: the gradient of the filters."""

import numpy as np

from minidl.kernels.reference import im2col, pad2d


def right_window_by_window(x, dy, w_shape, stride, padding):
    kh, kw, _, _ = w_shape
    xp = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    dw = np.zeros(w_shape, dtype=dy.dtype)
    n, oh, ow, _ = dy.shape
    for b in range(n):
        for i in range(oh):
            for j in range(ow):
                window = xp[b, i * stride : i * stride + kh, j * stride : j * stride + kw]
                dw += window[..., None] * dy[b, i, j]
    return dw


def right_sliding_windows(x, dy, w_shape, stride, padding):
    xp = pad2d(x, padding)
    v = np.lib.stride_tricks.sliding_window_view(xp, w_shape[:2], axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("nijcuv,nijf->uvcf", v, dy)


def right_tap_by_tap(x, dy, w_shape, stride, padding):
    xp = pad2d(x, padding)
    _, oh, ow, _ = dy.shape
    dw = np.empty(w_shape, x.dtype)
    for u, v in np.ndindex(w_shape[:2]):
        seen = xp[:, u : u + stride * oh : stride, v : v + stride * ow : stride]
        dw[u, v] = np.tensordot(seen, dy, axes=([0, 1, 2], [0, 1, 2]))
    return dw


def right_dy_as_a_dilated_filter(x, dy, w_shape, stride, padding):
    kh, kw, c, f = w_shape
    n, oh, ow, _ = dy.shape
    holes = np.zeros((n, (oh - 1) * stride + 1, (ow - 1) * stride + 1, f), dy.dtype)
    holes[:, ::stride, ::stride] = dy
    xp = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    dw = np.zeros((kh, kw, c, f), dy.dtype)
    for u in range(kh):
        for v in range(kw):
            part = xp[:, u : u + holes.shape[1], v : v + holes.shape[2]]
            dw[u, v] = part.reshape(-1, c).T @ holes.reshape(-1, f)
    return dw


def right_patch_matrix(x, dy, w_shape, stride, padding):
    cols = im2col(x, w_shape[:2], stride, padding)
    flat = dy.reshape(len(cols), -1)
    return np.dot(flat.T, cols).T.reshape(w_shape)


def wrong_reshaped_without_transposing_back(x, dy, w_shape, stride, padding):
    """computes dy.T @ patches, which is (F, K), and reshapes it to (KH, KW, C, F) without transposing"""
    cols = im2col(x, w_shape[:2], stride, padding)
    return (dy.reshape(-1, w_shape[3]).T @ cols).reshape(w_shape)


def wrong_dy_in_the_wrong_order(x, dy, w_shape, stride, padding):
    """moves the filters of dy to the front but reads them back as if they stood last"""
    cols = im2col(x, w_shape[:2], stride, padding)
    flat = dy.transpose(3, 0, 1, 2).reshape(-1, w_shape[3])
    return (cols.T @ flat).reshape(w_shape)


def wrong_no_padding(x, dy, w_shape, stride, padding):
    """reads the windows from the image without its padding"""
    kh, kw, _, _ = w_shape
    dw = np.zeros(w_shape, dtype=x.dtype)
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            window = x[:, i * stride : i * stride + kh, j * stride : j * stride + kw]
            part = np.tensordot(window, dy[:, i, j], axes=(0, 0))
            dw[: part.shape[0], : part.shape[1]] += part
    return dw


def wrong_windows_one_pixel_apart(x, dy, w_shape, stride, padding):
    """moves the window by one pixel in place of the stride"""
    kh, kw, _, _ = w_shape
    xp = pad2d(x, padding)
    dw = np.zeros(w_shape, dy.dtype)
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            dw += np.einsum("nuvc,nf->uvcf", xp[:, i : i + kh, j : j + kw], dy[:, i, j])
    return dw


def wrong_assigns(x, dy, w_shape, stride, padding):
    """assigns the gradient of each window where the windows must be added, so that the last one stays"""
    kh, kw, _, _ = w_shape
    xp = pad2d(x, padding)
    dw = np.zeros(w_shape, dy.dtype)
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            part = xp[:, i * stride : i * stride + kh, j * stride : j * stride + kw]
            dw = np.tensordot(part, dy[:, i, j], axes=(0, 0))
    return dw


def wrong_mean_over_the_batch(x, dy, w_shape, stride, padding):
    """divides by the batch size"""
    xp = pad2d(x, padding)
    v = np.lib.stride_tricks.sliding_window_view(xp, w_shape[:2], axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("nijcuv,nijf->uvcf", v, dy) / x.shape[0]


def wrong_flipped(x, dy, w_shape, stride, padding):
    """turns the filter's gradient round"""
    _, oh, ow, _ = dy.shape
    xp = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    dw = np.zeros(w_shape, dy.dtype)
    kh, kw = w_shape[:2]
    for u in range(kh):
        for v in range(kw):
            seen = xp[:, u : u + stride * oh : stride, v : v + stride * ow : stride]
            dw[kh - 1 - u, kw - 1 - v] = np.tensordot(seen, dy, axes=([0, 1, 2], [0, 1, 2]))
    return dw


def wrong_last_image_only(x, dy, w_shape, stride, padding):
    """starts from zero again for each image, so that only the last one counts"""
    kh, kw, _, _ = w_shape
    xp = pad2d(x, padding)
    for n in range(len(x)):
        dw = np.zeros(w_shape, dy.dtype)
        for i in range(dy.shape[1]):
            for j in range(dy.shape[2]):
                window = xp[n, stride * i : stride * i + kh, stride * j : stride * j + kw]
                dw += np.multiply.outer(window, dy[n, i, j])
    return dw


def wrong_taps_swapped(x, dy, w_shape, stride, padding):
    """swaps rows and columns of the filter"""
    kh, kw, _, _ = w_shape
    xp = pad2d(x, padding)
    _, oh, ow, _ = dy.shape
    dw = np.zeros((kw, kh, *w_shape[2:]), dy.dtype)
    for u in range(kh):
        for v in range(kw):
            seen = xp[:, u : u + stride * oh : stride, v : v + stride * ow : stride]
            dw[v, u] = np.einsum("nijc,nijf->cf", seen, dy)
    return dw.reshape(w_shape)
