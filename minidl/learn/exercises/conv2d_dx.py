"""The gradient of the image that a convolution saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from minidl.kernels import reference
from minidl.learn.exercise import Arguments, Exercise, Mistake, returns
from minidl.learn.exercises.col2im import EXERCISE as COL2IM
from minidl.learn.exercises.geometry import copies
from minidl.learn.exercises.images import conv_cases, on_paper, touches
from minidl.learn.source import changed


def _pairs(arguments: Arguments, index: tuple[int, ...]) -> Iterator[tuple[float, float]]:
    """dx[n,h,v,c] is the sum of dy[n,oh,ow,f] w[kh,kw,c,f]."""
    dy, w, x_shape = arguments["dy"], arguments["w"], arguments["x_shape"]
    n, row, column, c = index
    for oh, ow, kh, kw, h, v in touches(x_shape, w.shape[:2], arguments["stride"], arguments["padding"]):
        if (h, v) == (row, column):
            yield from zip(dy[n, oh, ow], w[kh, kw, c], strict=True)


def _witness(arguments: Arguments) -> Mapping[str, tuple[Callable, np.ndarray]]:
    dy, w, x_shape, stride, padding = arguments.values()
    return {"dx": (lambda x: (reference.conv2d(x, w, stride, padding) * dy).sum(), np.zeros(x_shape))}


def _overlaps(arguments: Arguments, name: str) -> Mapping[str, np.ndarray]:
    shape, kernel = arguments["x_shape"], arguments["w"].shape[:2]
    counts = copies(shape[1], shape[2], kernel, arguments["stride"], arguments["padding"])
    return {"where windows overlap": np.broadcast_to((counts > 1)[None, :, :, None], shape)}


def _with_col2im(mistake: str) -> Callable:
    """dx with a wrong col2im."""

    def wrong(dy: np.ndarray, w: np.ndarray, x_shape: tuple, stride: int, padding: int) -> np.ndarray:
        kh, kw, _, f = w.shape
        col2im = changed(COL2IM, next(m for m in COL2IM.mistakes if m.name == mistake))
        return col2im(dy.reshape(-1, f) @ w.reshape(-1, f).T, x_shape, (kh, kw), stride, padding)

    return wrong


_OVERWRITTEN = (
    "Right except where windows overlap: the gradient of one window arrives there, and those of all must add up. Do "
    "you assign where you must add? (With arrays of indices `+=` assigns too: an index that occurs twice counts "
    "once. `np.add.at` counts it twice.)"
)

EXERCISE = Exercise(
    name="conv2d_dx",
    chapter="05_col2im",
    target="minidl.kernels.reference:conv2d_dx",
    task="The gradient of the image. A pixel is used in every window that contains it, each time with the weight "
    "that it met there. So it receives a sum over these windows and over the filters: of dy times that weight. Given "
    "is `col2im`, which carries gradients of patches back to the image.",
    cases=lambda rng: conv_cases(rng, "dy", "w", "x_shape", "stride", "padding"),
    call=returns("dx"),
    places=_overlaps,
    worked=on_paper(_pairs),
    gradient=_witness,
    mistakes=(
        Mistake(
            "flipped",
            "The kernel is flipped the wrong way. Each window sends its dy back with the weight that the pixel met "
            "on the way forward. If you write dx as a convolution of dy, the window must be turned by 180 degrees; "
            "with col2im nothing is turned.",
            (("w.reshape(-1, f)", "w[::-1, ::-1].reshape(-1, f)"),),
        ),
        Mistake("overwritten", _OVERWRITTEN, wrong=_with_col2im("overwritten")),
        Mistake("overwritten window by window", _OVERWRITTEN, wrong=_with_col2im("overwritten window by window")),
        Mistake(
            "averaged",
            "You took the mean over the windows that see a pixel. The chain rule adds: every window reaches the "
            "loss by a way of its own.",
            wrong=_with_col2im("averaged"),
        ),
        Mistake(
            "stride ignored",
            "Right where the stride is 1. Window (oh, ow) begins at row oh * stride of the padded image, not at row "
            "oh; the columns alike.",
            wrong=_with_col2im("stride ignored"),
        ),
        Mistake(
            "not cropped",
            "Right where padding is 0. The padding is still there: its pixels don't belong to x. Cut the border off "
            "at the end.",
            wrong=_with_col2im("not cropped"),
        ),
        Mistake(
            "reshaped, not transposed",
            "w as a matrix is (K, F), and you need its transpose (F, K). w.reshape(f, -1) has that shape, but a "
            "reshape exchanges no axes: the weights of different filters are mixed. Write w.reshape(-1, f).T.",
            (("w.reshape(-1, f).T", "w.reshape(f, -1)"),),
        ),
        Mistake(
            "filter in another order",
            "The weights of a filter are in another order than col2im expects: a row of dpatches is in the order "
            "KH, KW, C, which w.reshape(-1, f) gives.",
            (("w.reshape(-1, f).T", "w.transpose(2, 0, 1, 3).reshape(-1, f).T"),),
        ),
        Mistake(
            "averaged over the filters",
            "You took the mean over the F filters. Each filter reaches the loss by a way of its own: add.",
            (("w.reshape(-1, f).T", "w.reshape(-1, f).T / f"),),
        ),
        Mistake(
            "dy reversed",
            "dy is turned by 180 degrees. Window (oh, ow) has dy[n, oh, ow].",
            (("dy.reshape(-1, f)", "dy[:, ::-1, ::-1].reshape(-1, f)"),),
        ),
    ),
    hints=(
        "The way forward is x -> patches -> y = patches @ w. Go back step by step: first dpatches from dy, then dx "
        "from dpatches.",
        "patches[p,k] is used in y[p,f] for every f, with the factor w[k,f]. So dpatches[p,k] is the sum over f "
        "of dy[p,f] w[k,f]: a product of (P, F) and (F, K).",
        "dpatches = dy.reshape(-1, f) @ w.reshape(-1, f).T; return col2im(dpatches, x_shape, (kh, kw), stride, "
        "padding)",
    ),
)
