"""How the user calls minidl, so that a message can say what to type next.

From Python, and under the command `minidl`, the command `download` is typed `minidl download`; whoever has called
`train.py` is told `python train.py download`.
"""

from __future__ import annotations

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


@contextmanager
def called_as(name: str, typed: Mapping[str, str]) -> Iterator[None]:
    """Meanwhile the program is called `name`, and its commands as `typed` says."""
    global _program, _typed
    before = _program, _typed
    _program, _typed = name, typed
    try:
        yield
    finally:
        _program, _typed = before
