"""The deconvnet's unpooling: what a pixel receives that is the maximum of several windows."""

from __future__ import annotations

import numpy as np

from minidl.kernels import reference
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, returns
from minidl.learn.exercises.geometry import Geometry
from minidl.learn.exercises.switches import CENTRE, back_case, hits, peak, random_cases, received, sharing

OVERLAPS = ("sum", "last", "max")


def _cases(rng: np.random.Generator) -> list[Case]:
    row = Geometry(1, 2, 3, 1, 2, 2, 1, 1, 0)
    return [
        *(back_case(peak(), [1, 4, 2, 3], CENTRE, overlap=overlap) for overlap in OVERLAPS),
        *(back_case(peak(), [-1, -4, -2, -3], CENTRE, overlap=overlap) for overlap in OVERLAPS),
        *(back_case([1, 2, 5, 3, 4, 6], [1, 10], row, overlap=overlap) for overlap in OVERLAPS),
        *random_cases(rng, OVERLAPS),
        *random_cases(rng, OVERLAPS[::-1])[7:10],
    ]


def _worked(arguments: Arguments, name: str, index: tuple[int, ...]) -> str:
    values, overlap = received(arguments, index), arguments["overlap"]
    if not values:
        return "no window has its maximum here, so it receives 0"
    one = {"sum": sum, "last": lambda v: v[-1], "max": max}[overlap](values)
    what = {"sum": "the sum", "last": "the last", "max": "the largest"}[overlap]
    of = f"of {', '.join(f'{v:.6g}' for v in values)} (the windows with the maximum here, in order) "
    return f"{of}{what} is {one:.6g}" if values[1:] else f"{one:.6g}, from the one window with the maximum here"


def _unpool(instead: dict[str, str]):
    """Unpooling that takes one overlap for another."""

    def unpool(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
        return reference.max_pool_dx(dy, index, x_shape, kernel, stride, padding, instead.get(overlap, overlap))

    return unpool


def _largest_magnitude(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    if overlap != "max":
        return reference.max_pool_dx(dy, index, x_shape, kernel, stride, padding, overlap)
    up, down = (reference.max_pool_dx(s * dy, index, x_shape, kernel, stride, padding, "max") for s in (1, -1))
    return np.where(np.abs(up) >= np.abs(down), up, -down)


def _averaged(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    arguments = {"index": index, "x_shape": x_shape, "kernel": kernel, "stride": stride, "padding": padding}
    dx = reference.max_pool_dx(dy, index, x_shape, kernel, stride, padding, overlap)
    return dx / np.maximum(hits(arguments), 1) if overlap == "sum" else dx


def _from_minus_infinity(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    arguments = {"index": index, "x_shape": x_shape, "kernel": kernel, "stride": stride, "padding": padding}
    dx = reference.max_pool_dx(dy, index, x_shape, kernel, stride, padding, overlap)
    return np.where(hits(arguments), dx, -np.inf) if overlap == "max" else dx


EXERCISE = Exercise(
    name="unpool",
    chapter="11_looking_back",
    target="minidl.kernels.reference:max_pool_dx",
    task="Write max_pool_dx with all three ways to treat a pixel that is the maximum of several windows: the sum "
    "of their dy (the gradient), the dy of the last window in the order of (oh, ow), or the largest dy. A "
    "deconvnet needs them: it puts a signal back to where the maximum was, and the paper doesn't say what a shared "
    "maximum receives.",
    cases=_cases,
    call=returns("dx"),
    places=sharing,
    worked=_worked,
    mistakes=(
        Mistake(
            "overlap ignored",
            'Right where overlap is "sum": you add in every case. With "last" only the last window counts, with '
            '"max" only the largest dy.',
            wrong=_unpool({"last": "sum", "max": "sum"}),
        ),
        Mistake(
            "last like sum",
            'With "last" you add. Only the dy of the last window counts.',
            wrong=_unpool({"last": "sum"}),
        ),
        Mistake(
            "max like sum",
            'With "max" you add. Only the largest dy counts.',
            wrong=_unpool({"max": "sum"}),
        ),
        Mistake(
            "always assigned",
            'Right where overlap is "last": you assign in every case. With "sum" add, with "max" keep the larger '
            "one.",
            wrong=_unpool({"sum": "last", "max": "last"}),
        ),
        Mistake(
            "sum assigned",
            'With "sum" you assigned where you must add: a shared maximum receives the dy of each of its windows.',
            wrong=_unpool({"sum": "last"}),
        ),
        Mistake(
            "max like last",
            'With "max" you take the last window\'s dy, not the largest.',
            wrong=_unpool({"max": "last"}),
        ),
        Mistake(
            "last like max",
            'With "last" you take the largest dy, not that of the last window.',
            wrong=_unpool({"last": "max"}),
        ),
        Mistake(
            "last and max exchanged",
            '"last" and "max" are exchanged.',
            wrong=_unpool({"last": "max", "max": "last"}),
        ),
        Mistake(
            "first window",
            'With "last" you take the first window. A pixel with a small offset k in its window lies in a window '
            "further down and to the right, so going through k in rising order visits a pixel's windows from the "
            "last to the first. Go through k in falling order.",
            (
                (
                    "reversed(list(offsets((kernel, kernel), stride, dy.shape[1:3])))",
                    "offsets((kernel, kernel), stride, dy.shape[1:3])",
                ),
            ),
        ),
        Mistake(
            "max from zero",
            'With "max" you compare with the 0 that is there at the beginning, so a pixel whose dy are all negative '
            "receives 0. The first dy must be written, whatever it is.",
            (("xp.where(touched[:, rows, columns], xp.maximum(old, dy), dy)", "xp.maximum(old, dy)"),),
        ),
        Mistake(
            "max from minus infinity",
            'With "max" the pixels where no maximum lies are -inf. They receive nothing: 0.',
            wrong=_from_minus_infinity,
        ),
        Mistake(
            "largest by absolute value",
            'With "max" you compare absolute values. The largest dy counts with its sign: -1 is larger than -4.',
            wrong=_largest_magnitude,
        ),
        Mistake(
            "averaged",
            'With "sum" you took the mean over the windows that share the maximum. Add.',
            wrong=_averaged,
        ),
        Mistake(
            "not cropped",
            "The padding is still there. Its pixels don't belong to x: cut the border off at the end.",
            (("return unpad2d(dpadded, padding)", "return dpadded"),),
        ),
        Mistake(
            "rows and columns exchanged",
            "Rows and columns of the window are exchanged: index = kh K + kw, so kh is index // K and kw is index "
            "% K.",
            (("hit = index == k", "hit = index == k % kernel * kernel + k // kernel"),),
        ),
    ),
    hints=(
        'Begin with your max_pool_dx: that is "sum". The two others differ in one line: what is new if a number is '
        "there already?",
        '"last": assign. The order in which a pixel\'s windows are visited counts; reversed(list(offsets(...))) '
        'visits them from the first to the last. "max": np.maximum(old, dy), but a pixel that was never visited '
        "holds a 0 that isn't a dy.",
        "Keep a mask `touched` of the pixels that have received something. new = old + dy, or dy, or "
        "np.where(touched, np.maximum(old, dy), dy); write np.where(index == k, new, old) back, and set touched |= "
        "index == k.",
    ),
)
