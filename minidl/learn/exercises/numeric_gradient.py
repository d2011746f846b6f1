"""The gradient by central differences, one entry after the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minidl.diagnostics import numeric
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, Outcome
from minidl.learn.exercises.functions import ABSOLUTE, COUPLED, CUBES, LARGEST, NEAR, RELU, SQUARES, judged, own_steps


def _cases(rng: np.random.Generator) -> list[Case]:
    given = 1e-5
    inputs = [
        (CUBES, [1.0, 2], 1.0),  # (8 - 0) / 2 = 4 and (27 - 1) / 2 = 13
        (SQUARES, [3.0, 1], 0.5),
        (COUPLED, [1.0, 2, 3], 0.5),
        (RELU, [NEAR], given),
        (RELU, [0.0, 2, -1], given),  # 1/2 is right at 0
        (ABSOLUTE, [[-NEAR, 2], [1, 3]], given),
        (LARGEST, [1.0, 1 + NEAR], given),
        (SQUARES, [[1.0, 2], [3, 4]], given),
        (COUPLED, rng.normal(size=(2, 3)), given),
        (CUBES, rng.normal(size=(3, 2)), 0.5),
        (COUPLED, rng.normal(size=(2, 2, 3)), given),
    ]
    cases = []
    for f, x, step in inputs:
        x = np.array(x)
        about = {"f": f.kind, "the step": f"{step:g}", "the number of axes": x.ndim, "size": x.size}
        cases.append(Case({"f": f, "x": x, "step": step}, about))
    return cases


def _call(function: Callable, arguments: Arguments) -> Outcome:
    """The gradient, and at how far from x the function was asked."""
    f, x, step = arguments.values()
    f = f.watched_at(x)
    return judged("gradient", function(f, x, step), f, step)


def _on_paper(arguments: Arguments, name: str, index: tuple[int, ...]) -> str | None:
    f, x, step = arguments.values()
    if step < 0.1:  # too many digits for a line
        return None
    above, below = x.copy(), x.copy()
    above[index] += step
    below[index] -= step
    return f"({f(above):.6g} - {f(below):.6g}) / (2*{step:g}) = {(f(above) - f(below)) / (2 * step):.6g}"


def _by_entry(entry: Callable) -> Callable:
    """A gradient from entry(f, x, unit, step), for the unit vectors in x's shape."""

    def gradient(f, x, step=1e-5):
        units = np.eye(x.size).reshape(x.size, *x.shape)
        return np.array([entry(f, x, unit, step) for unit in units]).reshape(x.shape)

    return gradient


def _with_step(own: float) -> Callable:
    return _by_entry(lambda f, x, unit, step: numeric.central_difference(f, x, unit, own))


def _left_there(f, x, step=1e-5):
    """Leaves every entry at x - step."""
    y, gradient = x.copy(), np.empty_like(x)
    for index in np.ndindex(x.shape):
        y[index] += step
        above = f(y)
        y[index] -= 2 * step
        gradient[index] = (above - f(y)) / (2 * step)
    return gradient


def _left_in_x(f, x, step=1e-5):
    """The same in the caller's x."""
    y = x.copy()
    gradient = _left_there(f, y, step)
    x -= step
    return gradient


def _put_back_by_adding(f, x, step=1e-5):
    """Moves an entry of x up, down and up again: rounding leaves it beside its old value."""
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        x[index] += step
        above = f(x)
        x[index] -= 2 * step
        gradient[index] = (above - f(x)) / (2 * step)
        x[index] += step
    return gradient


def _rows(f, x, step=1e-5):
    """Moves x[i] as a whole."""
    gradient = np.empty_like(x)
    for i in range(len(x)):
        unit = np.zeros_like(x)
        unit[i] = 1
        gradient[i] = numeric.central_difference(f, x, unit, step)
    return gradient


def _growing(f, x, step=1e-5):
    """Makes the vector of zeros once, before the loop."""
    unit, gradient = np.zeros_like(x), np.empty_like(x)
    for index in np.ndindex(x.shape):
        unit[index] = 1
        gradient[index] = numeric.central_difference(f, x, unit, step)
    return gradient


