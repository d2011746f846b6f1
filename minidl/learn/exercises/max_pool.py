"""The largest number of every window, and where it lies."""

from __future__ import annotations

import numpy as np

from minidl.kernels import reference
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, returns
from minidl.learn.exercises.geometry import POOLS, Geometry, padding_reached, pool_about, window_slices


def _cases(rng: np.random.Generator) -> list[Case]:
    def case(x, g: Geometry, special="ordinary numbers") -> Case:
        x = np.array(x, float).reshape(g.n, g.h, g.w, g.c)
        arguments = {"x": x, "kernel": g.kh, "stride": g.stride, "padding": g.padding}
        return Case(arguments, pool_about(g, **{"the input": special}))

    hand, overlapping = Geometry(1, 2, 4, 1, 2, 2, 1, 2, 0), Geometry(1, 3, 3, 1, 2, 2, 1, 1, 0)
    many = POOLS[7]
    cases = [
        case([1, 2, 3, 9, 4, 5, 8, 7], hand),
        case(rng.permutation(9) + 1, overlapping),
        case([4, 4, 1, 7, 2, 4, 7, 7], hand, "ties"),
        case(-1 - rng.permutation(9), overlapping, "negative numbers"),
        case(-1 - rng.permutation(16), POOLS[2], "negative numbers"),
        case([1, np.nan, np.nan, 9, np.nan, 5, 8, 7], hand, "a NaN"),
        *(case(rng.normal(size=(g.n, g.h, g.w, g.c)), g) for g in POOLS),
        case(rng.integers(0, 3, (many.n, many.h, many.w, many.c)), many, "ties"),
    ]
    return cases


def _worked(arguments: Arguments, name: str, index: tuple[int, ...]) -> str | None:
    x, kernel, stride, padding = arguments.values()
    if kernel > 3:
        return None
    y, where = reference.max_pool(x, kernel, stride, padding)
    inside = x[window_slices(index, kernel, stride, padding, x.shape)]
    window = ", ".join(f"{v:.6g}" for v in inside.ravel())
    if name == "y":
        return f"the window holds {window}; the largest is {y[index]:.6g}"
    kh, kw = divmod(int(where[index]), kernel)
    return (
        f"the window holds {window}; the largest, {y[index]:.6g}, lies in its row {kh}, column {kw}: "
        f"{kh}*{kernel} + {kw} = {where[index]}"
    )


def _searching(border=-np.inf, from_zero=False, better=np.greater, nan="wins", step=None):
    """Max pooling with another border, another beginning, another comparison, or where a NaN gets lost."""

    def pool(x, kernel, stride, padding):
        window = (kernel, kernel)
        if nan == "ignored":
            x = np.where(np.isnan(x), -np.inf, x)
        padded = reference.pad2d(x, padding, border)
        pixels = list(reference.offsets(window, step or stride, reference.out_size(x.shape, window, stride, padding)))
        first = padded[:, pixels[0][1], pixels[0][2]]
        y = np.zeros_like(first) if from_zero else first
        index = np.zeros(y.shape, np.uint8)
        for k, rows, columns in pixels:
            candidate = padded[:, rows, columns]
            wins = better(candidate, y)
            if nan == "wins":
                wins |= np.isnan(candidate) & ~np.isnan(y)
            if nan == "last":
                wins |= np.isnan(candidate)
            y, index = np.where(wins, candidate, y), np.where(wins, np.uint8(k), index)
        return y, index

    return pool


def _numbered_by_columns(x, kernel, stride, padding):
    y, index = reference.max_pool(x, kernel, stride, padding)
    return y, index % np.uint8(kernel) * np.uint8(kernel) + index // np.uint8(kernel)


def _in_the_image(x, kernel, stride, padding):
    """Where in the image the maximum lies: the number of the pixel in reading order, cut to a uint8."""
    y, index = reference.max_pool(x, kernel, stride, padding)
    kh, kw = np.divmod(index.astype(int), kernel)
    oh, ow = y.shape[1:3]
    rows = np.arange(oh)[:, None, None] * stride - padding + kh
    columns = np.arange(ow)[:, None] * stride - padding + kw
    return y, (rows * x.shape[2] + columns).astype(np.uint8)


