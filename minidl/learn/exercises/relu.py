"""ReLU: what is below zero becomes zero."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, returns


def _cases(rng: np.random.Generator) -> list[Case]:
    ordinary, zeros, nan = rng.normal(size=(3, 4, 4)), np.round(rng.normal(size=(2, 3, 5))), rng.normal(size=(2, 3))
    nan[0, 1] = np.nan
    cases = [Case({"x": np.array([-3.0, -1, 2, 4])}, _about(zero=False, nan=False))]
    cases += [Case({"x": x}, _about(zero=False, nan=False)) for x in (ordinary[0], rng.normal(size=(2, 3, 3, 2)))]
    cases += [Case({"x": -np.abs(ordinary[1])}, _about(zero=False, nan=False))]
    cases += [Case({"x": x}, _about(zero=True, nan=False)) for x in (np.array([-1.0, 0, 1, 0]), zeros)]
    cases += [Case({"x": x}, _about(zero=False, nan=True)) for x in (np.array([np.nan, 1, -1, 2]), nan)]
    return [*cases, Case({"x": 20 * ordinary[2]}, _about(zero=False, nan=False))]


def _about(zero: bool, nan: bool) -> dict[str, int | str]:
    return {"a zero": "present" if zero else "absent", "a NaN": "present" if nan else "absent"}


def _special(arguments: Arguments, name: str) -> Mapping[str, np.ndarray]:
    x = arguments["x"]
    return {
        "where x is 0": x == 0,
        "where x is NaN": np.isnan(x),
        "where x is negative": x < 0,
        "where x is positive": x > 0,
    }


_INVERTED = "The mask is inverted: it must be True where x > 0, where the gradient passes."

EXERCISE = Exercise(
    name="relu",
    chapter="01_linear",
    target="minidl.kernels.reference:relu",
    task="Compute y = max(x, 0) for every entry, and the mask that the backward pass will need: an array of bool "
    "that is True where x > 0. x may have any shape and is not changed.",
    cases=_cases,
    call=returns("y", "mask"),
    places=_special,
    mistakes=(
        Mistake(
            "mask at zero",
            "Where x is 0 the mask must be False: it is [x > 0], not [x >= 0]. ReLU has a kink at 0, and minidl "
            "takes the slope 0 there.",
            ((", x > 0", ", x >= 0"),),
        ),
        Mistake(
            "NaN lost",
            "A NaN became 0. `x > 0` is False for NaN, so np.where takes the 0. A NaN must stay a NaN: otherwise a "
            "training that has failed looks sound.",
            (("xp.maximum(x, 0)", "xp.where(x > 0, x, 0)"),),
        ),
        Mistake("mask inverted", _INVERTED, ((", x > 0", ", x <= 0"),)),
        Mistake("mask inverted, NaN too", _INVERTED, ((", x > 0", ", ~(x > 0)"),)),
        Mistake("mask of the negative", _INVERTED, ((", x > 0", ", x < 0"),)),
        Mistake(
            "mask not zero",
            "The mask is True where x is not 0. It must be True where x > 0: a negative x gives y = 0, and nothing "
            "that it does reaches the loss.",
            ((", x > 0", ", x != 0"),),
        ),
        Mistake(
            "minimum",
            "You took the smaller of x and 0. ReLU is the larger of both: positive numbers pass.",
            (("xp.maximum(x, 0)", "xp.minimum(x, 0)"),),
        ),
        Mistake(
            "absolute value",
            "You took the absolute value. A negative x must become 0, not -x.",
            (("xp.maximum(x, 0)", "xp.abs(x)"),),
        ),
        Mistake(
            "step",
            "y is 1 where x > 0. That is the slope of ReLU. Its value there is x itself.",
            (("xp.maximum(x, 0)", "(x > 0).astype(x.dtype)"),),
        ),
        Mistake(
            "limited",
            "You cut off at 6 as well: that is ReLU6. Here a positive number stays what it is.",
            (("xp.maximum(x, 0)", "xp.clip(x, 0, 6)"),),
        ),
        Mistake(
            "leaky",
            "A negative x gives 0.01 x: that is the leaky ReLU. Here it gives 0.",
            (("xp.maximum(x, 0)", "xp.maximum(x, 0.01 * x)"),),
        ),
    ),
    hints=(
        "NumPy has a function that takes the larger of two numbers for every entry of an array.",
        "np.maximum(x, 0) keeps a NaN. The mask is a comparison; a comparison of arrays gives an array of bool.",
        "return np.maximum(x, 0), x > 0",
    ),
)