EXERCISE = Exercise(
    name="numeric_gradient",
    chapter="10_gradient_check",
    target="minidl.diagnostics.numeric:numeric_gradient",
    task="The gradient of f at x, an array of x's shape: one central difference for each entry of x, with the step "
    "that is given. x may have any number of axes. Given is central_difference.",
    cases=_cases,
    call=_call,
    worked=_on_paper,
    any_dtype=False,
    mistakes=(
        *own_steps(_with_step),
        Mistake(
            "the default step",
            "Your step is always 1e-5. That is only its default: pass on the step that is given.",
            (("unit.reshape(x.shape), step)", "unit.reshape(x.shape))"),),
        ),
        Mistake(
            "a smaller step",
            "You use a step of your own, smaller than the given one. Then both values of f have nearly all digits in "
            "common, and their difference has few left. Use the step that is given.",
            wrong=_with_step(1e-7),
        ),
        Mistake(
            "float32",
            "You compute in float32. It has 7 digits, and the two values of f have about 5 in common: what is left "
            "are rounding errors. Stay in float64.",
            wrong=lambda f, x, step=1e-5: numeric.numeric_gradient(f, x.astype(np.float32), step),
        ),
        Mistake(
            "one-sided",
            "You ask f on one side only. The error of this difference is as large as the step; that of the central "
            "one as its square.",
            wrong=_by_entry(lambda f, x, unit, step: (f(x + step * unit) - f(x)) / step),
        ),
        Mistake(
            "2 forgotten",
            "Twice too large: the two points are 2 steps apart. Divide by 2 step.",
            wrong=_by_entry(lambda f, x, unit, step: (f(x + step * unit) - f(x - step * unit)) / step),
        ),
        Mistake(
            "brackets missing",
            "Brackets are missing: `a / 2 * step` is (a / 2) * step. Write a / (2 * step).",
            wrong=_by_entry(lambda f, x, unit, step: (f(x + step * unit) - f(x - step * unit)) / 2 * step),
        ),
        Mistake(
            "not put back",
            "You don't put an entry back before you move the next one, so every difference is taken at another x. "
            "Set it back to its old value after each.",
            wrong=_left_there,
        ),
        Mistake(
            "x not put back",
            "You move the entries of the caller's x and don't put them back: x has changed, and every difference is "
            "taken at another x. Set each entry back to its old value, or work on a copy.",
            wrong=_left_in_x,
        ),
        Mistake(
            "put back by adding",
            "The gradient is right, but x has changed a little. x + step - 2 step + step isn't quite x, because each "
            "sum is rounded. Keep the old value and put that back, or work on a copy.",
            wrong=_put_back_by_adding,
        ),
        Mistake(
            "all entries at once",
            "You move all entries of x at once, which gives one number for all: the sum of the gradient. Move one "
            "entry at a time, along a unit vector.",
            wrong=lambda f, x, step=1e-5: np.full_like(x, numeric.central_difference(f, x, np.ones_like(x), step)),
        ),
        Mistake(
            "whole rows",
            "Right where x has one axis. With more, you move a whole row x[i] at a time. Go through all entries: "
            "x.size of them.",
            wrong=_rows,
        ),
        Mistake(
            "unit vectors add up",
            "Your unit vector keeps the ones of the entries before: entry i is the sum of the first i + 1. Begin "
            "with zeros for every entry.",
            wrong=_growing,
        ),
    ),
    hints=(
        "How does f change if entry i of x moves and all others stay? That is a central difference along a unit "
        "vector: 1 in one place, 0 elsewhere.",
        "Go through the entries: `for index in np.ndindex(x.shape)`. For each, make zeros of x's shape with a 1 at "
        "index, and call central_difference. What must you pass on as step?",
        "gradient = np.empty_like(x); for index in np.ndindex(x.shape): unit = np.zeros_like(x); unit[index] = 1; "
        "gradient[index] = central_difference(f, x, unit, step); return gradient.",
    ),
)
