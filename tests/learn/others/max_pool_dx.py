"""Right and wrong answers of learners to the exercise max_pool_dx (overlap "sum" only)."""

import numpy as np


def right_one_window_at_a_time(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    N, H, W, C = x_shape
    dx = np.zeros((N, H + 2 * padding, W + 2 * padding, C), dtype=dy.dtype)
    _, out_h, out_w, _ = dy.shape
    for n in range(N):
        for i in range(out_h):
            for j in range(out_w):
                for c in range(C):
                    r, q = divmod(int(index[n, i, j, c]), kernel)
                    dx[n, i * stride + r, j * stride + q, c] += dy[n, i, j, c]
    return dx[:, padding : padding + H, padding : padding + W, :]


def right_add_at(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    n, h, w, c = x_shape
    n_i, oh_i, ow_i, c_i = np.indices(dy.shape)
    k = index.astype(np.int64)
    row = oh_i * stride + k // kernel
    col = ow_i * stride + k % kernel
    out = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dy.dtype)
    np.add.at(out, (n_i, row, col, c_i), dy)
    return out[:, padding : h + padding, padding : w + padding]


def right_bincount(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    n, h, w, c = x_shape
    hp, wp = h + 2 * padding, w + 2 * padding
    a, i, j, b = np.ogrid[tuple(slice(0, s) for s in dy.shape)]
    k = index.astype(int)
    flat = ((a * hp + i * stride + k // kernel) * wp + j * stride + k % kernel) * c + b
    total = np.bincount(flat.ravel(), weights=dy.ravel(), minlength=n * hp * wp * c)
    dx = total.reshape(n, hp, wp, c).astype(dy.dtype)  # (size,) -> (N, H + 2p, W + 2p, C)
    return dx[:, padding : hp - padding, padding : wp - padding]


def right_mask_for_every_offset(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    n, h, w, c = x_shape
    oh, ow = dy.shape[1], dy.shape[2]
    dxp = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dtype=dy.dtype)
    for r in range(kernel):
        for q in range(kernel):
            mine = np.where(index == r * kernel + q, dy, dy.dtype.type(0))
            dxp[:, r : r + (oh - 1) * stride + 1 : stride, q : q + (ow - 1) * stride + 1 : stride] += mine
    return dxp[:, padding : padding + h, padding : padding + w]


def right_einsum(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    def reach(out, size):  # (out, kernel, size): 1 where tap k of window o lies on pixel s
        o, k, s = np.ogrid[:out, :kernel, :size]
        return (o * stride + k - padding == s).astype(dy.dtype)

    n, oh, ow, c = dy.shape
    one_hot = (index[..., None] == np.arange(kernel * kernel)).reshape(n, oh, ow, c, kernel, kernel)
    rows, cols = reach(oh, x_shape[1]), reach(ow, x_shape[2])
    return np.einsum("nijc,nijcab,iah,jbw->nhwc", dy, one_hot.astype(dy.dtype), rows, cols, optimize=True)


def wrong_fancy_plus_equals(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """+= with repeated indices keeps one of them: where windows share their maximum, only one dy arrives."""
    n, h, w, c = x_shape
    dx = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dy.dtype)
    ni, i, j, ci = np.indices(dy.shape)
    k = index.astype(int)
    dx[ni, stride * i + k // kernel, stride * j + k % kernel, ci] += dy
    return dx[:, padding : padding + h, padding : padding + w]


def wrong_row_and_column_exchanged(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """The index is read as kw K + kh: row and column in the window are exchanged."""
    n, h, w, c = x_shape
    dx = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dy.dtype)
    for b in range(n):
        for i in range(dy.shape[1]):
            for j in range(dy.shape[2]):
                for ch in range(c):
                    col, row = divmod(int(index[b, i, j, ch]), kernel)
                    dx[b, stride * i + row, stride * j + col, ch] += dy[b, i, j, ch]
    return dx[:, padding : padding + h, padding : padding + w]


def wrong_padding_not_cut(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """The padding is not cut off at the end, so dx is larger than x."""
    N, H, W, C = x_shape
    dx = np.zeros([N, H + padding * 2, W + padding * 2, C], dtype=dy.dtype)
    for k in range(kernel**2):
        kh, kw = k // kernel, k % kernel
        for i in range(dy.shape[1]):
            for j in range(dy.shape[2]):
                dx[:, i * stride + kh, j * stride + kw] += dy[:, i, j] * (index[:, i, j] == k)
    return dx


def wrong_minus_padding_slice(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """The border is cut with [p:-p], which leaves nothing if there is no padding."""
    n, h, w, c = x_shape
    dpad = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dy.dtype)
    where = np.indices(dy.shape)
    kh, kw = np.divmod(index.astype(int), kernel)
    np.add.at(dpad, (where[0], where[1] * stride + kh, where[2] * stride + kw, where[3]), dy)
    return dpad[:, padding:-padding, padding:-padding]


def wrong_steps_of_kernel(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """Windows are taken to lie side by side: the step is the kernel, not the stride."""
    n, h, w, c = x_shape
    dx = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dy.dtype)
    for b, i, j, ch in np.ndindex(*dy.shape):
        k = int(index[b, i, j, ch])
        r, q = kernel * i + k // kernel, kernel * j + k % kernel
        if r < dx.shape[1] and q < dx.shape[2]:
            dx[b, r, q, ch] += dy[b, i, j, ch]
    return dx[:, padding : padding + h, padding : padding + w]


def wrong_whole_window(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """Every pixel of the window receives dy, not only the maximum."""
    n, h, w, c = x_shape
    dx = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dy.dtype)
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            top, left = i * stride, j * stride
            dx[:, top : top + kernel, left : left + kernel, :] += dy[:, i : i + 1, j : j + 1, :]
    return dx[:, padding : padding + h, padding : padding + w]


def wrong_padding_forgotten(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """The window's position on x ignores the padding: everything lands p rows and columns too far."""
    dx = np.zeros(x_shape, dtype=dy.dtype)
    n, h, w, c = x_shape
    for b, i, j, ch in np.ndindex(*dy.shape):
        r = i * stride + index[b, i, j, ch] // kernel
        q = j * stride + index[b, i, j, ch] % kernel
        if r < h and q < w:
            dx[b, r, q, ch] += dy[b, i, j, ch]
    return dx


def wrong_one_image(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """All images use the switches of the first image of the batch."""
    n, h, w, c = x_shape
    dx = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dy.dtype)
    switch = index[0].astype(int)
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            for ch in range(c):
                k = switch[i, j, ch]
                dx[:, i * stride + k // kernel, j * stride + k % kernel, ch] += dy[:, i, j, ch]
    return dx[:, padding : padding + h, padding : padding + w]
