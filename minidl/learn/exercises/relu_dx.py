"""ReLU's way back: the mask lets dy pass or stops it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, returns


def _cases(rng: np.random.Generator) -> list[Case]:
    by_hand = {"dy": np.array([1.0, -2, 3, -4]), "mask": np.array([True, True, False, False])}
    cases = [Case(by_hand, {"the mask": "mixed", "axes": 1})]
    for shape in ((2, 3), (3, 5), (2, 3, 3, 2), (1, 4, 2, 3)):
        arguments = {"dy": rng.normal(size=shape), "mask": rng.normal(size=shape) > 0}
        cases.append(Case(arguments, {"the mask": "mixed", "axes": len(shape)}))
    for value in (True, False):
        arguments = {"dy": rng.normal(size=(2, 4)), "mask": np.full((2, 4), value)}
        cases.append(Case(arguments, {"the mask": f"{value} everywhere", "axes": 2}))
    return [*cases, Case({"dy": np.zeros((2, 2)), "mask": np.eye(2) > 0}, {"the mask": "mixed", "axes": 2})]


def _special(arguments: Arguments, name: str) -> Mapping[str, np.ndarray]:
    return {
        "where dy is negative": arguments["dy"] < 0,
        "where dy is positive": arguments["dy"] > 0,
        "where the mask is False": ~arguments["mask"],
        "where the mask is True": arguments["mask"],
    }


def _witness(arguments: Arguments) -> Mapping[str, tuple[Callable, np.ndarray]]:
    x = np.where(arguments["mask"], 1.0, -1.0)
    return {"dx": (lambda x: (np.maximum(x, 0) * arguments["dy"]).sum(), x)}


_MASK = (
    "You returned the mask alone. It is the slope dy/dx of ReLU. The chain rule multiplies it by dL/dy, which is "
    "called dy here."
)

EXERCISE = Exercise(
    name="relu_dx",
    chapter="01_linear",
    target="minidl.kernels.reference:relu_dx",
    task="The way back through ReLU. `mask` is True where x > 0: there y = x, and dy passes unchanged. Elsewhere y "
    "is 0 whatever x is, so dx is 0. dy is not changed.",
    cases=_cases,
    call=returns("dx"),
    places=_special,
    gradient=_witness,
    mistakes=(
        Mistake(
            "sign of dy",
            "You stopped negative dy instead of negative x. A gradient may have any sign; the mask alone decides "
            "what passes. (What you wrote is the rule of the deconvnet, which is made for pictures.)",
            (("dy * mask", "dy * (dy > 0)"),),
        ),
        Mistake(
            "guided",
            "You stopped negative dy as well. The mask alone decides what passes. (What you wrote is the rule of "
            "guided backpropagation, which is made for pictures.)",
            (("dy * mask", "dy * mask * (dy > 0)"),),
        ),
        Mistake(
            "no mask",
            "You returned dy everywhere. Where x was not above 0, y was 0 whatever x was, so dx is 0 there.",
            (("dy * mask", "dy.copy()"),),
        ),
        Mistake(
            "inverted",
            "The mask is the wrong way round: it is True where x > 0, where dy passes.",
            (("dy * mask", "dy * ~mask"),),
        ),
        Mistake(
            "dy ignored",
            _MASK,
            (("dy * mask", "mask.astype(dy.dtype)"),),
        ),
        Mistake("mask returned", _MASK, (("dy * mask", "mask.copy()"),)),
        Mistake(
            "leaky",
            "Where the mask is False, you let 0.01 dy pass: that is the leaky ReLU. Here nothing passes.",
            (("dy * mask", "dy * (0.01 + 0.99 * mask)"),),
        ),
        Mistake(
            "absolute value",
            "Where the mask is False you returned -dy: that is the way back through |x|. Here dx is 0 there.",
            (("dy * mask", "dy * (2.0 * mask - 1)"),),
        ),
    ),
    hints=(
        "The slope of ReLU is 1 where x > 0 and 0 elsewhere. What does the chain rule do with a slope?",
        "It multiplies: dx = dL/dy times dy/dx, entry by entry. True counts as 1, and False as 0.",
        "return dy * mask",
    ),
)
