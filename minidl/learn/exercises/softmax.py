"""Softmax: numbers become probabilities."""

from __future__ import annotations

import numpy as np

from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, returns
from minidl.learn.exercises.paper import number


def _cases(rng: np.random.Generator) -> list[Case]:
    cases = [Case({"logits": np.array([[0.0, 0], [0, np.log(3)]])}, _about((2, 2)))]
    cases += [Case({"logits": rng.normal(size=shape)}, _about(shape)) for shape in ((1, 5), (3, 2), (3, 3), (4, 5))]
    cases += [Case({"logits": rng.normal(size=shape)}, _about(shape)) for shape in ((5,), (2, 3, 4))]
    for middles in ((1000, 1000), (1000, -1000)):  # of the rows
        logits = rng.normal(size=(2, 3)) + np.array(middles)[:, None]
        cases.append(Case({"logits": logits}, _about((2, 3), size="about 1000")))
    cases.append(Case({"logits": np.array([[0.0, 1500, 1], [1, 2, 3]])}, _about((2, 3), spread="above 1000")))
    infinite = rng.normal(size=(2, 4))
    infinite[1, 2] = -np.inf
    return [*cases, Case({"logits": infinite}, _about((2, 4), infinite="present"))]


def _about(
    shape: tuple[int, ...], size: str = "ordinary", spread: str = "ordinary", infinite: str = "absent"
) -> dict[str, int | str]:
    return {
        "the number of axes": len(shape),
        "the size of the logits": size,
        "the spread of a row": spread,
        "a logit of -inf": infinite,
        "K": shape[-1],
        "N": int(np.prod(shape[:-1])),
    }


def _on_paper(arguments: Arguments, name: str, index: tuple[int, ...]) -> str | None:
    row = arguments["logits"][index[:-1]]
    powers = [f"exp({z:.4g})" for z in row - row.max()]
    value = np.exp(row - row.max())
    return (
        f"the row minus its maximum {number(row.max())}; then {powers[index[-1]]} / ({' + '.join(powers)}) = "
        f"{value[index[-1]] / value.sum():.6g}"
    )


_LOGARITHM = "You returned the logarithm of the probabilities. Take exp of it."

EXERCISE = Exercise(
    name="softmax",
    chapter="02_softmax",
    target="minidl.losses:softmax",
    task="Turn logits into probabilities, along the last axis: take exp of every number and divide by the sum of its "
    "row. The array may have any number of axes, and its numbers may be as large as 1000 or -1000. exp(1000) is inf "
    "in float64, so subtract the row's maximum first. The logits are not changed.",
    cases=_cases,
    call=returns("p"),
    worked=_on_paper,
    mistakes=(
        Mistake(
            "overflows",
            "Right for small logits. exp(1000) is inf and exp(-1000) is 0: then the quotient is inf/inf or 0/0, a "
            "NaN. Subtract the row's maximum first; the result is the same.",
            (("logits - logits.max(axis=-1, keepdims=True)", "logits"),),
        ),
        Mistake(
            "one maximum for all rows",
            "You subtract the maximum of the whole array. Right while all rows are of a similar size; in a row of "
            "much smaller numbers every exp becomes 0, and 0/0 is NaN. Each row needs its own maximum.",
            (("logits.max(axis=-1, keepdims=True)", "logits.max()"),),
        ),
        Mistake(
            "not the maximum",
            "You subtract another number of the row than its maximum, such as its mean or minimum. Then an exponent "
            "can still be large, exp gives inf, and inf/inf is NaN.",
            (("logits.max(axis=-1, keepdims=True)", "logits.mean(axis=-1, keepdims=True)"),),
        ),
        Mistake(
            "maximum subtracted in one place",
            "You subtract the maximum above, but not in the sum below (exp of the logits themselves). The factor "
            "exp(-m) cancels only if it stands in both.",
            (("p.sum(axis=-1", "xp.exp(logits).sum(axis=-1"),),
        ),
        Mistake(
            "wrong axis",
            "You normalized along the first axis. There are the images. The probabilities of one image, its row, "
            "must add up to 1: the last axis.",
            (("max(axis=-1", "max(axis=0"), ("p.sum(axis=-1", "p.sum(axis=0")),
        ),
        Mistake(
            "axis 1",
            "Right for two axes. The function must work along the last axis, whatever its number: that is axis -1.",
            (("max(axis=-1", "max(axis=1"), ("p.sum(axis=-1", "p.sum(axis=1")),
        ),
        Mistake(
            "not normalized",
            "The division is missing: p must add up to 1 in every row.",
            (("    p /= p.sum(axis=-1, keepdims=True)\n", ""),),
        ),
        Mistake(
            "normalized over everything",
            "All rows together add up to 1. Each row must add up to 1: give the sum the axis.",
            (("p.sum(axis=-1, keepdims=True)", "p.sum()"),),
        ),
        Mistake(
            "all numbers as one row",
            "The maximum and the sum run over the whole array, so all rows together add up to 1. Each row must add "
            "up to 1: give both the last axis, with keepdims=True.",
            (("logits.max(axis=-1, keepdims=True)", "logits.max()"), ("p.sum(axis=-1, keepdims=True)", "p.sum()")),
        ),
        Mistake("logarithm", _LOGARITHM, (("    return p\n", "    return xp.log(p)\n"),)),
        Mistake(
            "logarithm without p",
            _LOGARITHM,
            (
                (
                    "xp.exp(logits - logits.max(axis=-1, keepdims=True))",
                    "logits - logits.max(axis=-1, keepdims=True)",
                ),
                ("p /= p.sum(axis=-1, keepdims=True)", "p -= xp.log(xp.exp(p).sum(axis=-1, keepdims=True))"),
            ),
        ),
        Mistake(
            "sigmoid",
            "You computed 1 / (1 + exp(-z)) for every number by itself: the sigmoid. Softmax divides exp(z) by the "
            "sum over the row, so that the row adds up to 1.",
            wrong=lambda logits: 1 / (1 + np.exp(-logits)),
        ),
        Mistake(
            "no exponential",
            "You divided the numbers themselves by their sum, without exp. Logits may be negative, probabilities "
            "not.",
            wrong=lambda logits: logits / logits.sum(axis=-1, keepdims=True),
        ),
    ),
    hints=(
        "exp(z - m) / sum of exp(z - m) is the same for every m, because exp(-m) cancels. Which m keeps every "
        "exponent at or below 0?",
        "Subtract logits.max(axis=-1, keepdims=True). keepdims keeps an axis of length 1, so that shapes fit for the "
        "subtraction and for the division.",
        "p = np.exp(logits - logits.max(axis=-1, keepdims=True)); return p / p.sum(axis=-1, keepdims=True)",
    ),
)
