"""Every dy goes to the pixel that was the maximum."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from minidl.kernels import reference
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, returns
from minidl.learn.exercises.geometry import Geometry
from minidl.learn.exercises.paper import sum_of
from minidl.learn.exercises.switches import (
    CENTRE,
    ROW,
    back_case,
    hits,
    peak,
    random_cases,
    received,
    receivers,
    sharing,
    window_by_window,
)


def _cases(rng: np.random.Generator) -> list[Case]:
    return [
        back_case(peak(), [1, 2, 3, 4], CENTRE),
        back_case([1, 2, 3, 9, 4, 5, 8, 7], [1, 10], ROW),
        back_case([1, 2, 5, 3, 4, 6], [1, 10], Geometry(1, 2, 3, 1, 2, 2, 1, 1, 0)),
        *random_cases(rng),
    ]


def _worked(arguments: Arguments, name: str, index: tuple[int, ...]) -> str:
    values = received(arguments, index)
    if not values:
        return "no window has its maximum here, so it receives 0"
    total = sum_of(values) if values[1:] else f"{values[0]:.6g}"
    return f"{total}, from {len(values)} window{'s' * (len(values) > 1)} with the maximum here"


def _loss(arguments: Arguments) -> Mapping[str, tuple[Callable, np.ndarray]]:
    """L = sum dy y, where y takes the numbers of x that the index points to."""
    dy, places = arguments["dy"], receivers(arguments)
    return {"dx": (lambda x: float((dy * x[places]).sum()), np.zeros(arguments["x_shape"]))}


def _assign(block, mask, dy):
    block[...] = np.where(mask, dy, block)


def _erase(block, mask, dy):
    block[...] = mask * dy


def _averaged(dy, index, x_shape, kernel, stride, padding):
    arguments = {"index": index, "x_shape": x_shape, "kernel": kernel, "stride": stride, "padding": padding}
    dx = reference.max_pool_dx(dy, index, x_shape, kernel, stride, padding)
    return dx / np.maximum(hits(arguments), 1)


def _in_the_image(dy, index, x_shape, kernel, stride, padding):
    n, _, _, c = np.indices(index.shape)
    row, column = np.divmod(index.astype(int), x_shape[2])
    dx = np.zeros(x_shape, dy.dtype)
    np.add.at(dx, (n, row, column, c), dy)
    return dx


_OFFSETS = "offsets((kernel, kernel), stride, dy.shape[1:3])"
_FORWARDS = (f"reversed(list({_OFFSETS}))", _OFFSETS)
_SHARED = (
    "Right except where windows share their maximum: one dy arrives there, and those of all windows must add up. "
    "Do you assign where you must add? (With arrays of indices `+=` assigns too: an index that occurs twice counts "
    "once. `np.add.at` counts it twice.)"
)

EXERCISE = Exercise(
    name="max_pool_dx",
    chapter="07_pooling",
    target="minidl.kernels.reference:max_pool_dx",
    task="Carry dy back through max pooling. y of a window depends on its maximum alone, so that pixel receives "
    "the dy and the others of the window receive nothing. index says where in its window the maximum lies, kh K + "
    "kw. Windows that "
    'overlap may share their maximum. Write the case overlap = "sum", which is the gradient; the two others belong '
    "to the exercise unpool. Given are `offsets` and `unpad2d`.",
    cases=_cases,
    call=returns("dx"),
    places=sharing,
    worked=_worked,
    gradient=_loss,
    mistakes=(
        Mistake("last window wins", _SHARED, wrong=window_by_window(_assign)),
        Mistake(
            "first window wins",
            _SHARED,
            (("new = old + dy", "new = dy"), _FORWARDS),
        ),
        Mistake(
            "erased",
            "Right except where windows overlap: a window writes zeros where its maximum isn't, and erases what "
            "another window has written there. Add instead of assigning.",
            (("xp.where(hit, new, old)", "xp.where(hit, dy, 0)"), _FORWARDS),
        ),
        Mistake(
            "erased by the next window",
            "Right except where windows overlap: a window writes zeros where its maximum isn't, and erases what "
            "the window before has written there. Add instead of assigning.",
            wrong=window_by_window(_erase),
        ),
        Mistake(
            "largest dy",
            "Right except where windows share their maximum: the pixel receives the largest dy. The gradient is "
            "the sum: the pixel reaches the loss through every one of these windows.",
            (("new = old + dy", "new = xp.where(touched[:, rows, columns], xp.maximum(old, dy), dy)"),),
        ),
        Mistake(
            "averaged",
            "Right except where windows share their maximum: you took the mean of their dy. The chain rule adds: "
            "the pixel reaches the loss through every one of these windows.",
            wrong=_averaged,
        ),
        Mistake(
            "spread",
            "You spread dy over the whole window, as in average pooling. y depends on the maximum alone: only that "
            "pixel receives dy.",
            wrong=lambda dy, index, x_shape, kernel, stride, padding: reference.avg_pool_dx(
                dy, x_shape, kernel, stride, padding
            ),
        ),
        Mistake(
            "to every pixel",
            "Every pixel of a window receives the whole dy. y depends on the maximum alone: only that pixel "
            "receives dy.",
            (("hit = index == k", "hit = index == index"),),
        ),
        Mistake(
            "rows and columns exchanged",
            "Rows and columns of the window are exchanged: index = kh K + kw, so kh is index // K and kw is index "
            "% K.",
            (("hit = index == k", "hit = index == k % kernel * kernel + k // kernel"),),
        ),
        Mistake(
            "index in the image",
            "You took index for the number of a pixel in the image. It counts inside its own window: the window "
            "begins at row stride oh - padding.",
            wrong=_in_the_image,
        ),
        Mistake(
            "stride ignored",
            "You placed the windows as if the stride were 1. Window oh begins at row stride oh.",
            (("offsets((kernel, kernel), stride,", "offsets((kernel, kernel), 1,"),),
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
    ),
    hints=(
        "Go through the pixels k of all windows at once, as in the forward pass. In which windows is pixel k the "
        "maximum?",
        "hit = index == k has the shape of dy. In these windows dy goes to the pixel padded[:, rows, columns]. A "
        "pixel may be hit with several k: what must happen to the number that is there already?",
        "Begin with zeros of the padded shape; for k, rows, columns in offsets((kernel, kernel), stride, "
        "dy.shape[1:3]): dpadded[:, rows, columns] += dy * (index == k); at the end unpad2d(dpadded, padding).",
    ),
)
