"""Max pooling of a few images into given arrays: a block of `blocked`, or a tile of the engine.

The maxima come first, over the rows of the windows and then over the columns: 2 (K - 1) calls instead of K^2 - 1, and
the first ones run over whole rows of pixels. Then every pixel of the window is compared with the maximum, in reading
order. `later` is 1 as long as none was equal; the sum of all `later` is the offset of the first that is:

    window    y    equal        later       offset
    3 7       7    0 1 1 0      1 0 0 0     1
    7 2

The last pixel needs no comparison. Nothing is padded: a window at the border has fewer pixels.

`scratch(name, shape, dtype)` gives an array with anything in it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minidl.kernels.general import reference
from minidl.kernels.general.window import Window

Array = np.ndarray
Scratch = Callable[..., Array]


def max_pool(x: Array, y: Array, index: Array | None, window: Window, scratch: Scratch) -> None:
    """y (n, OH, OW, C) = the windows' maxima of x (n, H, W, C), and `index` = their offsets unless it is None.

    See reference.max_pool. It is asked if there is a NaN, which is equal to nothing.
    """
    (kh, kw), (sh, sw), ((top, _), (left, _)), _ = window
    rows = scratch("rows", (len(x), y.shape[1], *x.shape[2:]), x.dtype)
    _line_maxima(x, rows, kh, sh, top)
    _line_maxima(rows.swapaxes(1, 2), y.swapaxes(1, 2), kw, sw, left)
    if index is None:
        return
    later, differs = scratch("later", y.shape, bool), scratch("differs", y.shape, bool)
    later[...] = True
    index[...] = 0
    for offset in range(kh * kw - 1):
        windows, pixels = _inside(offset, x.shape, y.shape, window)
        later[windows] &= np.not_equal(x[pixels], y[windows], out=differs[windows])
        index += later.view(np.uint8)
    if np.isnan(np.vdot(y, y)):
        y[...], index[...] = reference.max_pool(x, window)


def max_pool_dx(dy: Array, index: Array, dx: Array, window: Window, scratch: Scratch) -> None:
    """dx (n, H, W, C) = the sum of dy (n, OH, OW, C) over the windows whose maximum lies there."""
    (kh, kw), (sh, sw), ((top, _), (left, _)), _ = window
    (_, h, w, _), (_, oh, ow, _) = dx.shape, dy.shape
    if (kh, kw) != (sh, sw) or sh * oh - h < top or sw * ow - w < left:  # a pixel is in no window, or in several
        dx[...] = 0
    hit, share = scratch("hit", dy.shape, bool), scratch("share", dy.shape, dy.dtype)
    for offset in range(kh * kw):
        np.equal(index, np.uint8(offset), out=hit)
        np.multiply(dy, hit, out=share)
        windows, pixels = _inside(offset, dx.shape, dy.shape, window)
        if kh > sh or kw > sw:
            dx[pixels] += share[windows]
        else:
            dx[pixels] = share[windows]


def _inside(offset: int, x_shape: tuple, y_shape: tuple, window: Window) -> tuple[tuple, tuple]:
    """The windows whose pixel at this offset lies inside of x, and these pixels: an index of y, and one of x."""
    windows, pixels = [slice(None)], [slice(None)]
    places = divmod(offset, window.kernel[1])
    axes = zip(places, window.stride, window.padding, x_shape[1:3], y_shape[1:3], strict=True)
    for k, stride, padding, size, count in axes:
        shift = k - padding[0]  # window i has its pixel at stride i + shift
        first = max(0, -(shift // stride))
        end = max(first, min(count, (size - 1 - shift) // stride + 1))
        windows.append(slice(first, end))
        pixels.append(slice(stride * first + shift, stride * end + shift, stride))
    return tuple(windows), tuple(pixels)


def _line_maxima(x: Array, y: Array, kernel: int, stride: int, padding: int) -> None:
    """y[:, i] = max of x[:, s i - p : s i - p + K], as far as it is inside of x."""
    first = min(-(-padding // stride), y.shape[1])
    end = max(first, min((x.shape[1] - kernel + padding) // stride + 1, y.shape[1]))
    lines = [
        x[:, stride * first + k - padding : stride * end + k - padding : stride][:, : end - first]
        for k in range(kernel)
    ]
    whole = y[:, first:end]
    np.maximum(lines[0], lines[min(1, kernel - 1)], out=whole)
    for line in lines[2:]:
        np.maximum(whole, line, out=whole)
    for i in [*range(first), *range(end, y.shape[1])]:
        x[:, max(0, stride * i - padding) : stride * i - padding + kernel].max(axis=1, out=y[:, i])