_BY_COLUMNS = "index counts down the columns, kw K + kh. Windows are read like a text, row by row: kh K + kw."
_TYPICAL = (
    Mistake(
        "padded with zeros",
        "Right except where a window of negative numbers reaches into the padding: there your 0 wins. The "
        "padding must never be the maximum: pad with -inf.",
        (("pad2d(x, padding, -xp.inf)", "pad2d(x, padding)"),),
    ),
    Mistake(
        "begun with zero",
        "Right except where a whole window is negative: your search begins with 0, which no number there "
        "exceeds. Begin with -inf, or with the window's first number.",
        wrong=_searching(from_zero=True),
    ),
    Mistake(
        "last of equal numbers",
        "Of equal numbers you take the last, and the first counts. An equal number must not replace the one "
        "found so far: > instead of >=.",
        (("(candidate > y)", "(candidate >= y)"),),
    ),
    Mistake(
        "NaN only if it is first",
        "A NaN gets lost unless it is the first number of its window: every comparison with NaN is False. A "
        "NaN must win, or a network that has gone wrong looks healthy.",
        ((" | (xp.isnan(candidate) & ~xp.isnan(y))", ""),),
    ),
    Mistake(
        "NaN ignored",
        "You left NaNs out. A NaN must win, or a network that has gone wrong looks healthy.",
        wrong=_searching(nan="ignored"),
    ),
    Mistake(
        "last NaN",
        "Of several NaNs in a window you take the last, and the first counts. A NaN must not replace another NaN.",
        wrong=_searching(nan="last"),
    ),
    Mistake(
        "stride ignored",
        "You moved the window by 1. It moves by the stride: window oh begins at row stride oh.",
        wrong=_searching(step=1),
    ),
    Mistake(
        "index in the image",
        "index counts through the image. It must say where in its own window the maximum lies: kh K + kw, from "
        "0 to K^2 - 1, which fits into one byte.",
        wrong=_in_the_image,
    ),
    Mistake(
        "index by columns",
        _BY_COLUMNS,
        wrong=lambda x, kernel, stride, padding: tuple(
            part.swapaxes(1, 2) for part in reference.max_pool(x.swapaxes(1, 2), kernel, stride, padding)
        ),
    ),
    Mistake("index numbered by columns", _BY_COLUMNS, wrong=_numbered_by_columns),
    Mistake(
        "index backwards",
        "index counts from the end of the window: the window's first pixel is 0.",
        (("return y, index", "return y, (kernel**2 - 1 - index).astype(xp.uint8)"),),
    ),
    Mistake(
        "index from one",
        "index is one too large: the window's first pixel is 0.",
        (("return y, index", "return y, index + xp.uint8(1)"),),
    ),
    Mistake(
        "smallest",
        "You take the smallest number, not the largest.",
        wrong=lambda x, kernel, stride, padding: (
            (found := reference.max_pool(-x, kernel, stride, padding)) and (-found[0], found[1])
        ),
    ),
    Mistake(
        "largest by absolute value",
        "You compare absolute values. The largest number counts: 1 is larger than -2.",
        (
            ("pad2d(x, padding, -xp.inf)", "pad2d(x, padding)"),
            ("(candidate > y)", "(abs(candidate) > abs(y))"),
        ),
    ),
)

_LOST = "Besides, a NaN gets lost."
_NAN = {"only if first": _LOST, "ignored": _LOST, "last": "The same goes for NaNs: the first counts."}
_OTHER_NAN = tuple(
    Mistake(f"{m.name}, NaN {nan}", f"{m.says} {_NAN[nan]}", wrong=_searching(**options, nan=nan))
    for m, options in (
        (_TYPICAL[0], {"border": 0.0}),
        (_TYPICAL[1], {"from_zero": True}),
        (_TYPICAL[2], {"better": np.greater_equal}),
    )
    for nan in ("only if first", "ignored", "last")
    if (nan, m.name) != ("only if first", "begun with zero")
)


EXERCISE = Exercise(
    name="max_pool",
    chapter="07_pooling",
    target="minidl.kernels.reference:max_pool",
    task="Find the largest number of every window, for every channel separately, and where in its window it lies. "
    "kernel is one number: windows are square. The way back needs the index, so it must be right where two numbers "
    "are equal. Given are `pad2d`, `out_size` and `offsets`, which goes through the pixels of a window.",
    cases=_cases,
    call=returns("y", "index"),
    places=padding_reached,
    worked=_worked,
    mistakes=(*_TYPICAL, *_OTHER_NAN),
    hints=(
        "Pad with something that is never the maximum. Then find the largest so far, and where it was, while you "
        "go through the pixels (kh, kw) of all windows at once.",
        "offsets((kernel, kernel), stride, (oh, ow)) yields k, rows, columns: padded[:, rows, columns] is pixel k "
        "of every window. Where it is larger than y, replace y and write k into index. Comparisons with NaN are "
        "always False: treat it on its own.",
        "wins = (candidate > y) | (np.isnan(candidate) & ~np.isnan(y)); y = np.where(wins, candidate, y); index = "
        "np.where(wins, np.uint8(k), index). Begin with y = pixel 0 of every window and index = 0.",
    ),
)
