"""Right and wrong answers of learners to the exercise avg_pool."""

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view


def right_loops(x, kernel, stride, padding):
    N, H, W, C = x.shape
    OH = 1 + (H + 2 * padding - kernel) // stride
    OW = 1 + (W + 2 * padding - kernel) // stride
    xp = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    y = np.zeros((N, OH, OW, C), dtype=x.dtype)
    for i in range(OH):
        for j in range(OW):
            window = xp[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel, :]
            y[:, i, j, :] = window.mean(axis=(1, 2))
    return y


def right_sliding_windows(x, kernel, stride, padding):
    xp = np.pad(x, [(0, 0), (padding, padding), (padding, padding), (0, 0)])
    windows = sliding_window_view(xp, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]
    return np.mean(windows, axis=(-2, -1), dtype=x.dtype)


def right_summed_area_table(x, kernel, stride, padding):
    n, h, w, c = x.shape
    table = np.zeros((n, h + 2 * padding + 1, w + 2 * padding + 1, c), dtype=np.float64)
    table[:, padding + 1 : padding + 1 + h, padding + 1 : padding + 1 + w] = x
    table = table.cumsum(axis=1).cumsum(axis=2)
    a, b = table[:, :-kernel], table[:, kernel:]
    box = (b[:, :, kernel:] - b[:, :, :-kernel]) - (a[:, :, kernel:] - a[:, :, :-kernel])
    return (box[:, ::stride, ::stride] / kernel**2).astype(x.dtype)


def right_two_matrices(x, kernel, stride, padding):
    def averaging(size):  # (out, size)
        out = (size + 2 * padding - kernel) // stride + 1
        first = np.arange(out)[:, None] * stride - padding
        s = np.arange(size)[None, :]
        return ((s >= first) & (s < first + kernel)).astype(x.dtype) / kernel

    rows, cols = averaging(x.shape[1]), averaging(x.shape[2])
    return np.einsum("ih,nhwc,jw->nijc", rows, x, cols, optimize=True)


def wrong_counts_only_real_pixels(x, kernel, stride, padding):
    """Divides by the number of real pixels in the window; padding should count too."""
    n, h, w, c = x.shape
    oh, ow = (h + 2 * padding - kernel) // stride + 1, (w + 2 * padding - kernel) // stride + 1
    y = np.empty((n, oh, ow, c), x.dtype)
    for i in range(oh):
        for j in range(ow):
            top, left = i * stride - padding, j * stride - padding
            y[:, i, j] = x[:, max(top, 0) : top + kernel, max(left, 0) : left + kernel].mean(axis=(1, 2))
    return y


def wrong_sum(x, kernel, stride, padding):
    """The sum of the window, not divided by the number of its pixels."""
    xp = np.pad(x, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)))
    w = sliding_window_view(xp, (kernel, kernel), (1, 2))
    return w.sum(axis=(4, 5))[:, ::stride, ::stride]


def wrong_divided_by_kernel(x, kernel, stride, padding):
    """Divides by the side of the window, not by the number of its pixels."""
    n, h, w, c = x.shape
    xp = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dtype=x.dtype)
    xp[:, padding : padding + h, padding : padding + w] = x
    oh, ow = (h + 2 * padding - kernel) // stride + 1, (w + 2 * padding - kernel) // stride + 1
    y = np.zeros((n, oh, ow, c), dtype=x.dtype)
    for a in range(kernel):
        for b in range(kernel):
            y += xp[:, a : a + stride * oh : stride, b : b + stride * ow : stride]
    return y / kernel


def wrong_floor_division(x, kernel, stride, padding):
    """Divides with //, which rounds down to whole numbers."""
    xp = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    oh = (xp.shape[1] - kernel) // stride + 1
    ow = (xp.shape[2] - kernel) // stride + 1
    out = np.zeros((x.shape[0], oh, ow, x.shape[3]), x.dtype)
    for r in range(oh):
        for s in range(ow):
            out[:, r, s] = xp[:, r * stride :][:, :kernel, s * stride :][:, :, :kernel].sum((1, 2)) // kernel**2
    return out


def wrong_mean_over_channels(x, kernel, stride, padding):
    """The mean is taken over the channels too, so all channels get the same value."""
    xp = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    N, H, W, C = xp.shape
    y = np.zeros((N, (H - kernel) // stride + 1, (W - kernel) // stride + 1, C), dtype=x.dtype)
    for n in range(N):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                y[n, i, j] = np.mean(xp[n, i * stride : i * stride + kernel, j * stride : j * stride + kernel])
    return y


def wrong_last_window_lost(x, kernel, stride, padding):
    """The + 1 in the output size is missing: the last row and column of windows are lost."""
    xp = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    oh = (x.shape[1] + 2 * padding - kernel) // stride
    ow = (x.shape[2] + 2 * padding - kernel) // stride
    parts = [
        xp[:, a : a + stride * oh : stride, b : b + stride * ow : stride]
        for a in range(kernel)
        for b in range(kernel)
    ]
    return sum(parts) / kernel**2


def wrong_strides_of_a_contiguous_array(x, kernel, stride, padding):
    """The strides are computed as if x were contiguous: wrong for a view such as a transpose or a slice."""
    if padding:
        x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    n, h, w, c = x.shape
    oh, ow = (h - kernel) // stride + 1, (w - kernel) // stride + 1
    b = x.itemsize
    image, row, pixel = h * w * c * b, w * c * b, c * b
    shape = (n, oh, ow, kernel, kernel, c)
    patches = as_strided(x, shape, (image, row * stride, pixel * stride, row, pixel, b))
    return patches.mean(axis=(3, 4))


def wrong_steps_of_kernel(x, kernel, stride, padding):
    """The windows move by the kernel instead of the stride."""
    xp = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    oh = (xp.shape[1] - kernel) // stride + 1
    ow = (xp.shape[2] - kernel) // stride + 1
    y = np.zeros((x.shape[0], oh, ow, x.shape[3]), x.dtype)
    for i in range(oh):
        for j in range(ow):
            win = xp[:, i * kernel : (i + 1) * kernel, j * kernel : (j + 1) * kernel]
            y[:, i, j] = win.sum(axis=1).sum(axis=1) / kernel**2
    return y


def wrong_height_used_for_width(x, kernel, stride, padding):
    """The number of windows is computed from the height for both axes: right for square images only."""
    xp = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    size = (xp.shape[1] - kernel) // stride + 1
    y = np.zeros((x.shape[0], size, size, x.shape[3]), x.dtype)
    for i in range(size):
        for j in range(size):
            y[:, i, j] = xp[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel].mean(axis=(1, 2))
    return y
