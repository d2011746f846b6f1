"""Checks of values that are read back. Checkpoints, run folders and studies may be another person's, so nothing in
them is used unchecked.

A check is a function (value, where) -> the value to use. It raises DataError with the place, the value and what it
should be: "net.safetensors: about.std[0] is 0, not a number from 0.001 to 1". Checks are combined like the content:

    check = table({"mean": array(real(0, 1), 3, 3), "classes": array(text(100), 2)})
    about = check(json, "net.safetensors:")          # a place that ends in a colon stands for the whole content
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minidl.errors import DataError, ShapeError, UsageError, printable

Check = Callable[[Any, str], Any]

SHOWN = 40  # letters of a wrong value
LONGEST = 500  # letters of an error that may quote one
LARGEST = 2**53  # of counts: a float holds every whole number up to here
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")


def fits(good: Callable[[Any], bool], what: str) -> Check:
    """A value for which `good` is true."""

    def check(value: Any, where: str) -> Any:
        if not good(value):
            raise wrong(where, value, what)
        return value

    return check


def whole(low: int = 0, high: int = LARGEST) -> Check:
    """A whole number from `low` to `high`; not true or false."""
    return fits(lambda v: type(v) is int and low <= v <= high, f"a whole number from {low} to {high}")


def real(low: float, high: float) -> Check:
    """A number from `low` to `high`, as a float; not NaN."""
    check = fits(lambda v: type(v) in (int, float) and low <= v <= high, f"a number from {low:g} to {high:g}")
    return lambda value, where: float(check(value, where))


def text(most: int, least: int = 0) -> Check:
    """A text of `least` to `most` letters."""
    return fits(lambda v: type(v) is str and least <= len(v) <= most, f"a text of {least} to {most} letters")


def choice(*values: str) -> Check:
    """One of the `values`."""
    return fits(lambda v: type(v) is str and v in values, f"one of {', '.join(values)}")


def optional(check: Check) -> Check:
    """What `check` accepts, or None."""
    return lambda value, where: None if value is None else check(value, where)


boolean = fits(lambda v: type(v) is bool, "true or false")
plain_name = fits(lambda v: type(v) is str and _NAME.fullmatch(v) is not None, "a plain name")


def _is_path(value: Any) -> bool:
    if type(value) is not str or not value or "\0" in value or len(value) > 4000:
        return False
    try:
        parts = [part.encode("utf-8", "surrogateescape") for part in Path(value).parts]
    except UnicodeEncodeError:
        return False
    return sum(map(len, parts)) <= 4000 and all(len(part) <= 255 for part in parts)


file_path = fits(_is_path, "a path")


def array(check: Check, least: int = 0, most: int = LARGEST) -> Check:
    """A list of `least` to `most` values that `check` accepts."""
    count = f"{least}" if least == most else f"at least {least}" if most == LARGEST else f"{least} to {most}"
    right = fits(lambda v: type(v) is list and least <= len(v) <= most, f"a list of {count} values")
    return lambda value, where: [check(v, f"{where}[{i}]") for i, v in enumerate(right(value, where))]


def table(required: Mapping[str, Check], more: Mapping[str, Check] | None = None, others: bool = False) -> Check:
    """A table with the `required` values, and perhaps with those of `more`.

    Other values are dropped if `others` is true; otherwise they are an error.
    """
    known = {**required, **(more or {})}

    def check(value: Any, where: str) -> dict[str, Any]:
        if type(value) is not dict:
            raise wrong(where, value, "a table of values")
        if missing := [key for key in required if key not in value]:
            raise DataError(f"{_inside(where, missing[0])} is missing")
        if not others and (unknown := value.keys() - known.keys()):
            listed = ", ".join(printable(key[:SHOWN]) for key in sorted(unknown)[:5])
            raise DataError(f"{where.rstrip(':')}: unknown {listed}: made by another version of minidl?")
        return {key: known[key](v, _inside(where, key)) for key, v in value.items() if key in known}

    return check


def wrong(where: str, value: Any, what: str) -> DataError:
    """The error that `value` at the place `where` is not `what`."""
    return DataError(f"{where.rstrip(':')} is {_shown(value)}, not {what}")


@contextmanager
def blamed(source: str | Path) -> Iterator[None]:
    """Inside, a UsageError becomes a DataError: the bad value was read from `source`, not asked for."""
    try:
        yield
    except (UsageError, ShapeError) as error:
        raise DataError(f"{source}: {str(error)[:LONGEST]}") from error


def _inside(where: str, key: str) -> str:
    return f"{where} {key}" if where.endswith(":") else f"{where}.{key}"


def _shown(value: Any) -> str:
    match value:
        case None | bool():
            return {None: "empty", True: "true", False: "false"}[value]
        case dict():
            return "a table"
        case list():
            return f"a list of {len(value)}"
        case str() if len(value) > SHOWN:
            return f"{value[:SHOWN]!r}..."
    return repr(value) if isinstance(value, str) else f"{value!r}"[:SHOWN]
