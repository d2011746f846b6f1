"""Every dy is shared out over its window."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from minidl.kernels import reference
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, returns
from minidl.learn.exercises.geometry import POOLS, Geometry, copies, pool_about
from minidl.learn.exercises.paper import number


def _cases(rng: np.random.Generator) -> list[Case]:
    def case(dy, g: Geometry) -> Case:
        dy = np.array(dy, float).reshape(g.n, *g.out, g.c)
        arguments = {"dy": dy, "x_shape": (g.n, g.h, g.w, g.c)}
        return Case(arguments | {"kernel": g.kh, "stride": g.stride, "padding": g.padding}, pool_about(g))

    return [
        case([4, 40], Geometry(1, 2, 4, 1, 2, 2, 1, 2, 0)),
        case([4, 40], Geometry(1, 2, 3, 1, 2, 2, 1, 1, 0)),
        *(case(rng.normal(size=(g.n, *g.out, g.c)), g) for g in POOLS),
    ]


def _overlaps(arguments: Arguments, name: str) -> Mapping[str, np.ndarray]:
    _, shape, kernel, stride, padding = arguments.values()
    counts = copies(*shape[1:3], (kernel, kernel), stride, padding)
    return {"where windows overlap": np.broadcast_to((counts > 1)[None, :, :, None], shape)}


def _worked(arguments: Arguments, name: str, index: tuple[int, ...]) -> str | None:
    dy, shape, kernel, stride, padding = arguments.values()
    unit = np.zeros(shape)
    unit[index] = 1
    values = dy[reference.avg_pool(unit, kernel, stride, padding) > 0]
    if len(values) > 4:
        return None
    if not len(values):
        return "it lies in no window, so it receives 0"
    total = f"({' + '.join(map(number, values))})" if values[1:].size else number(values[0])
    return f"{total} / {kernel**2} = {values.sum() / kernel**2:.6g}, from the windows that contain it"


def _loss(arguments: Arguments) -> Mapping[str, tuple[Callable, np.ndarray]]:
    dy, shape, *geometry = arguments.values()
    return {"dx": (lambda x: float((dy * reference.avg_pool(x, *geometry)).sum()), np.zeros(shape))}


def _last_window(dy, x_shape, kernel, stride, padding):
    n, h, w, c = x_shape
    padded = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dy.dtype)
    for oh, ow in np.ndindex(dy.shape[1:3]):
        rows, columns = (slice(o * stride, o * stride + kernel) for o in (oh, ow))
        padded[:, rows, columns] = dy[:, oh, ow][:, None, None] / kernel**2
    return reference.unpad2d(padded, padding)


def _averaged(dy, x_shape, kernel, stride, padding):
    counts = copies(x_shape[1], x_shape[2], (kernel, kernel), stride, padding)
    dx = reference.avg_pool_dx(dy, x_shape, kernel, stride, padding)
    return dx / np.maximum(counts, 1)[None, :, :, None]


def _real_pixels_only(dy, x_shape, kernel, stride, padding):
    share = reference.avg_pool(np.ones(x_shape), kernel, stride, padding)
    return reference.avg_pool_dx(dy / share, x_shape, kernel, stride, padding)


def _first_pixel(dy, x_shape, kernel, stride, padding):
    index = np.zeros(dy.shape, np.uint8)
    return reference.max_pool_dx(dy, index, x_shape, kernel, stride, padding)


_OVERLAP = (
    "Right except where windows overlap: you assigned where you must add. A pixel that lies in several windows "
    "receives a share of each of their dy."
)

EXERCISE = Exercise(
    name="avg_pool_dx",
    chapter="07_pooling",
    target="minidl.kernels.reference:avg_pool_dx",
    task="Carry dy back through average pooling. y is the sum of the window's pixels divided by kernel^2, so each "
    "of them receives dy / kernel^2. Windows may overlap, and the padding takes its share too, which is cut off at "
    "the end. Given are `offsets` and `unpad2d`.",
    cases=_cases,
    call=returns("dx"),
    places=_overlaps,
    worked=_worked,
    gradient=_loss,
    mistakes=(
        Mistake("last window wins", _OVERLAP, wrong=_last_window),
        Mistake("first window wins", _OVERLAP, (("columns] += dy", "columns] = dy"),)),
        Mistake(
            "not divided",
            "dx is exactly K^2 times too large: y is a mean of K^2 pixels, so each of them moves y by 1/K^2 of its "
            "own step.",
            (("dy * (1 / kernel**2)", "dy"),),
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
            "averaged",
            "You took the mean over the windows that contain a pixel. The chain rule adds: the pixel reaches the "
            "loss through each of these windows.",
            wrong=_averaged,
        ),
        Mistake(
            "padding not counted",
            "Right where there is no padding. At the border you share dy out over the real pixels only. The "
            "forward pass divides by K^2 there too, so every pixel receives dy / K^2.",
            wrong=_real_pixels_only,
        ),
        Mistake(
            "to one pixel",
            "One pixel of the window receives everything. The mean depends on all K^2 pixels alike.",
            wrong=_first_pixel,
        ),
        Mistake(
            "not cropped",
            "The padding is still there. Its pixels don't belong to x: cut the border off at the end.",
            (("return unpad2d(dpadded, padding)", "return dpadded"),),
        ),
        Mistake(
            "cropped at the wrong side",
            "Right where there is no padding. With padding everything lies too far down and to the right: pixel "
            "(h, w) of x is pixel (h + p, w + p) of the padded image, so the border goes off on all four sides.",
            (("return unpad2d(dpadded, padding)", "return dpadded[:, :h, :w]"),),
        ),
        Mistake(
            "stride ignored",
            "You placed the windows as if the stride were 1. Window oh begins at row stride oh.",
            (("offsets((kernel, kernel), stride,", "offsets((kernel, kernel), 1,"),),
        ),
        Mistake(
            "divided by the stride",
            "You divided by stride^2, which is right only where the stride is the size of the window. A window has "
            "K^2 pixels.",
            (("(1 / kernel**2)", "(1 / stride**2)"),),
        ),
    ),
    hints=(
        "The forward pass adds up padded[:, rows, columns] for the K^2 pixels (kh, kw). By which factor does each "
        "of them move y?",
        "Begin with zeros of the padded shape. For each (kh, kw) the slice [:, rows, columns] receives dy / K^2. "
        "Slices of different (kh, kw) overlap: add.",
        "for _, rows, columns in offsets((kernel, kernel), stride, dy.shape[1:3]): dpadded[:, rows, columns] += dy / "
        "kernel**2; return unpad2d(dpadded, padding).",
    ),
)
