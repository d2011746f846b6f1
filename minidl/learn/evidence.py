"""The smallest input that fails, and the first entry that differs, worked out on paper."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from minidl.diagnostics.numeric import central_difference
from minidl.learn.compare import apart, equal
from minidl.learn.exercise import Case, Exercise, Returned, described, safe_repr
from minidl.learn.running import Answer

SHOWN = 16  # numbers of an array that are written out


def first_difference(
    exercise: Exercise, cases: list[Case], given: list[Answer], right: list[Answer], wrong: list[int]
) -> tuple[str, ...]:
    """Lines about the smallest case in `wrong`."""
    shown = smallest(cases, wrong)
    case, a, b = cases[shown], given[shown], right[shown]
    lines = ["The smallest input that fails:", *(f"    {line}" for line in _inputs(case))]
    if a.raised:
        return (*lines, str(a.raised) if isinstance(a.raised.error, Returned) else f"it {a.raised.said}")
    if b.raised:
        return (*lines, f"must raise {type(b.raised.error).__name__}")
    for name, wanted in b.outcome.items():
        value = a.outcome[name]
        if equal(value, wanted):
            continue
        shape = () if isinstance(value, float | int) else getattr(value, "shape", None)
        if not isinstance(wanted, np.ndarray) or shape != wanted.shape:
            return (*lines, f"{name} is {_both(value, wanted)}")
        return (*lines, *_entry(exercise, case, name, np.asarray(value), wanted))
    return tuple(lines)


def smallest(cases: list[Case], wrong: list[int]) -> int:
    """The case in `wrong` with the fewest numbers: the one that is shown."""
    return min(wrong, key=lambda i: (size(cases[i]), i))


def _entry(exercise: Exercise, case: Case, name: str, value: np.ndarray, wanted: np.ndarray) -> list[str]:
    differs = np.argwhere(apart(value, wanted))
    if not len(differs):
        return [f"{name} is {described(value)}, must be {described(wanted)}"]
    index = tuple(int(i) for i in differs[0])
    place = f"[{', '.join(map(str, index))}]" if index else ""  # none in a single number
    lines = [f"{name}{place} is {_both(value[index], wanted[index])}"]
    if wanted.size <= SHOWN and wanted.size > 1:
        lines.append(f"{name} is {_both(value, wanted)}")
    paper = exercise.worked(case.fresh(), name, index) if exercise.worked else None
    if paper and len(set(paper.split(" = "))) > 1:  # "1 = 1" explains nothing
        lines.append(f"on paper: {paper}")
    if exercise.gradient and name in (witnesses := exercise.gradient(case.fresh())):
        loss, x = witnesses[name]
        unit = np.zeros_like(x)
        unit[index] = 1
        lines.append(f"a central difference, which knows no formula, says {central_difference(loss, x, unit):.6g}")
    return lines


def _inputs(case: Case) -> list[str]:
    return [f"{name} = {_written(value)}" for name, value in case.arguments.items()]


def _both(value: Any, wanted: Any) -> str:
    """ "A, must be B", with as many digits as it takes to tell them apart."""
    for digits in (6, 9, 12):
        given, must = _written(value, digits), _written(wanted, digits)
        if given != must:
            return f"{given}, must be {must}"
    return f"{described(value)}, must be {described(wanted)}"


def _written(value: Any, digits: int = 6) -> str:
    """An array's numbers if there are few, else its shape."""
    if isinstance(value, np.bool_):
        return str(value)
    if isinstance(value, np.generic | np.ndarray) and not value.ndim and value.dtype.kind not in "fiuc":
        return safe_repr(value.item(), 100)
    if isinstance(value, np.generic | float) or (isinstance(value, np.ndarray) and not value.ndim):
        return f"{value + 0:.{digits}g}"
    if isinstance(value, np.ndarray):
        if not 0 < value.size <= SHOWN:
            return f"an array {value.shape}"
        numbers = value + value.dtype.type(0) if value.dtype.kind in "fiu" else value  # + 0 makes a 0 of -0
        with np.printoptions(precision=digits - 2, suppress=True, linewidth=1000):
            numbers = numbers if value.ndim <= 2 else numbers.ravel()
            text = np.array2string(numbers, separator=", ", formatter={"object": lambda v: safe_repr(v, 40)})
        text = re.sub(r"\s*([\[\],])\s*", r"\1", text).replace(",", ", ")  # without the blanks that align columns
        return text if value.ndim <= 2 else f"{text[1:-1]}, of shape {value.shape}"
    return safe_repr(value, 100)


def size(case: Case) -> int:
    """The numbers in a case's arrays."""
    return sum(a.size for a in case.arguments.values() if isinstance(a, np.ndarray))
