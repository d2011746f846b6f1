"""Functions to be differentiated: they remember at which points they were asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.learn.exercise import Mistake

SMOOTH, BENT, KINK = "quadratic", "cubic", "has a kink"


class Function:
    """A function of an array, and what is said of it: its formula, and of which kind it is.

    For a QUADRATIC the central difference is exact for any step; that of a cubic depends on the step; near a kink
    it depends on whether the step reaches across.
    """

    def __init__(self, formula: str, kind: str, f: Callable[[np.ndarray], float]) -> None:
        self.formula, self.kind, self.f = formula, kind, f
        self.origin: np.ndarray | None = None
        self.farthest, self.dtypes = 0.0, set()

    def __call__(self, x: np.ndarray) -> float:
        if self.origin is not None:
            if np.shape(x) != self.origin.shape:
                raise ValueError(f"f takes an array of shape {self.origin.shape}, and got one of shape {np.shape(x)}")
            self.farthest = max(self.farthest, float(np.abs(np.asarray(x, float) - self.origin).max()))
            self.dtypes.add(str(np.asarray(x).dtype))
        return self.f(x)

    def __repr__(self) -> str:
        return self.formula

    def watched_at(self, x: np.ndarray) -> Function:
        """The same function, which remembers how far from x it was asked."""
        function = Function(self.formula, self.kind, self.f)
        function.origin = x.copy()
        return function


SQUARES = Function("sum of x^2", SMOOTH, lambda x: (x * x).sum())
COUPLED = Function("(sum of x)^2 + x_0^2", SMOOTH, lambda x: x.sum() ** 2 + x.ravel()[0] ** 2)
CUBES = Function("sum of x^3", BENT, lambda x: (x * x * x).sum())
RELU = Function("sum of max(x, 0)", KINK, lambda x: np.maximum(x, 0).sum())
ABSOLUTE = Function("sum of |x|", KINK, lambda x: np.abs(x).sum())
LARGEST = Function("the largest entry", KINK, lambda x: x.max())


class Inexact(str):
    """A word in place of a number that is beside the point; the number is shown all the same."""

    def __new__(cls, word: str, shown: Any) -> Inexact:
        text = super().__new__(cls, word)
        numbers = np.asarray(shown, float)
        text.shown = np.array2string(numbers, precision=8, separator=", ") if numbers.ndim else f"{numbers:.8g}"
        return text

    def __repr__(self) -> str:
        return f"{self.shown} ({self})"


def judged(name: str, value: Any, f: Function, reach: float) -> dict[str, Any]:
    """The outcome of a check that asked `f`, whose points lie at the distance `reach` if the step is the given one.

    Where the value depends on a step that isn't the given one, a word stands in its place.
    """
    outcome = {name: value, "the step": None, "dtype of the points": " and ".join(sorted(f.dtypes))}
    if not f.dtypes or not isinstance(value, float | np.ndarray):
        return outcome
    if f.dtypes != {"float64"}:
        return {**outcome, name: Inexact("rounding errors", value)}
    ratio = f.farthest / reach
    step = "as given" if abs(ratio - 1) < 1e-3 else "larger" if ratio > 1 else "smaller"
    if step == "larger" and f.kind == KINK and f.farthest > NEAR:
        value = Inexact("a kink lies between the points", value)
    elif step == "smaller" or step == "larger" and f.kind == BENT:
        value = Inexact("from another step", value)
    return {**outcome, name: value, "the step": step}


NEAR = 3e-4  # how far the kinks are from x, if they aren't at x


def own_steps(with_step: Callable[[float], Callable]) -> tuple[Mistake, Mistake]:
    """The mistakes of a larger step than the given one. with_step(step) is the function with a step of its own."""
    return (
        Mistake(
            "kink",
            "Right for smooth functions. But your own step is larger than the given one and reaches across a kink, "
            "where the slope jumps: there you get the mean of both slopes. Your check stands on a kink, not on a "
            "bug. Use the step that is given.",
            wrong=with_step(0.01),
        ),
        Mistake(
            "a larger step",
            "You use a step of your own, larger than the given one. The error grows with its square, and it may "
            "reach across a kink, where the slope jumps. Use the step that is given.",
            wrong=with_step(1e-4),
        ),
    )
