"""Lines for the screen of a job that must go on when nobody reads them any more."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO


def show(line: str) -> bool:
    """Prints a line; False if it can't be printed (a closed pipe, a full disk, a dead terminal).

    Later lines then go nowhere, so that the end of the process doesn't fail on them either.
    """
    return _printed(line, sys.stdout)


def warn(line: str) -> bool:
    """The same on stderr."""
    return _printed(line, sys.stderr)


def _printed(line: str, stream: TextIO | None) -> bool:
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
