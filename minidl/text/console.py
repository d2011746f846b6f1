"""The only module that prints: every line passes through here, and control characters become escapes.

Names of classes, files and data sets, and the messages of libraries, may come from other people. On a terminal an
escape sequence is a command, a line break can forge a line of minidl, and some characters reverse the direction of
writing. So every line is made `printable`, and `print` is called nowhere else (ruff's rule T20).
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

from minidl.errors import printable

COLOURS = {"red": 31, "green": 32, "yellow": 33}


def print_lines(*lines: str, colour: str | None = None) -> None:
    """Prints the lines of an answer on stdout, in a colour of COLOURS if it is a terminal. Raises OSError if they
    can't be printed.
    """
    painted = colour is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in lines:
        print(f"\x1b[{COLOURS[colour]}m{printable(line)}\x1b[0m" if painted else printable(line))


def show(line: str) -> bool:
    """Prints a line of a job that must continue even if its output can't be written.

    Returns False in that case (a closed pipe, a full disk, a dead terminal). All later lines are then dropped, so
    that the end of the process doesn't fail on them either.
    """
    return _printed(line, sys.stdout)


def warn(line: str) -> bool:
    """Like `show`, on stderr."""
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


def mute() -> None:
    """From here on this process prints nothing and draws no progress: another one speaks for both."""
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - to the end


def give_up(stream: TextIO | None) -> None:
    """Drops what `stream` still holds, and everything written to it later."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
