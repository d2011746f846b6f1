"""Checks an answer: is it right for every input, and if not, which mistake is it?

The cases of an exercise are random inputs in float64, small ones first. If all of them are right, the answer is also
tried in float32 and with arrays whose numbers don't lie side by side in memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.learn.compare import agree
from minidl.learn.diagnosis import diagnose
from minidl.learn.exercise import Arguments, Case, Exercise, Returned, described
from minidl.learn.running import Answer, answers

STATE = (
    "Right at first, but wrong when it gets an input again. Something outlives the call: a global, an array that you "
    "keep, or a default argument, which is made only once.",
)
STRIDED, SINGLE = "arrays that are not contiguous", "float32"


@dataclass(frozen=True)
class Verdict:
    """The result of a check. `found` is the kind of mistake, such as "typical overwritten" or "factor"."""

    exercise: str
    solved: bool
    found: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([f"{self.exercise}: {'right' if self.solved else 'not yet'}", *self.lines])

    __repr__ = __str__  # in a notebook, show it


def check_function(exercise: Exercise, function: Callable, seed: int | None = None) -> Verdict:
    """Checks `function` as an answer to `exercise`."""
    rng = np.random.default_rng(zlib.crc32(exercise.name.encode()) if seed is None else seed)
    cases = exercise.cases(rng)
    given = answers(exercise, function, cases)
    if given[0].raised and _not_begun(exercise, given[0].raised.error):
        return Verdict(exercise.name, False, "not begun", ("not begun",))
    right = answers(exercise, exercise.reference, cases)
    if not all(fine := [agree(a, b) for a, b in zip(given, right, strict=True)]):
        if any(fine) and _wrong_again(exercise, function, cases[fine.index(True)]):
            return Verdict(exercise.name, False, "state", STATE)
        diagnosis = diagnose(exercise, cases, given, right)
        return Verdict(exercise.name, False, diagnosis.name, diagnosis.lines)
    for what, wanted, altered in ((STRIDED, exercise.any_layout, strided), (SINGLE, exercise.any_dtype, single)):
        if not wanted:
            continue
        given, right = (answers(exercise, f, cases, altered) for f in (function, exercise.reference))
        wrong = [i for i, (a, b) in enumerate(zip(given, right, strict=True)) if not agree(a, b)]
        if wrong:
            if _wrong_again(exercise, function, cases[wrong[0]]):
                return Verdict(exercise.name, False, "state", STATE)
            return Verdict(exercise.name, False, what, _only_there(what, given[wrong[0]], right[wrong[0]]))
    return Verdict(exercise.name, True, "right", (f"right for {len(cases)} inputs",))


def _wrong_again(exercise: Exercise, function: Callable, case: Case) -> bool:
    """Whether the answer to a case that was right is wrong when the case comes again."""
    return not agree(*(answers(exercise, f, [case], prepared=dict)[0] for f in (function, exercise.reference)))


def _not_begun(exercise: Exercise, error: BaseException) -> bool:
    """Whether this is the error of this exercise's file as it was, or of a notebook."""
    return isinstance(error, NotImplementedError) and str(error) in ("", f"write {exercise.name}")


def _only_there(what: str, given: Answer, right: Answer) -> tuple[str, ...]:
    """What goes wrong for other arrays than the plain ones."""
    if given.raised:
        said = f": {given.raised}" if isinstance(given.raised.error, Returned) else f" it {given.raised.said}"
        return (f"Right in float64, but for {what}{said}.",)
    if given.changed != right.changed:
        return (f"Right in float64, but for {what} it changes its argument {', '.join(given.changed)}.",)
    advice = (
        "Don't rely on how the numbers lie in memory: a slice or a transpose is a view with gaps."
        if what == STRIDED
        else "Add up in float64, as the docstring says: float32 keeps seven digits only."
        if any(getattr(wanted, "dtype", None) == np.float64 for wanted in right.outcome.values())
        else "The result must have the dtype of the input. A float64 array in between makes everything float64."
    )
    for name, wanted in right.outcome.items():
        value = given.outcome.get(name)
        if type(value) is float and isinstance(wanted, np.generic | np.ndarray):  # np.float64 is a float too
            advice = "A Python float has no dtype: leave out float() and .item()."
        if getattr(value, "dtype", None) != getattr(wanted, "dtype", None):
            return (
                f"Right in float64, but for {what} {name} is {described(value)}, must be {wanted.dtype}. {advice}",
            )
    return (f"Right in float64, wrong for {what}. {advice}",)


def strided(arguments: Arguments) -> Arguments:
    """Every float array as a view with gaps, its axes in reverse order in memory."""
    return {name: _with_gaps(a) if _floating(a) else a for name, a in arguments.items()}


def _with_gaps(a: np.ndarray) -> np.ndarray:
    wide = np.full([2 * size for size in reversed(a.shape)], np.nan, a.dtype)
    view = wide[tuple(slice(0, None, 2) for _ in a.shape)].T
    view[...] = a
    return view


def single(arguments: Arguments) -> Arguments:
    """Every float64 array in float32."""
    return {name: a.astype(np.float32) if _floating(a) else a for name, a in arguments.items()}


def _floating(a: Any) -> bool:
    return isinstance(a, np.ndarray) and a.dtype == np.float64 and a.ndim > 0
