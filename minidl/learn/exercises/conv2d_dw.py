"""The gradient of the filters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from minidl.kernels import reference
from minidl.learn.exercise import Arguments, Exercise, Mistake, returns
from minidl.learn.exercises.images import conv_cases, first_patches, on_paper, touches


def _pairs(arguments: Arguments, index: tuple[int, ...]) -> Iterator[tuple[float, float]]:
    """dw[kh,kw,c,f] is the sum of x[n,h,v,c] dy[n,oh,ow,f]."""
    x, dy, kernel = arguments["x"], arguments["dy"], arguments["w_shape"][:2]
    kh, kw, c, f = index
    for oh, ow, i, j, h, v in touches(x.shape, kernel, arguments["stride"], arguments["padding"]):
        if (i, j) == (kh, kw):
            yield from zip(x[:, h, v, c], dy[:, oh, ow, f], strict=True)


def _witness(arguments: Arguments) -> Mapping[str, tuple[Callable, np.ndarray]]:
    x, dy, w_shape, stride, padding = arguments.values()
    return {"dw": (lambda w: (reference.conv2d(x, w, stride, padding) * dy).sum(), np.zeros(w_shape))}


def _with_patches(patches: Callable) -> Callable:
    """dw from other patches, (P, K)."""

    def wrong(x: np.ndarray, dy: np.ndarray, w_shape: tuple, stride: int, padding: int) -> np.ndarray:
        return (patches(x, w_shape[:2], stride, padding).T @ dy.reshape(-1, w_shape[3])).reshape(w_shape)

    return wrong


def _last(images: slice) -> Callable:
    """dw from the last window of these images only."""

    def wrong(x: np.ndarray, dy: np.ndarray, w_shape: tuple, stride: int, padding: int) -> np.ndarray:
        only = np.zeros_like(dy)
        only[images, -1, -1] = dy[images, -1, -1]
        return reference.conv2d_dw(x, only, w_shape, stride, padding)

    return wrong


_LAST = (
    "Only the last window counts: in your loop each window overwrites what the one before it gave. w[kh,kw,c,f] is "
    "used in every window, so dw is the sum over all of them: add."
)

EXERCISE = Exercise(
    name="conv2d_dw",
    chapter="04_im2col",
    target="minidl.kernels.reference:conv2d_dw",
    task="The gradient of the filters. Every weight is used in all windows of all images, so its gradient is a sum "
    "over all of them: of the pixel that the weight met there, times dy of that window. With `im2col`, which is "
    "given, it is one product of matrices. w_shape is (KH, KW, C, F), the shape of dw.",
    cases=lambda rng: conv_cases(rng, "x", "dy", "w_shape", "stride", "padding"),
    call=returns("dw"),
    worked=on_paper(_pairs),
    gradient=_witness,
    mistakes=(
        Mistake(
            "flipped",
            "The kernel is flipped: dw is turned by 180 degrees. The forward pass doesn't turn the window, so "
            "dw[kh, kw] belongs to the pixel kh below and kw to the right of the window's corner.",
            (("return dw.reshape(w_shape)", "return dw.reshape(w_shape)[::-1, ::-1]"),),
        ),
        Mistake(
            "dy reversed",
            "dy is turned by 180 degrees. Window (oh, ow) has dy[n, oh, ow]; nothing is turned here.",
            (("dy.reshape(-1, f)", "dy[:, ::-1, ::-1].reshape(-1, f)"),),
        ),
        Mistake(
            "averaged over the windows",
            "You took the mean over all windows. The chain rule adds: a weight that is used P times moves the loss "
            "in P ways.",
            (("return dw.reshape(w_shape)", "return dw.reshape(w_shape) / len(patches)"),),
        ),
        Mistake(
            "averaged over the images",
            "dw is exactly N times too small: you took the mean over the images. The mean over the batch belongs to "
            "the loss: it is in dy already.",
            (("return dw.reshape(w_shape)", "return dw.reshape(w_shape) / len(x)"),),
        ),
        Mistake("last window only", _LAST, wrong=_last(slice(-1, None))),
        Mistake("last window of each image only", _LAST, wrong=_last(slice(None))),
        Mistake(
            "dy ignored",
            "You added up the patches without dy. The chain rule multiplies each patch by dy of its window: how "
            "much the loss moves if y moves there.",
            (("dy.reshape(-1, f)", "(0 * dy + 1).reshape(-1, f)"),),
        ),
        Mistake(
            "stride ignored",
            "Right where the stride is 1. Window (oh, ow) begins at row oh * stride of the padded image, not at row "
            "oh; the columns alike.",
            wrong=_with_patches(first_patches),
        ),
        Mistake(
            "padded on one side",
            "Right where padding is 0. The zeros belong on all four sides of the image: window (0, 0) begins at row "
            "-padding and column -padding.",
            wrong=_with_patches(
                lambda x, kernel, stride, padding: reference.im2col(
                    np.pad(x, ((0, 0), (0, 2 * padding), (0, 2 * padding), (0, 0))), kernel, stride, 0
                )
            ),
        ),
        Mistake(
            "filter in another order",
            "The numbers are right, but the reshape puts them in the wrong places: the columns of patches are in the "
            "order KH, KW, C, and so are the rows of patches.T @ dy.",
            (
                (
                    "dw.reshape(w_shape)",
                    "dw.reshape(w_shape[2], kh, kw, f).transpose(1, 2, 0, 3)",
                ),
            ),
        ),
        Mistake(
            "not transposed back",
            "dy.T @ patches is (F, K), and you reshaped it to (KH, KW, C, F) as if it were (K, F). A reshape "
            "exchanges no axes. Compute patches.T @ dy, which is (K, F).",
            (("patches.T @ dy.reshape(-1, f)", "dy.reshape(-1, f).T @ patches"),),
        ),
    ),
    hints=(
        "Begin with one filter on a row of pixels: y[0] = x[0] w[0] + x[1] w[1], y[1] = x[1] w[0] + x[2] w[1]. "
        "Where is w[0] used, and with which factor?",
        "y = patches @ w, as in a linear layer. There dw was x.T @ dy. What takes the place of x here? dy becomes a "
        "matrix (P, F), the result is (K, F).",
        "patches = im2col(x, (kh, kw), stride, padding); dw = patches.T @ dy.reshape(-1, f); return "
        "dw.reshape(w_shape)",
    ),
)
