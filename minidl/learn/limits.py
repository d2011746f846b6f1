"""What a learner's code may take and do: seconds, memory, and nothing that ends the process."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

try:
    import resource
except ImportError:  # Windows
    resource = None


SECONDS = 10.0  # for all inputs together; a right answer takes a fraction of one, also with loops
AGAIN = 0.2  # seconds until the next try, if a bare `except` has caught the first
MEMORY = 4 << 30  # bytes that an answer may take


class Endless(BaseException):
    """The learner's code runs on. Not an Exception, so that an `except Exception` of theirs doesn't hold it."""


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Inside the block, the attribute `name` of a module or class is `value`."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def harmless() -> Iterator[None]:
    """The block can't end the process, and doesn't wait for the keyboard."""

    def leave(code: int) -> None:
        raise SystemExit(code)

    with ExitStack() as stack:
        for owner, name, value in ((os, "_exit", leave), (sys, "stdin", _NoKeyboard())):
            stack.enter_context(replaced(owner, name, value))
        yield


class _NoKeyboard(io.StringIO):
    def readline(self, size: int | None = -1) -> str:
        raise EOFError("nobody types during a check: leave out input()")


@contextmanager
def memory_limit() -> Iterator[None]:
    """Raises MemoryError in the block if it takes more than MEMORY; only on Linux."""
    try:
        taken = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
        before = resource.getrlimit(resource.RLIMIT_AS)
        inside = taken + MEMORY if before[0] < 0 else min(taken + MEMORY, before[0])
        resource.setrlimit(resource.RLIMIT_AS, (inside, before[1]))
    except (OSError, ValueError, AttributeError):
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextmanager
def time_limit(seconds: float | None = None) -> Iterator[None]:
    """Raises Endless in the block after so many seconds (SECONDS by default).

    It does nothing where the system can't: on Windows, and in a thread. On Python 3.10 a loop around a bare `except`
    holds it for ever.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    seconds = SECONDS if seconds is None else seconds

    def stop(number: int, frame: FrameType | None) -> None:
        raise Endless(f"doesn't end within {SECONDS:g} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
