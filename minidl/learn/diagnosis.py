"""Finds the mistake in a wrong answer.

First the answer is compared with the typical mistakes of its exercise: wrong functions, of which each gives numbers
of its own. If it gives the numbers of one for *all* inputs, that is the mistake. Otherwise the numbers themselves are
looked at, and only facts are said: a shape, a factor, exchanged axes, the inputs for which the answer is right, the
places where it is wrong. At the end stands the smallest input that fails, and the first entry that differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.learn.compare import agree, apart, equal
from minidl.learn.evidence import first_difference
from minidl.learn.exercise import Case, Exercise, Mistake, Returned, described
from minidl.learn.patterns import Bad, everywhere
from minidl.learn.running import Answer, answers
from minidl.learn.source import changed


@dataclass(frozen=True)
class Diagnosis:
    name: str  # the kind of mistake: "typical NAME", "raises", "shape", "factor", ...
    lines: tuple[str, ...]


def diagnose(exercise: Exercise, cases: list[Case], given: list[Answer], right: list[Answer]) -> Diagnosis:
    """The mistake in a wrong answer, from what it gives for each case."""
    wrong = [i for i, (a, b) in enumerate(zip(given, right, strict=True)) if not agree(a, b)]
    evidence = first_difference(exercise, cases, given, right, wrong)
    telling_first = sorted(range(len(cases)), key=lambda i: i not in wrong)
    for mistake in exercise.mistakes:
        if all(agree(given[i], typical(exercise, mistake, [cases[i]])[0]) for i in telling_first):
            return Diagnosis(f"typical {mistake.name}", (mistake.says, *evidence))
    found = [*_facts(exercise, cases, given, right, wrong)]
    if not found:
        return Diagnosis("unknown", evidence)
    return Diagnosis(found[0][0], (*(line for _, line in found), *evidence))


def typical(exercise: Exercise, mistake: Mistake, cases: list[Case]) -> list[Answer]:
    """What a typical mistake gives for each case."""
    return answers(exercise, changed(exercise, mistake), cases, prepared=dict)


def _facts(
    exercise: Exercise, cases: list[Case], given: list[Answer], right: list[Answer], wrong: list[int]
) -> Iterator[tuple[str, str]]:
    """(kind, sentence) for what can be said of a wrong answer, the most telling first."""
    bad = [(cases[i], given[i], right[i]) for i in wrong]
    condition = _condition(cases, wrong)
    if raising := [a for _, a, _ in bad if a.raised]:
        error = raising[0].raised
        yield ("kind", f"{error}.") if isinstance(error.error, Returned) else ("raises", f"It raises {error}.")
        if len(raising) < len(bad):
            return
    elif kinds := _kinds(bad):
        yield kinds
    elif all(a.changed != b.changed for _, a, b in bad) and _values_right(bad):
        names = sorted({name for _, a, _ in bad for name in a.changed})
        yield "changed", f"You changed {' and '.join(names)}, which belongs to the caller. Work on a copy."
    else:
        yield from everywhere(bad)
        yield from _places(exercise, bad)
        yield from _outputs(bad)
    if condition:
        yield "condition", condition


def _kinds(bad: Bad) -> tuple[str, str] | None:
    """A result of another kind, of another shape, or of another dtype."""
    triples = [(case, name, a.outcome[name], b.outcome[name]) for case, a, b in bad for name in b.outcome]
    for _, name, value, wanted in triples:
        numbers = np.ndarray if np.ndim(wanted) else np.ndarray | np.generic | int | float
        if isinstance(wanted, np.ndarray | np.generic) and not isinstance(value, numbers):
            return "kind", f"{name} is {described(value)}, must be {described(wanted)}."
        if wanted is None and value is not None:
            return "kind", f"{name} is {described(value)}, must be None."
    for case, name, value, wanted in triples:
        if np.shape(value) != np.shape(wanted):
            return "shape", f"{name} has shape {np.shape(value)}, must be {np.shape(wanted)}{_sizes(case)}."
    for _, name, value, wanted in triples:
        dtype = getattr(wanted, "dtype", None)
        if dtype and np.asarray(value).dtype != dtype and equal(_cast(value, dtype), np.asarray(wanted)):
            return "dtype", f"The numbers are right, but {name} is {described(value)}, must be {dtype}."
    return None


def _cast(value: Any, dtype: np.dtype) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # a NaN as a whole number
        return np.asarray(value).astype(dtype)


def _sizes(case: Case) -> str:
    sizes = [f"{k} is {v}" for k, v in case.about.items() if isinstance(v, int)]
    return f" (where {', '.join(sizes)})" if sizes else ""


def _values_right(bad: Bad) -> bool:
    return all(equal(a.outcome[name], value) for _, a, b in bad for name, value in b.outcome.items())


def _outputs(bad: Bad) -> Iterator[tuple[str, str]]:
    """Which of several outputs is wrong."""
    names = list(bad[0][2].outcome)
    broken = {name for _, a, b in bad for name in names if not equal(a.outcome[name], b.outcome[name])}
    if fine := [name for name in names if name not in broken]:
        yield "outputs", f"{' and '.join(fine)}: right; wrong is {' and '.join(n for n in names if n in broken)}."


def _places(exercise: Exercise, bad: Bad) -> Iterator[tuple[str, str]]:
    """The answer is right except in special places of an output."""
    if exercise.places is None:
        return
    candidates: dict[tuple[str, str], bool] = {}
    for case, a, b in bad:
        for name, wanted in b.outcome.items():
            if not isinstance(wanted, np.ndarray) or np.shape(a.outcome[name]) != wanted.shape:
                continue
            differs = apart(a.outcome[name], wanted)
            for where, mask in exercise.places(case.fresh(), name).items():
                only_there = bool(differs.any()) and not bool((differs & ~mask).any())
                if differs.any():
                    candidates[name, where] = candidates.get((name, where), True) and only_there
    for (name, where), only_there in candidates.items():
        if only_there:
            yield "places", f"{name} is right, except {where}."
            return


def _condition(cases: list[Case], wrong: list[int]) -> str:
    """Such as "Right where stride is 1, ...", if one number or word parts the right cases from the wrong ones."""
    good = [i for i in range(len(cases)) if i not in wrong]
    if not good:
        return ""
    for key in cases[0].about:
        if not all(key in case.about for case in cases):
            continue
        fine, broken = {cases[i].about[key] for i in good}, {cases[i].about[key] for i in wrong}
        if fine & broken:
            continue
        if len(fine) == 1 and len(good) > 1:
            other = "isn't" if len(broken) > 1 else f"is {min(broken, key=str)}"
            return f"Right where {key} is {min(fine, key=str)}, wrong where it {other}."
        if len(broken) == 1:
            return f"Right, except where {key} is {min(broken, key=str)}."
    return ""
