"""Errors that end in one clear line, each with the exit code of its class."""

from __future__ import annotations

__all__ = [
    "BackendError",
    "DataError",
    "DivergedError",
    "MinidlError",
    "OutOfMemoryError",
    "ShapeError",
    "UsageError",
    "printable",
]


class MinidlError(Exception):
    """Base of all errors minidl raises on purpose; the scripts print it as one line and exit with `exit_code`."""

    exit_code = 2


class UsageError(MinidlError):
    """A flag, an argument or a name that cannot be used (exit code 2)."""


class ShapeError(MinidlError, ValueError):
    """Shapes that do not fit a layer (exit code 2)."""


class BackendError(MinidlError, RuntimeError):
    """An array backend that cannot be used on this machine (exit code 2)."""


class DataError(MinidlError):
    """A data set, image, checkpoint or run folder that cannot be read (exit code 3)."""

    exit_code = 3


class DivergedError(MinidlError):
    """A loss that is not a number (exit code 4)."""

    exit_code = 4


class OutOfMemoryError(MinidlError):
    """Not enough memory for the request (exit code 5)."""

    exit_code = 5


def printable(text: str) -> str:
    """`text` in one line, as it may leave the program: what is no letter to see is an escape.

    That is newlines and other control characters, marks that turn the direction of writing, spaces that are no plain
    space, and undecodable bytes of file names.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
