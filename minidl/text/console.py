"""The one door to the screen: whatever is printed goes through here, a line at a time, without control characters.

Names of classes, files and data sets, and the messages of libraries, are what a stranger chose. On a terminal an
escape sequence acts, a line break makes a line that minidl seems to have said, and a mark of direction turns letters
around. So every line is made `printable`, and `print` is called nowhere else (ruff's rule T20).
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

from minidl.errors import printable


def print_lines(*lines: str) -> None:
    """Prints the lines of an answer on stdout. Raises OSError if they can't be printed."""
    for line in lines:
        print(printable(line))


def show(line: str) -> bool:
    """Prints a line of a job that must go on when nobody reads it any more.

    False if it can't be printed (a closed pipe, a full disk, a dead terminal). Later lines then go nowhere, so that
    the end of the process doesn't fail on them either.
    """
    return _printed(line, sys.stdout)


def warn(line: str) -> bool:
    """The same on stderr."""
    return _printed(line, sys.stderr)


def _printed(line: str, stream: TextIO | None) -> bool:
    line = printable(line)
    try:
        print(line, file=stream, flush=True)
    except UnicodeEncodeError:
        return _printed(line.encode("ascii", "backslashreplace").decode(), stream)
    except (OSError, ValueError):  # ValueError: the stream is closed
        give_up(stream)
        return False
    return True


def give_up(stream: TextIO | None) -> None:
    """What `stream` still holds, and all that comes, goes nowhere."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
