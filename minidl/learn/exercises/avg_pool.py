"""The mean of every window."""

from __future__ import annotations

import numpy as np

from minidl.kernels import reference
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, returns
from minidl.learn.exercises.geometry import POOLS, Geometry, padding_reached, pool_about, window_slices
from minidl.learn.exercises.paper import number


def _cases(rng: np.random.Generator) -> list[Case]:
    def case(x, g: Geometry) -> Case:
        x = np.array(x, float).reshape(g.n, g.h, g.w, g.c)
        return Case({"x": x, "kernel": g.kh, "stride": g.stride, "padding": g.padding}, pool_about(g))

    return [
        case([1, 2, 3, 9, 4, 5, 8, 8], Geometry(1, 2, 4, 1, 2, 2, 1, 2, 0)),
        case([1, 2, 4, 5, 8, 12], Geometry(1, 2, 3, 1, 2, 2, 1, 1, 0)),
        *(case(rng.normal(size=(g.n, g.h, g.w, g.c)), g) for g in POOLS),
    ]


def _worked(arguments: Arguments, name: str, index: tuple[int, ...]) -> str | None:
    x, kernel, stride, padding = arguments.values()
    if kernel > 3:
        return None
    inside = x[window_slices(index, kernel, stride, padding, x.shape)].ravel()
    zeros = f" + {kernel**2 - inside.size} zeros of the padding" if inside.size < kernel**2 else ""
    return f"({' + '.join(map(number, inside))}{zeros}) / {kernel**2} = {inside.sum() / kernel**2:.6g}"


def _real_pixels_only(x, kernel, stride, padding):
    ones = reference.avg_pool(np.ones_like(x), kernel, stride, padding)
    return reference.avg_pool(x, kernel, stride, padding) / ones


def _edge_repeated(x, kernel, stride, padding):
    border = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    return reference.avg_pool(np.pad(x, border, mode="edge"), kernel, stride, 0)


def _over_channels(x, kernel, stride, padding):
    y = reference.avg_pool(x, kernel, stride, padding)
    return np.repeat(y.mean(axis=3, keepdims=True), x.shape[3], axis=3)


EXERCISE = Exercise(
    name="avg_pool",
    chapter="07_pooling",
    target="minidl.kernels.reference:avg_pool",
    task="Compute the mean of every window, for every channel separately. kernel is one number: windows are "
    "square. The padding counts as pixels with value 0, so the sum is always divided by kernel^2. Given are "
    "`pad2d`, `out_size` and `offsets`.",
    cases=_cases,
    call=returns("y"),
    places=padding_reached,
    worked=_worked,
    mistakes=(
        Mistake(
            "not divided",
            "y is exactly K^2 times too large: that is the sum over the window. Divide by its K^2 pixels.",
            (("total * (1 / kernel**2)", "total"),),
        ),
        Mistake(
            "divided by 2 K",
            "You divided by 2 K. A window has K^2 pixels: kernel**2, not kernel * 2.",
            (("(1 / kernel**2)", "(1 / (kernel * 2))"),),
        ),
        Mistake(
            "divided by K",
            "You divided by K. A window has K^2 pixels, because it has K rows and K columns.",
            (("(1 / kernel**2)", "(1 / kernel)"),),
        ),
        Mistake(
            "padding not counted",
            "Right where there is no padding. At the border you divide by the number of real pixels only. Here the "
            "padding counts as pixels with value 0: always divide by K^2.",
            wrong=_real_pixels_only,
        ),
        Mistake(
            "edge repeated",
            "Right where there is no padding. The padding must be 0: you repeat the pixels of the edge.",
            wrong=_edge_repeated,
        ),
        Mistake(
            "maximum",
            "That is max pooling: the largest number of the window, not the mean.",
            wrong=lambda x, kernel, stride, padding: reference.max_pool(x, kernel, stride, padding)[0],
        ),
        Mistake(
            "channels mixed",
            "You took the mean over the channels too. Every channel is pooled on its own.",
            wrong=_over_channels,
        ),
        Mistake(
            "stride ignored",
            "You moved the window by 1. It moves by the stride: window oh begins at row stride oh.",
            (("offsets((kernel, kernel), stride,", "offsets((kernel, kernel), 1,"),),
        ),
        Mistake(
            "last pixel only",
            "You keep the last pixel of the window instead of adding all up: total = total + ...",
            (("total = total + padded", "total = padded"),),
        ),
        Mistake(
            "divided by the stride",
            "You divided by stride^2, which is right only where the stride is the size of the window. A window has "
            "K^2 pixels.",
            (("(1 / kernel**2)", "(1 / stride**2)"),),
        ),
    ),
    hints=(
        "Pad with zeros. offsets goes through the pixels (kh, kw) of all windows at once: what do you do with each?",
        "padded[:, rows, columns] is one pixel of every window, (N, OH, OW, C). Add the K^2 of them up.",
        "total = 0; for _, rows, columns in offsets((kernel, kernel), stride, (oh, ow)): total = total + padded[:, "
        "rows, columns]; return total * (1 / kernel**2).",
    ),
)
