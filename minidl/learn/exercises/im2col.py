"""All patches of an image as the rows of a matrix."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from minidl.kernels import reference
from minidl.learn.exercise import Arguments, Exercise, Mistake, returns
from minidl.learn.exercises.images import conv_cases, over_the_border


def _where_from(arguments: Arguments, name: str, index: tuple[int, ...]) -> str:
    """Which pixel belongs into this entry."""
    x, (kernel_h, kernel_w) = arguments["x"], arguments["kernel"]
    stride, padding = arguments["stride"], arguments["padding"]
    _, oh, ow = len(x), *reference.out_size(x.shape, (kernel_h, kernel_w), stride, padding)
    n, i, j = (int(v) for v in np.unravel_index(index[0], (len(x), oh, ow)))
    kh, kw, c = (int(v) for v in np.unravel_index(index[1], (kernel_h, kernel_w, x.shape[3])))
    h, w = i * stride + kh - padding, j * stride + kw - padding
    inside = 0 <= h < x.shape[1] and 0 <= w < x.shape[2]
    pixel = f"x[{n}, {h}, {w}, {c}], which is {x[n, h, w, c]:.6g}" if inside else "a pixel of the padding, which is 0"
    return f"row {index[0]} is window ({i}, {j}) of image {n}; column {index[1]} is its pixel ({kh}, {kw}): {pixel}"


def _border(arguments: Arguments, name: str) -> Mapping[str, np.ndarray]:
    x, kernel = arguments["x"], arguments["kernel"]
    over = over_the_border(x.shape, kernel, arguments["stride"], arguments["padding"])
    rows = np.broadcast_to(over, (len(x), *over.shape)).reshape(-1, 1)  # (N, OH, OW) -> (P, 1)
    return {
        "in the windows that reach over the border": np.repeat(rows, kernel[0] * kernel[1] * x.shape[3], axis=1),
    }


def _columns_first(x: np.ndarray, kernel: tuple[int, int], stride: int, padding: int) -> np.ndarray:
    patches = reference.im2col(x, kernel, stride, padding)
    return patches.reshape(-1, *kernel, x.shape[3]).swapaxes(1, 2).reshape(patches.shape)


def _window_lost(x: np.ndarray, kernel: tuple[int, int], stride: int, padding: int) -> np.ndarray:
    oh, ow = reference.out_size(x.shape, kernel, stride, padding)
    patches = reference.im2col(x, kernel, stride, padding)
    size = patches.shape[1]
    return patches.reshape(-1, oh, ow, size)[:, :-1, :-1].reshape(len(x) * (oh - 1) * (ow - 1), size)


EXERCISE = Exercise(
    name="im2col",
    chapter="04_im2col",
    target="minidl.kernels.reference:im2col",
    task="Copy every patch of x, as a window of `kernel` = (KH, KW) sees it, into a row of a matrix. First come the "
    "windows of image 0 in reading order (from left to right, then the next row of windows), then those of image "
    "1, and so on. In each row of the matrix the KH KW pixels of the window come in reading order, and for each "
    "pixel its C channels, side by side. Given are `pad2d`, `out_size`, and `offsets`, which goes through the "
    "pixels of a window.",
    cases=lambda rng: conv_cases(rng, "x", "kernel", "stride", "padding"),
    call=returns("patches"),
    places=_border,
    worked=_where_from,
    mistakes=(
        Mistake(
            "channels first",
            "Each row has all pixels of channel 0, then those of channel 1. (That is torch's order.) Here the C "
            "channels of a pixel lie side by side: KH, KW, C.",
            (("patches.reshape(", "patches.swapaxes(3, 4).reshape("),),
        ),
        Mistake(
            "columns first",
            "The pixels of a window are in the wrong order: you go down each column. In reading order, pixel (kh, "
            "kw) has the number kh KW + kw.",
            wrong=_columns_first,
        ),
        Mistake(
            "kernel exchanged",
            "KH and KW are exchanged: `kernel` is (KH, KW), the height of the window first.",
            (("offsets(kernel, stride", "offsets(kernel[::-1], stride"),),
        ),
        Mistake(
            "flipped",
            "The pixels of each window are in reverse order. The first one is the upper left one.",
            (("patches[:, :, :, k]", "patches[:, :, :, -1 - k]"),),
        ),
        Mistake(
            "windows at stride 1",
            "Right where the stride is 1. Window (oh, ow) begins at row oh * stride of the padded image, not at row "
            "oh; the columns alike.",
            (("offsets(kernel, stride", "offsets(kernel, 1"),),
        ),
        Mistake(
            "stride ignored",
            "There are too many windows: right where the stride is 1. The windows are `stride` pixels apart.",
            (("    n, _, _, c = x.shape\n", "    n, _, _, c = x.shape\n    stride = 1\n"),),
        ),
        Mistake(
            "padding ignored",
            "There are too few windows: right where padding is 0. Pad x with zeros first, and count the windows on "
            "the padded image.",
            (("    n, _, _, c = x.shape\n", "    n, _, _, c = x.shape\n    padding = 0\n"),),
        ),
        Mistake(
            "transposed",
            "You returned the transpose. Each patch is a row: P = N OH OW rows of K = KH KW C numbers.",
            (("return patches.reshape(n * oh * ow, -1)", "return patches.reshape(n * oh * ow, -1).T"),),
        ),
        Mistake(
            "images last",
            "Right where N is 1. The rows are in another order: first come all windows of image 0, then those of "
            "image 1. You have window (0, 0) of every image first.",
            (("patches.reshape(", "patches.transpose(1, 2, 0, 3, 4).reshape("),),
        ),
        Mistake(
            "windows down first",
            "The windows are in the wrong order: you go down first. They go from left to right, row by row.",
            (("patches.reshape(", "patches.swapaxes(1, 2).reshape("),),
        ),
        Mistake(
            "last window lost",
            "The last row and the last column of windows are missing. (H + 2 padding - KH) // stride counts the "
            "steps of the window; the places are one more.",
            wrong=_window_lost,
        ),
    ),
    hints=(
        "Two ways: for every window, copy its pixels; or, for every pixel of the window, copy it from all windows at "
        "once. `offsets` is made for the second way. It has KH KW steps only.",
        "Make an empty array (N, OH, OW, KH KW, C). For each (k, rows, columns) of offsets, padded[:, rows, "
        "columns] has the shape (N, OH, OW, C): where does it go?",
        "patches[:, :, :, k] = padded[:, rows, columns]; at the end patches.reshape(n * oh * ow, -1). Don't forget "
        "pad2d.",
    ),
)
