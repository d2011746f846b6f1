"""What code under test did that a GPU would feel: waits, copies, launches, and calls that CuPy refuses."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import NoReturn

import numpy as np

HERE = str(Path(__file__).parent)


class StrictError(TypeError):
    """Stricter than CuPy: allowed there, but silent, slow, undefined or not reproducible."""


class Record:
    """Counted by place, such as "trainer.py:159 float", since the last `clear`."""

    def __init__(self) -> None:
        self.syncs: Counter[str] = Counter()  # each one waits until the device has done all that was asked of it
        self.uploads: Counter[str] = Counter()  # host arrays copied to the device, as asked
        self.launches: Counter[str] = Counter()  # by name; CuPy may make more than one of a call, but no fewer
        self.bytes: Counter[str] = Counter()  # what these read and write, every array once each way
        self.refusals: list[str] = []  # a refusal is an exception as well, but somebody might catch it

    def clear(self) -> None:
        self.syncs.clear()
        self.uploads.clear()
        self.launches.clear()
        self.bytes.clear()
        self.refusals.clear()

    def sync(self, what: str) -> None:
        self.syncs[f"{_place()} {what}"] += 1

    def upload(self) -> None:
        self.uploads[_place()] += 1

    def launch(self, name: str, *arrays: object) -> None:
        self.launches[name] += 1
        self.bytes[name] += sum(a.nbytes for a in arrays if isinstance(a, np.ndarray))

    def refuse(self, error: type[Exception], text: str) -> NoReturn:
        self.refusals.append(f"{_place()} {text}")
        raise error(text)


def _place() -> str:
    """file:line of the nearest caller outside the stand-in."""
    frame = sys._getframe(2)
    while frame.f_code.co_filename.startswith(HERE) and frame.f_back:
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


RECORD = Record()
