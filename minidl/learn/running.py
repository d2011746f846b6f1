"""Runs a learner's function on the cases of an exercise, whatever it does: raise, exit, print, or never end."""

from __future__ import annotations

import io
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minidl.errors import UsageError
from minidl.learn import limits
from minidl.learn.exercise import Arguments, Case, Exercise, Outcome, Returned
from minidl.learn.limits import Endless, harmless, memory_limit, time_limit
from minidl.text.calls import call
from minidl.text.console import print_lines

MATMUL = r"matmul: Input operand 1 has a mismatch in its core dimension 0.*\(size (\d+) is different from (\d+)\)"
NO_ARRAY = r"matmul: Input operand \d does not have enough dimensions \(has 0.*"
PRINTED = 30  # lines of what an answer prints that are shown


@dataclass(frozen=True)
class Raised:
    """The call raised this, in this line of the learner's file (0: not in it)."""

    error: BaseException
    line: int

    @property
    def said(self) -> str:
        """Such as "raises TypeError in line 3: ...", to stand after "it"."""
        if isinstance(self.error, Endless):
            return f"{self.error}" + (f": it was in line {self.line}" if self.line else "")
        return f"raises {self}"

    def __str__(self) -> str:
        if isinstance(self.error, Returned):
            return str(self.error)
        where = f" in line {self.line}" if self.line else ""
        text = ""
        with suppress(Exception):  # a learner's exception may have a __str__ that raises
            text = str(self.error).partition("\n")[0].rstrip(" .")  # a full stop follows
            text = re.sub(NO_ARRAY, "one side of @ is no array (that of a parameter is its .value)", text)
            text = re.sub(MATMUL, r"the shapes don't fit for @: \2 columns on the left, \1 rows on the right", text)
        return f"{type(self.error).__name__}{where}" + (f": {text:.200}" if text else "")


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
        text = path.read_text("utf-8-sig")
        if "\0" in text:  # UTF-16
            raise UnicodeError
    except FileNotFoundError:
        raise UsageError(f"{path} is not there: `{call('learn')} reset {name}` writes it anew") from None
    except UnicodeError:
        raise UsageError(f"{path} is not a text in UTF-8: save it as one") from None
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror or error}") from None
    _import_beside(path.resolve().parent)
    sys.modules[name] = module = _Learners(name)  # dataclasses look there
    module.__file__ = str(path)
    try:
        with harmless(), time_limit():
            exec(compile(text, str(path), "exec", dont_inherit=True), vars(module))
    except KeyboardInterrupt:
        raise
    except SyntaxError as error:
        raise UsageError(f"{path}, line {error.lineno}: {error.msg}") from None
    except BaseException as error:
        raise UsageError(f"{path} can't be imported: {raised(error, str(path))}") from None
    function = vars(module).get(name)
    if not callable(function):
        raise UsageError(f"{path} has no function {name}: keep the name that stands in the file")
    return function


class _Learners(ModuleType):
    """A learner's file as a module."""


class _Beside(str):
    """The entry of sys.path for the learner's folder."""


def _import_beside(folder: Path) -> None:
    """From now on an import finds the other files of this folder too, after all installed modules."""
    sys.dont_write_bytecode = True  # Python would take a compiled file for a text that was changed in the same second
    sys.path[:] = [path for path in sys.path if not isinstance(path, _Beside)] + [_Beside(folder)]
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__dict__", {}).get("__file__")
        if isinstance(module, _Learners) or (isinstance(file, str) and Path(file).parent == folder):
            del sys.modules[name]


def answers(
    exercise: Exercise,
    function: Callable,
    cases: list[Case],
    prepared: Callable[[Arguments], Arguments] | None = None,
) -> list[Answer]:
    """What `function` gives for each case, its arguments `prepared`. What it prints is shown for the first case only,
    and only without preparation.
    """
    found: list[Answer] = []
    end = time.monotonic() + limits.SECONDS
    for i, case in enumerate(cases):
        if found and found[-1].raised and isinstance(found[-1].raised.error, Endless):
            found.append(found[-1])  # nobody waits for it again
            continue
        arguments = prepared(case.fresh()) if prepared else case.fresh()
        with _printing(shown=not (i or prepared)):
            found.append(answer(exercise, function, arguments, max(end - time.monotonic(), 0.01)))
    return found


def answer(exercise: Exercise, function: Callable, arguments: Arguments, seconds: float | None = None) -> Answer:
    """What `function` gives for these arguments."""
    before = {name: a.copy() for name, a in arguments.items() if _kept(exercise, name, a)}
    try:
        with harmless(), memory_limit(), time_limit(seconds), np.errstate(all="ignore"):
            outcome: Outcome | Raised = exercise.call(function, arguments)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        code = getattr(function, "__code__", None)
        outcome = raised(error, code.co_filename if code else "")
    changed = tuple(name for name, a in before.items() if not same(a, arguments[name]))
    return Answer(outcome, changed)


@contextmanager
def _printing(shown: bool) -> Iterator[None]:
    """What is printed in the block is dropped or, if `shown`, printed after it: the first PRINTED lines."""
    with redirect_stdout(io.StringIO()) as printed, redirect_stderr(printed):
        yield
    lines = printed.getvalue().splitlines() if shown else []
    print_lines(*lines[:PRINTED])
    if len(lines) > PRINTED:
        print_lines(f"... and {len(lines) - PRINTED:,} more lines")


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
