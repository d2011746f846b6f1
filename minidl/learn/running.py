"""Runs a learner's function on the cases of an exercise, whatever it does: raise, exit, print, or never end."""

from __future__ import annotations

import io
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from minidl.errors import UsageError
from minidl.learn.exercise import Arguments, Case, Exercise, Outcome, Returned

SECONDS = 10.0  # a right answer takes a fraction of one, also with loops


class Endless(BaseException):
    """The learner's code runs on. Not an Exception, so that an `except Exception` of theirs doesn't hold it."""


@dataclass(frozen=True)
class Raised:
    """The call raised this, in this line of the learner's file (0: not in it)."""

    error: BaseException
    line: int

    def __str__(self) -> str:
        if isinstance(self.error, Returned):
            return str(self.error)
        where = f" in line {self.line}" if self.line else ""
        text = str(self.error).splitlines()
        return f"{type(self.error).__name__}{where}" + (f": {text[0]:.200}" if text else "")


@dataclass(frozen=True)
class Answer:
    """What a function gave for a case: its outcome, and which arguments it changed that aren't its own."""

    outcome: Outcome | Raised
    changed: tuple[str, ...] = ()

    @property
    def raised(self) -> Raised | None:
        return self.outcome if isinstance(self.outcome, Raised) else None


def load(path: Path, name: str) -> Callable:
    """The function `name` of a learner's file. Raises UsageError, in one line, if the file doesn't get that far."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise UsageError(f"{path} is not there: `minidl learn reset {name}` writes it anew") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}") from None
    names: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}
    try:
        with time_limit():
            exec(compile(text, str(path), "exec", dont_inherit=True), names)
    except SyntaxError as error:
        raise UsageError(f"{path}, line {error.lineno}: {error.msg}") from None
    except (Exception, SystemExit, Endless) as error:
        raise UsageError(f"{path} can't be imported: {raised(error, str(path))}") from None
    function = names.get(name)
    if not callable(function):
        raise UsageError(f"{path} has no function {name}: keep the name that stands in the file")
    return function


def answers(
    exercise: Exercise,
    function: Callable,
    cases: list[Case],
    prepared: Callable[[Arguments], Arguments] | None = None,
) -> list[Answer]:
    """What `function` gives for each case, its arguments `prepared`. What it prints is shown for the first case only,
    and only without preparation.
    """
    found = []
    for i, case in enumerate(cases):
        arguments = prepared(case.fresh()) if prepared else case.fresh()
        with redirect_stdout(io.StringIO()) if i or prepared else nullcontext():
            found.append(answer(exercise, function, arguments))
    return found


def answer(exercise: Exercise, function: Callable, arguments: Arguments) -> Answer:
    """What `function` gives for these arguments."""
    before = {name: a.copy() for name, a in arguments.items() if _kept(exercise, name, a)}
    try:
        with time_limit(), np.errstate(all="ignore"):
            outcome: Outcome | Raised = exercise.call(function, arguments)
    except (Exception, SystemExit, Endless) as error:
        code = getattr(function, "__code__", None)
        outcome = raised(error, code.co_filename if code else "")
    changed = tuple(name for name, a in before.items() if not same(a, arguments[name]))
    return Answer(outcome, changed)


def _kept(exercise: Exercise, name: str, value: Any) -> bool:
    return isinstance(value, np.ndarray) and name not in exercise.changes


def same(a: Any, b: Any) -> bool:
    """Whether two arrays have the same numbers, NaNs included."""
    return np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f")


def raised(error: BaseException, file: str) -> Raised:
    """`error` with the last line of `file` that it went through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    if isinstance(error, Returned):
        lines = []
    return Raised(error, lines[-1] if lines else 0)


@contextmanager
def time_limit(seconds: float | None = None) -> Iterator[None]:
    """Raises Endless in the block after so many seconds (SECONDS by default).

    It does nothing where the system can't: on Windows, and in a thread.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    seconds = SECONDS if seconds is None else seconds

    def stop(number: int, frame: FrameType | None) -> None:
        raise Endless(f"doesn't end within {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
