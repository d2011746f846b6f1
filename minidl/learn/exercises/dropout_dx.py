"""The way back through dropout."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minidl.layers.dropout import Dropout
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, Outcome
from minidl.learn.exercises.paper import number


def _cases(rng: np.random.Generator) -> list[Case]:
    by_hand = {"dy": np.ones(4), "cache": np.array([2.0, 0, 2, 0]), "p": 0.5}
    cases = [Case(by_hand, _about(0.5, True))]
    for p, mode, shape in (
        (0.5, "PROBE", (4,)),
        (0.2, "TRAIN", (5,)),
        (0.75, "TRAIN", (2, 3)),
        (0.2, "PROBE", (2, 3)),
        (0.0, "TRAIN", (2, 2)),
        (0.5, "TRAIN", (3, 4)),
        (0.3, "TRAIN", (2, 3, 3, 2)),
        (0.9, "TRAIN", (3, 4, 2, 5)),
    ):
        dropped = np.arange(np.prod(shape)).reshape(shape) % 3 == 1
        mask = np.where(dropped, 0, 1 / (1 - p)) if mode == "TRAIN" and p else None
        cases.append(Case({"dy": rng.normal(size=shape), "cache": mask, "p": p}, _about(p, mask is not None)))
    return cases


def _about(p: float, mask: bool) -> dict[str, int | str]:
    return {"the cache": "a mask" if mask else "None", "p": f"{p:g}"}


def _call(function: Callable, arguments: Arguments) -> Outcome:
    """dx; a word in its place if it isn't the same in every call."""
    dy, cache, p = arguments.values()
    before = dy.copy()
    dx = function(Dropout(p), dy, cache)
    if isinstance(dx, np.ndarray) and cache is not None:
        for _ in range(20):  # of few numbers two calls may draw the same mask
            if not np.array_equal(dx, function(Dropout(p), before.copy(), cache), equal_nan=True):
                return {"dx": "another one in every call"}
    return {"dx": dx}


def _on_paper(arguments: Arguments, name: str, index: tuple[int, ...]) -> str:
    dy, cache, _ = arguments.values()
    g = number(dy[index])
    return f"{g}, as it is" if cache is None else f"{g}*{number(cache[index])} = {dy[index] * cache[index]:.6g}"


def _in_training(back: Callable) -> Callable:
    return lambda self, dy, cache: dy if cache is None else back(self, dy, cache)


EXERCISE = Exercise(
    name="dropout_dx",
    chapter="09_training",
    target="minidl.layers.dropout:Dropout.input_grad",
    task="Return dx. `cache` is the mask of the forward pass, which contains the factor 1 / (1 - p) already; or "
    "None, if nothing was dropped.",
    cases=_cases,
    call=_call,
    worked=_on_paper,
    gradient=lambda a: {"dx": (lambda x: (x * (1 if a["cache"] is None else a["cache"]) * a["dy"]).sum(), a["dy"])},
    mistakes=(
        Mistake(
            "factor missing",
            "The factor 1 / (1 - p) is missing. y is x times the mask, so dx is dy times the same mask, with the "
            "factor that stands in it.",
            wrong=_in_training(lambda self, dy, cache: dy * (cache > 0)),
        ),
        Mistake(
            "factor twice",
            "The factor 1 / (1 - p) counts twice: it is in the mask already.",
            wrong=_in_training(lambda self, dy, cache: dy * cache / (1 - self.p)),
        ),
        Mistake(
            "scaled by 1/p",
            "You multiply by 1 / p. The factor of the forward pass is 1 / (1 - p), and stands in the mask already.",
            wrong=_in_training(lambda self, dy, cache: dy * (cache > 0) / self.p),
        ),
        Mistake(
            "no mask",
            "You scaled dy, but where the mask is 0 dx must be 0: x doesn't reach y there.",
            wrong=_in_training(lambda self, dy, cache: dy / (1 - self.p)),
        ),
        Mistake(
            "passed through",
            "You pass dy on as it is. In training y is x times the mask, so dx is dy times the mask.",
            wrong=lambda self, dy, cache: dy,
        ),
        Mistake(
            "a new mask",
            "Every call gives another dx: you draw a new mask. The gradient must go where x went: use the mask of "
            "the forward pass, which is in the cache.",
            wrong=_in_training(lambda self, dy, cache: dy * np.random.default_rng().uniform(size=dy.shape)),
        ),
        Mistake(
            "the dropped ones",
            "The gradient goes to the numbers that were dropped, and the others receive 0: the mask is the wrong way "
            "round.",
            wrong=_in_training(lambda self, dy, cache: dy * (cache == 0) / (1 - self.p)),
        ),
        Mistake(
            "None forgotten",
            "The cache is None if nothing was dropped, in a PROBE pass for example. Then dx is dy.",
            (("dy if cache is None else dy * cache", "dy * cache"),),
        ),
        Mistake(
            "scaled without a mask",
            "Right in training. Where the cache is None nothing was dropped and nothing was scaled: dx is dy, "
            "without a factor.",
            (("dy if cache is None", "dy * (1 - self.p) if cache is None"),),
        ),
    ),
    hints=(
        "In training y = x m, number by number. What is the derivative of y with respect to x, if m is a constant?",
        "dx = dy m, with the mask m of the forward pass. Nothing else is needed, except for the pass without a mask.",
        "return dy if cache is None else dy * cache.",
    ),
)
