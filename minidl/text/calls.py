"""What the user types to run a command, so that a message can say what to type next.

From Python, and with the program `minidl`, the command `download` is typed `minidl download`. If the user runs
`train.py`, it is `python train.py download`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_program = "minidl"
_typed: Mapping[str, str] = {}


def program() -> str:
    """The name of the program that runs."""
    return _program


def call(command: str) -> str:
    """What the user types for the command `command` of minidl."""
    return _typed.get(command, f"minidl {command}")


def quoted(path: object) -> str:
    """A path as the user types it in a shell."""
    return shlex.quote(str(path))


@contextmanager
def called_as(name: str, typed: Mapping[str, str]) -> Iterator[None]:
    """Inside the block the program is called `name`, and its commands are typed as `typed` says."""
    global _program, _typed
    before = _program, _typed
    _program, _typed = name, typed
    try:
        yield
    finally:
        _program, _typed = before
