"""Errors that end in one clear line; each class has its exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from operator import index
from typing import Any

__all__ = [
    "BackendError",
    "DataError",
    "DivergedError",
    "MinidlError",
    "OutOfMemoryError",
    "RankError",
    "ShapeError",
    "UsageError",
    "printable",
]


class MinidlError(Exception):
    """Base of all errors that minidl raises on purpose. The commands print one line and exit with `exit_code`.

    `place` is the full name of the layer that raised it. A layer knows only its class: "Conv2D: needs 3 channels";
    the containers add its name as the error passes (`within`): "stem.conv (Conv2D): needs 3 channels".
    """

    exit_code = 2
    place = ""

    def __str__(self) -> str:
        text = super().__str__()
        if not self.place:
            return text
        kind, colon, rest = text.partition(": ")
        return f"{self.place} ({kind}): {rest}" if colon and kind.isidentifier() else f"{self.place}: {text}"


@contextmanager
def within(name: str) -> Iterator[None]:
    """What runs inside belongs to the layer `name` (nothing to say if it is empty): errors carry the name on."""
    try:
        yield
    except MinidlError as error:
        error.place = f"{name}.{error.place}".strip(".")
        raise


class UsageError(MinidlError):
    """A flag, an argument or a name that can't be used (exit code 2)."""


class ShapeError(MinidlError, ValueError):
    """Shapes that don't fit a layer (exit code 2)."""


class BackendError(MinidlError, RuntimeError):
    """An array backend that can't be used on this machine (exit code 2)."""


class DataError(MinidlError):
    """A data set, image, checkpoint or run folder that can't be read (exit code 3)."""

    exit_code = 3


class DivergedError(MinidlError):
    """A loss that is not a number (exit code 4)."""

    exit_code = 4


class OutOfMemoryError(MinidlError):
    """Not enough memory for the request (exit code 5)."""

    exit_code = 5


class RankError(MinidlError):
    """Several processes that work together, of which one has died or can't be reached (exit code 6)."""

    exit_code = 6


def require_whole(name: str, value: Any, least: int = 0) -> int:
    """`value`, which may be a whole number of NumPy's, as an int. Raises UsageError if it is no whole number or
    below `least`.
    """
    try:
        number = index(value)
    except TypeError:
        raise UsageError(f"{name} is {value!r:.60}: it must be a whole number, at least {least}") from None
    if number < least:
        raise UsageError(f"{name} is {value}: it must be at least {least}")
    return number


def printable(text: str) -> str:
    """`text` in one line, with escapes for all characters that can't be seen.

    These are newlines and other control characters, characters that change the direction of writing, unusual spaces,
    and undecodable bytes of file names.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
