"""Errors that end in one clear line, each with the exit code of its class."""

from __future__ import annotations


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
    """`text` in one line: newlines, other control characters and undecodable bytes of file names as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
