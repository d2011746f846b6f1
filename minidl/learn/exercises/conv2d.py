"""Convolution: at every place of the window, a sum of products."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from minidl.kernels import reference
from minidl.learn.exercise import Arguments, Exercise, Mistake, returns
from minidl.learn.exercises.images import conv_cases, first_patches, on_paper, over_the_border, touches


def _pairs(arguments: Arguments, index: tuple[int, ...]) -> Iterator[tuple[float, float]]:
    """y[n,oh,ow,f] is the sum of x[n,h,v,c] w[kh,kw,c,f]."""
    x, w = arguments["x"], arguments["w"]
    n, oh, ow, f = index
    for i, j, kh, kw, h, v in touches(x.shape, w.shape[:2], arguments["stride"], arguments["padding"]):
        if (i, j) == (oh, ow):
            yield from zip(x[n, h, v], w[kh, kw, :, f], strict=True)


def _border(arguments: Arguments, name: str) -> Mapping[str, np.ndarray]:
    x, w = arguments["x"], arguments["w"]
    over = over_the_border(x.shape, w.shape[:2], arguments["stride"], arguments["padding"])
    shape = (len(x), *over.shape, w.shape[3])
    return {"where the window reaches over the border": np.broadcast_to(over[None, :, :, None], shape)}


def _stride_1(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    kh, kw, _, f = w.shape
    oh, ow = reference.out_size(x.shape, (kh, kw), stride, padding)
    return (first_patches(x, (kh, kw), stride, padding) @ w.reshape(-1, f)).reshape(-1, oh, ow, f)


def _padded_on_one_side(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    x = np.pad(x, ((0, 0), (0, 2 * padding), (0, 2 * padding), (0, 0)))
    return reference.conv2d(x, w, stride, 0)


def _window_lost(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    return reference.conv2d(x, w, stride, padding)[:, :-1, :-1]


def _only(*part: slice) -> Callable:
    """y of a part of the weights only."""

    def wrong(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
        rest = np.zeros_like(w)
        rest[part] = w[part]
        return reference.conv2d(x, rest, stride, padding)

    return wrong


_ALL, _LAST, _FIRST = slice(None), slice(-1, None), slice(0, 1)

EXERCISE = Exercise(
    name="conv2d",
    chapter="03_convolution",
    target="minidl.kernels.reference:conv2d",
    task="Lay the window w (KH, KW, C, F) on every place of x (N, H, W, C), `stride` pixels apart. Multiply the "
    "numbers that lie on each other, and add up over the KH KW pixels and the C channels: that is one y for each "
    "of the F filters. Around the image lie `padding` rows and columns of zeros. Plain loops are right; one "
    "product of matrices is shorter. Given are `out_size`, which counts the places, and `im2col`, which you write "
    "in the next chapter.",
    cases=lambda rng: conv_cases(rng, "x", "w", "stride", "padding"),
    call=returns("y"),
    places=_border,
    worked=on_paper(_pairs),
    mistakes=(
        Mistake(
            "flipped",
            "The kernel is flipped. In mathematics a convolution turns the window by 180 degrees; in deep learning "
            "it doesn't: w[kh, kw] meets the pixel kh below and kw to the right of the window's corner.",
            (("patches @ w.reshape", "patches @ w[::-1, ::-1].reshape"),),
        ),
        Mistake(
            "rows flipped",
            "The rows of the window are in reverse order: w[kh] meets the row kh below the window's upper edge.",
            (("patches @ w.reshape", "patches @ w[::-1].reshape"),),
        ),
        Mistake(
            "columns flipped",
            "The columns of the window are in reverse order: w[:, kw] meets the column kw to the right of the "
            "window's left edge.",
            (("patches @ w.reshape", "patches @ w[:, ::-1].reshape"),),
        ),
        Mistake(
            "stride ignored",
            "Right where the stride is 1. Window (oh, ow) begins at row oh * stride - padding, not at row oh - "
            "padding; the columns alike.",
            wrong=_stride_1,
        ),
        Mistake(
            "padding ignored",
            "Right where padding is 0. There must be `padding` rows and columns of zeros on each side of the image, "
            "and so more places for the window.",
            (("    kh, kw, _, f = w.shape", "    padding = 0\n    kh, kw, _, f = w.shape"),),
        ),
        Mistake(
            "padded on one side",
            "The zeros are all below and to the right of the image. Half of them belong above and to the left: "
            "window (0, 0) begins at row -padding and column -padding.",
            wrong=_padded_on_one_side,
        ),
        Mistake(
            "filter in another order",
            "The weights of a filter are in another order than the pixels of a patch. A row of patches has the C "
            "channels of a pixel side by side; so the rows of the weight matrix must be in the order KH, KW, C, "
            "which w.reshape(-1, f) gives.",
            (("w.reshape(-1, f)", "w.transpose(2, 0, 1, 3).reshape(-1, f)"),),
        ),
        Mistake(
            "last window lost",
            "The last row and the last column of windows are missing. (H + 2 padding - KH) // stride counts the "
            "steps of the window; the places are one more.",
            wrong=_window_lost,
        ),
        Mistake(
            "last pixel only",
            "Only the last pixel of the window counts: in your loop over (kh, kw) each product overwrites the one "
            "before. Add them up.",
            wrong=_only(_LAST, _LAST),
        ),
        Mistake(
            "last product only",
            "Only the last pixel and the last channel count: in your loops each product overwrites the one before. "
            "Add them up: += in place of =.",
            wrong=_only(_LAST, _LAST, _LAST),
        ),
        Mistake(
            "mean",
            "You took the mean over the window and its channels. A convolution adds the products up.",
            (("y.reshape(-1, oh, ow, f)", "y.reshape(-1, oh, ow, f) / patches.shape[1]"),),
        ),
        Mistake(
            "last channel only",
            "Only the last channel counts: in your loop over the channels each product overwrites the one before. "
            "Add them up.",
            wrong=_only(_ALL, _ALL, _LAST),
        ),
        Mistake(
            "first channel only",
            "Only the first channel counts. A window has a weight for every channel: add up over all C.",
            wrong=_only(_ALL, _ALL, _FIRST),
        ),
        Mistake(
            "OH and OW exchanged",
            "Right where OH and OW are the same. y is (N, OH, OW, F): the rows of windows come first.",
            (("y.reshape(-1, oh, ow, f)", "y.reshape(-1, ow, oh, f)"),),
        ),
    ),
    hints=(
        "Which pixels of x does y[n, oh, ow, f] see? Begin with stride 1 and no padding, and write the sum down.",
        "Pad x with zeros first. Then window (oh, ow) begins at row oh * stride and column ow * stride of the "
        "padded image: multiply that piece (KH, KW, C) with w[:, :, :, f], and add everything up.",
        "With loops: padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0))); for each i, j "
        "and g: y[:, i, j, g] = (padded[:, i * stride : i * stride + kh, j * stride : j * stride + kw] * w[..., "
        "g]).sum(axis=(1, 2, 3)). Without: (im2col(x, (kh, kw), stride, padding) @ w.reshape(-1, f)).reshape(-1, "
        "oh, ow, f).",
    ),
)
