"""Finds the mistake in a wrong answer.

First the answer is compared with the typical mistakes of its exercise: wrong functions, of which each gives numbers
of its own. If it gives the numbers of one for *all* inputs, that is the mistake. Otherwise the numbers themselves are
looked at, and only facts are said: a shape, a factor, exchanged axes, the inputs for which the answer is right, the
places where it is wrong. At the end stands the smallest input that fails, and the first entry that differs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minidl.learn.compare import agree, apart, equal
from minidl.learn.evidence import first_difference, smallest
from minidl.learn.exercise import Case, Exercise, Mistake, Returned, described
from minidl.learn.patterns import Bad, everywhere, exchanged
from minidl.learn.running import Answer, answers
from minidl.learn.source import changed

FEW = 3  # names or sizes that a sentence may list


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
            return Diagnosis(f"typical {mistake.name}", (*_likely(given, wrong), mistake.says, *evidence))
    found = [*_facts(exercise, cases, given, right, wrong)]
    if not found:
        return Diagnosis("unknown", evidence)
    if given[smallest(cases, wrong)].raised:
        evidence = evidence[:-1]  # the error, which the first sentence names
    return Diagnosis(found[0][0], (*(line for _, line in found), *evidence))


def _likely(given: list[Answer], wrong: list[int]) -> tuple[str, ...]:
    """A caution where nothing but errors agree with a typical mistake: another mistake may raise them too."""
    first = given[wrong[0]].raised
    errors_only = first and not isinstance(first.error, Returned) and all(given[i].raised for i in wrong)
    return (f"It {first.said}. A likely reason:",) if errors_only else ()


def typical(exercise: Exercise, mistake: Mistake, cases: list[Case]) -> list[Answer]:
    """What a typical mistake gives for each case."""
    return answers(exercise, changed(exercise, mistake), cases, prepared=dict)


def _facts(
    exercise: Exercise, cases: list[Case], given: list[Answer], right: list[Answer], wrong: list[int]
) -> Iterator[tuple[str, str]]:
    """(kind, sentence) for what can be said of a wrong answer, the most telling first."""
    bad = [(cases[i], given[i], right[i]) for i in wrong]
    condition, shown = _condition(cases, wrong), smallest(cases, wrong)
    if raising := [a for _, a, _ in bad if a.raised]:
        below = given[shown].raised
        error = below or raising[0].raised
        if isinstance(error.error, Returned):
            yield "kind", f"{error}."
        elif below:
            yield "raises", f"It {error.said}."
        else:
            yield (
                "raises",
                f"For some inputs it {error.said}. For others, such as the one below, the result is wrong.",
            )
        if len(raising) < len(bad):
            return
    elif swapped := exchanged(bad):
        yield swapped
    elif kinds := _kinds(bad):
        yield kinds
    elif all(a.changed != b.changed for _, a, b in bad) and _values_right(bad):
        yield _changed(bad)
    else:
        facts = [*everywhere(bad), *_places(exercise, bad)] or [*_outputs(bad, given[shown], right[shown])]
        if any(a.changed for _, a, _ in bad):  # where it is all that is wrong below, it comes first
            alone = replace(given[shown], changed=right[shown].changed)
            facts.insert(0 if agree(alone, right[shown]) else len(facts), _changed(bad))
        yield from facts
    if condition:
        yield "condition", condition


def _changed(bad: Bad) -> tuple[str, str]:
    names = sorted({name for _, a, _ in bad for name in a.changed})
    belong = "belongs" if len(names) == 1 else "belong"
    return "changed", f"You changed {' and '.join(names)}, which {belong} to the caller. Work on a copy."


def _kinds(bad: Bad) -> tuple[str, str] | None:
    """A result of another kind, of another shape, or of another dtype."""
    triples = [(case, name, a.outcome[name], b.outcome[name]) for case, a, b in bad for name in b.outcome]
    for _, name, value, wanted in triples:
        numbers = np.ndarray if np.ndim(wanted) else np.ndarray | np.generic | int | float
        if isinstance(wanted, np.ndarray | np.generic) and not isinstance(value, numbers) and not _word(value):
            return "kind", f"{name} is {described(value)}, must be {described(wanted)}."
        if wanted is None and value is not None:
            return "kind", f"{name} is {described(value)}, must be None."
    for case, name, value, wanted in triples:
        if not _word(value) and np.shape(value) != np.shape(wanted):
            return "shape", f"{name} has shape {np.shape(value)}, must be {np.shape(wanted)}{_sizes(case)}."
    for name in bad[0][2].outcome:
        pairs = [(value, wanted) for _, of, value, wanted in triples if of == name]
        value, wanted = pairs[0]
        dtype = getattr(wanted, "dtype", None)
        if dtype is not None and (strange := _no_numbers(value)):
            return "kind", f"{name} holds {strange}"
        if dtype is None or np.asarray(value).dtype in (dtype, object):
            continue
        if all(_same_numbers(*pair) for pair in pairs):
            return "dtype", f"The numbers are right, but {name} is {described(value)}, must be {dtype}."
        if dtype.kind != "f":
            return "dtype", f"{name} is {described(value)}, must be {dtype}."
        if np.asarray(value).dtype.kind in "iub":
            lost = all(_cut_off(*pair) for pair in pairs)
            why = ": whole numbers have lost their fractions" if lost else ""
            return "dtype", f"{name} is {described(value)}, must be {dtype}{why}."
    return None


def _no_numbers(value: Any) -> str:
    """What an array of objects or texts holds in place of a number; "" if there is no such thing in it."""
    if not isinstance(value, np.ndarray) or value.dtype.kind in "fiubc":
        return ""
    strange = [v for v in value.ravel().tolist() if not isinstance(v, float | int | np.number)]
    if strange and strange[0] is None:
        return "None in place of a number: does a function in your code end without return?"
    return f"{described(strange[0])} in place of a number." if strange else ""


def _word(value: Any) -> bool:
    """Whether an exercise has put a word in place of a number that is beside the point."""
    return isinstance(value, str) and type(value) is not str


def _same_numbers(value: Any, wanted: Any) -> bool:
    """Whether two arrays of different dtypes hold the same numbers."""
    value, wanted = np.asarray(value), np.asarray(wanted)
    return value.dtype.kind in "fiub" and not apart(value, wanted).any()


def _cut_off(value: Any, wanted: Any) -> bool:
    """Whether a value is the right one without its fractions, where that is finite."""
    return not ((np.asarray(value) != np.trunc(wanted)) & np.isfinite(wanted)).any()


def _sizes(case: Case) -> str:
    """The sizes of a case, if there are few: many explain nothing, and the shapes of the input stand below."""
    sizes = [f"{k} is {v}" for k, v in case.about.items() if isinstance(v, int)]
    return f" (where {', '.join(sizes)})" if 0 < len(sizes) <= FEW else ""


def _values_right(bad: Bad) -> bool:
    return all(equal(a.outcome[name], value) for _, a, b in bad for name, value in b.outcome.items())


def _outputs(bad: Bad, given: Answer, right: Answer) -> Iterator[tuple[str, str]]:
    """Which of several outputs is wrong; what is said in words is that of the case that is shown."""
    names = list(bad[0][2].outcome)
    broken = [name for name in names if any(not equal(a.outcome[name], b.outcome[name]) for _, a, b in bad)]
    numbers = {name for _, _, b in bad for name, wanted in b.outcome.items() if isinstance(wanted, np.ndarray)}
    fine = [name for name in names if name in numbers and name not in broken]
    if len(broken) < len(names):
        words = f"{' and '.join(fine)}: right; wrong" if 0 < len(fine) <= FEW else "Wrong"
        yield "outputs", f"{words} is {' and '.join(broken)}."
    for name in broken:
        value, wanted = given.outcome[name], right.outcome[name]
        if isinstance(wanted, str) and value != wanted:
            yield "outputs", f"{name}: {value}, must be {wanted}."


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
    """For which of the inputs the answer is wrong, if a word or number about them, or two, say it."""
    good = [i for i in range(len(cases)) if i not in wrong]
    keys = [key for key in cases[0].about if all(key in case.about for case in cases)]
    if not good:
        return ""
    for key in keys:
        fine, broken = {cases[i].about[key] for i in good}, {cases[i].about[key] for i in wrong}
        if fine & broken:
            continue
        if len(fine) == 1 and len(good) > 1:
            other = "isn't" if len(broken) > 1 else f"is {broken.pop()}"
            return f"Of the inputs tried, right are those where {key} is {fine.pop()}, wrong where it {other}."
        if len(broken) == 1:
            return f"Of the inputs tried, wrong are those where {key} is {broken.pop()}."
    for one, other in itertools.combinations(keys, 2):
        fine, broken = ({(cases[i].about[one], cases[i].about[other]) for i in some} for some in (good, wrong))
        if len(broken) == 1 and len(wrong) > 2 and not fine & broken:
            ((a, b),) = broken
            return f"Of the inputs tried, wrong are those where {one} is {a} and {other} is {b}."
    return ""
