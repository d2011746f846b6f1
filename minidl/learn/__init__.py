"""Learn it by writing it: the exercises, and checks that know typical mistakes. docs/learn has the chapters.

from minidl.learn import check, show

show(md.losses.softmax)        # the real source, where it stands
check(softmax)                 # is my own function of this name right?
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from minidl.errors import UsageError
from minidl.learn.check import Verdict, check_function
from minidl.learn.exercise import Case, Exercise, Mistake
from minidl.learn.exercises import EXERCISES
from minidl.learn.source import show

__all__ = ["EXERCISES", "Case", "Exercise", "Mistake", "Verdict", "check", "exercise_named", "show"]


def check(function: Callable, seed: int | None = None) -> Verdict:
    """Checks a function of your own against the exercise of its name; another `seed` draws other inputs.

    Raises UsageError if there is no exercise of this name.
    """
    name = getattr(function, "__name__", "<lambda>")
    if not callable(function) or name == "<lambda>":
        raise UsageError("give a function that has the name of its exercise, such as check(relu)")
    return check_function(exercise_named(name), function, seed)


def exercise_named(name: str) -> Exercise:
    """The exercise of this name; UsageError with a name near it if there is none."""
    if name not in EXERCISES:
        near = difflib.get_close_matches(name, EXERCISES, 2)
        raise UsageError(
            f"no exercise {name!r}: "
            + (f"did you mean {' or '.join(near)}?" if near else "each has the name of its file, from `learn start`")
        )
    return EXERCISES[name]
