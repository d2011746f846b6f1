"""The derivative by a central difference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minidl.diagnostics import numeric
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, Outcome
from minidl.learn.exercises.functions import ABSOLUTE, COUPLED, CUBES, LARGEST, NEAR, RELU, SQUARES, judged, own_steps


def _cases(rng: np.random.Generator) -> list[Case]:
    given = 1e-5
    inputs = [
        (CUBES, [1.0, 2], [1.0, 0], 1.0),  # (8 + 8 - 0 - 8) / 2 = 4
        (SQUARES, [1.0, 2], [0.0, 1], given),
        (SQUARES, [1.0, 2, 3], [0.0, 1, 0], 0.5),
        (SQUARES, [1.0, 2], [3.0, 4], given),
        (RELU, [NEAR], [1.0], given),
        (RELU, [0.0, 2], [1.0, 1], given),  # here the mean of both slopes, 1/2, is right
        (ABSOLUTE, [-NEAR, 2], [1.0, 2], given),
        (LARGEST, [1.0, 1 + NEAR], [1.0, 3], given),
        (CUBES, [1.0, -2], [2.0, 1], 0.5),
        (COUPLED, rng.normal(size=(2, 3)), rng.normal(size=(2, 3)), given),
        (COUPLED, rng.normal(size=(2, 2, 3)), 0.5 * rng.normal(size=(2, 2, 3)), given),
    ]
    cases = []
    for f, x, direction, step in inputs:
        x, direction = np.array(x), np.array(direction)
        length = "1" if np.isclose(np.linalg.norm(direction), 1) else "not 1"
        about = {"f": f.kind, "the step": f"{step:g}", "the length of the direction": length, "size": x.size}
        cases.append(Case({"f": f, "x": x, "direction": direction, "step": step}, about))
    return cases


def _call(function: Callable, arguments: Arguments) -> Outcome:
    """The derivative, and at how far from x the function was asked."""
    f, x, direction, step = arguments.values()
    f, reach = f.watched_at(x), step * float(np.abs(direction).max())
    value = function(f, x, direction, step)
    return judged("derivative", float(value) if np.ndim(value) == 0 and value is not None else value, f, reach)


def _with_step(step: float) -> Callable:
    return lambda f, x, direction, _=None: numeric.central_difference(f, x, direction, step)


_FORMULA = "float(f(x + step * direction) - f(x - step * direction)) / (2 * step)"

EXERCISE = Exercise(
    name="central_difference",
    chapter="10_gradient_check",
    target="minidl.diagnostics.numeric:central_difference",
    task="Measure the derivative of f at x along a direction, without any formula for it: call f at two points. Use "
    "the step that is given.",
    cases=_cases,
    call=_call,
    any_dtype=False,
    mistakes=(
        *own_steps(_with_step),
        Mistake(
            "the default step",
            "Your step is always 1e-5. That is only its default: use the step that is given.",
            wrong=_with_step(1e-5),
        ),
        Mistake(
            "a smaller step",
            "You use a step of your own, smaller than the given one. Then both values of f have nearly all digits in "
            "common, and their difference has few left. Use the step that is given.",
            wrong=_with_step(1e-7),
        ),
        Mistake(
            "float32",
            "You compute in float32. It has 7 digits, and f(x + step u) and f(x - step u) have about 5 in common: "
            "what is left are rounding errors. Stay in float64.",
            wrong=lambda f, x, direction, step=1e-5: (
                float(f((x + step * direction).astype(np.float32)) - f((x - step * direction).astype(np.float32)))
                / (2 * step)
            ),
        ),
        Mistake(
            "one-sided",
            "You ask f at x and on one side only. The error of this difference is as large as the step; that of the "
            "central one, with x - step u, as its square: 3.0301 and 3.0001 for x^3 at 1 with a step of 0.01.",
            ((_FORMULA, "float(f(x + step * direction) - f(x)) / step"),),
        ),
        Mistake(
            "one-sided, backwards",
            "You ask f at x and on the lower side only. The error of this difference is as large as the step; that "
            "of the central one, with x + step u, as its square.",
            ((_FORMULA, "float(f(x) - f(x - step * direction)) / step"),),
        ),
        Mistake(
            "2 forgotten",
            "Twice too large: the two points are 2 steps apart. Divide by 2 step.",
            (("/ (2 * step)", "/ step"),),
        ),
        Mistake(
            "half a difference",
            "You ask f on one side only, and divide by the distance of two steps. Ask f at x - step u too.",
            ((_FORMULA, "float(f(x + step * direction) - f(x)) / (2 * step)"),),
        ),
        Mistake(
            "brackets missing",
            "Brackets are missing: `a / 2 * step` is (a / 2) * step. Write a / (2 * step).",
            (("/ (2 * step)", "/ 2 * step"),),
        ),
        Mistake(
            "not divided",
            "You return the difference of the two values. Divide it by their distance, 2 step.",
            (("/ (2 * step)", ""),),
        ),
        Mistake(
            "direction ignored",
            "You move all entries of x by the step. Move them along the direction: x + step * direction.",
            ((_FORMULA, "float(f(x + step) - f(x - step)) / (2 * step)"),),
        ),
        Mistake(
            "direction normalized",
            "You divide the direction by its length. Take it as it is: the derivative along 2 u is twice the one "
            "along u.",
            wrong=lambda f, x, direction, step=1e-5: numeric.central_difference(
                f, x, direction / np.linalg.norm(direction), step
            ),
        ),
        Mistake(
            "x changed",
            "You changed x: `x += ...` writes into the caller's array. x + step * direction makes a new one.",
            wrong=lambda f, x, direction, step=1e-5: (
                (f(np.add(x, step * direction, out=x)) - f(np.subtract(x, 2 * step * direction, out=x))) / (2 * step)
            ),
        ),
    ),
    hints=(
        "The derivative is the limit of a difference divided by a distance. At which two points do you call f?",
        "At x + step u and x - step u, one on each side. How far are they apart?",
        "return (f(x + step * direction) - f(x - step * direction)) / (2 * step).",
    ),
)
