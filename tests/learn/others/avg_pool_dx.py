"""Right and wrong answers of learners to the exercise avg_pool_dx."""

import numpy as np


def right_loops(dy, x_shape, kernel, stride, padding):
    n, H, W, C = x_shape
    dx = np.zeros(x_shape, dtype=dy.dtype)
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            for h in range(i * stride - padding, i * stride - padding + kernel):
                for w in range(j * stride - padding, j * stride - padding + kernel):
                    if 0 <= h < H and 0 <= w < W:
                        dx[:, h, w] += dy[:, i, j] / (kernel * kernel)
    return dx


def right_two_matrices(dy, x_shape, kernel, stride, padding):
    def averaging(out, size):
        i, s = np.ogrid[:out, :size]
        inside = (s >= i * stride - padding) & (s < i * stride - padding + kernel)
        return inside.astype(dy.dtype) / kernel

    _, H, W, _ = x_shape
    tmp = np.tensordot(dy, averaging(dy.shape[1], H), axes=(1, 0))  # (N, OW, C, H)
    tmp = np.tensordot(tmp, averaging(dy.shape[2], W), axes=(1, 0))  # (N, C, H, W)
    return tmp.transpose(0, 2, 3, 1)


def right_add_at(dy, x_shape, kernel, stride, padding):
    n, h, w, c = x_shape
    k = np.arange(kernel)
    rows = (np.arange(dy.shape[1]) * stride)[:, None] + k
    cols = (np.arange(dy.shape[2]) * stride)[:, None] + k
    big = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dtype=dy.dtype)
    share = dy[:, :, None, :, None, :] / kernel**2  # (N, OH, 1, OW, 1, C)
    np.add.at(big, (slice(None), rows[:, :, None, None], cols[None, None]), share)
    return big[:, padding : padding + h, padding : padding + w]


def right_dilate_then_box_sum(dy, x_shape, kernel, stride, padding):
    n, h, w, c = x_shape
    _, oh, ow, _ = dy.shape
    k = kernel - 1
    spread = np.zeros((n, h + 2 * padding + k, w + 2 * padding + k, c), dtype=dy.dtype)
    spread[:, k : k + stride * oh : stride, k : k + stride * ow : stride] = dy
    box = np.lib.stride_tricks.sliding_window_view(spread, (kernel, kernel), axis=(1, 2)).mean(axis=(4, 5))
    return box[:, padding : padding + h, padding : padding + w]


def wrong_not_divided(dy, x_shape, kernel, stride, padding):
    """Every pixel receives the whole dy: the factor 1 / kernel^2 is missing."""
    N, H, W, C = x_shape
    dx = np.zeros((N, H + 2 * padding, W + 2 * padding, C), dy.dtype)
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            h, w = i * stride, j * stride
            dx[:, h : h + kernel, w : w + kernel] += dy[:, i, j][:, None, None, :]
    return dx[:, padding : padding + H, padding : padding + W]


def wrong_assigned(dy, x_shape, kernel, stride, padding):
    """= instead of +=: where windows overlap, the last one overwrites the others."""
    N, H, W, C = x_shape
    dx = np.zeros((N, H + 2 * padding, W + 2 * padding, C), dy.dtype)
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            window = np.ones((1, kernel, kernel, 1), dy.dtype) / kernel**2
            dx[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel] = (
                window * dy[:, i : i + 1, j : j + 1]
            )
    return dx[:, padding : padding + H, padding : padding + W]


def wrong_mean_of_the_windows(dy, x_shape, kernel, stride, padding):
    """Where windows overlap, the pixel receives their mean instead of their sum."""
    n, h, w, c = x_shape
    total = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dtype=dy.dtype)
    count = np.zeros_like(total)
    for i, j in np.ndindex(dy.shape[1:3]):
        area = np.s_[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
        total[area] += dy[:, i, j, np.newaxis, np.newaxis, :] / kernel**2
        count[area] += 1
    dx = total / np.maximum(count, 1)
    return dx[:, padding : padding + h, padding : padding + w]


def wrong_upsampling(dy, x_shape, kernel, stride, padding):
    """dy is enlarged by repetition, which is right only for windows side by side without padding."""
    up = dy.repeat(kernel, axis=1).repeat(kernel, axis=2) / kernel**2
    dx = np.zeros(x_shape, dy.dtype)
    h, w = min(up.shape[1], x_shape[1]), min(up.shape[2], x_shape[2])
    dx[:, :h, :w] = up[:, :h, :w]
    return dx


def wrong_divides_dy_in_place(dy, x_shape, kernel, stride, padding):
    """dy /= kernel^2 changes the caller's array."""
    dy /= kernel**2
    n, h, w, c = x_shape
    out = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dy.dtype)
    for kh in range(kernel):
        for kw in range(kernel):
            out[:, kh : kh + stride * dy.shape[1] : stride, kw : kw + stride * dy.shape[2] : stride] += dy
    return out[:, padding : padding + h, padding : padding + w]


def wrong_top_left_part(dy, x_shape, kernel, stride, padding):
    """The padding is cut off at the bottom and the right only: the picture is shifted by p pixels."""
    n, h, w, c = x_shape
    out = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dy.dtype)
    for y in range(dy.shape[1]):
        for x in range(dy.shape[2]):
            y0, x0 = y * stride, x * stride
            out[:, y0 : y0 + kernel, x0 : x0 + kernel, :] += dy[:, y : y + 1, x : x + 1, :] / (kernel * kernel)
    return out[:, :h, :w]


def wrong_stride_ignored(dy, x_shape, kernel, stride, padding):
    """The windows move by one pixel, whatever the stride is."""
    n, h, w, c = x_shape
    dxp = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dy.dtype)
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            g = dy[:, i, j] / kernel**2  # (N, C)
            dxp[:, i : i + kernel, j : j + kernel] += g.reshape(n, 1, 1, c)
    return dxp[:, padding : padding + h, padding : padding + w]


def wrong_real_pixels_only(dy, x_shape, kernel, stride, padding):
    """At the border dy is divided by the number of real pixels in the window, not by kernel^2."""
    n, h, w, c = x_shape
    dx = np.zeros(x_shape, dy.dtype)
    for i in range(dy.shape[1]):
        r0, r1 = max(i * stride - padding, 0), min(i * stride - padding + kernel, h)
        for j in range(dy.shape[2]):
            c0, c1 = max(j * stride - padding, 0), min(j * stride - padding + kernel, w)
            dx[:, r0:r1, c0:c1] += dy[:, i, j][:, None, None] / ((r1 - r0) * (c1 - c0))
    return dx
