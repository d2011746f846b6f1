"""Numbers as a person types them: each parser takes a text, and raises UsageError saying what it should be."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from minidl.errors import UsageError

SHOWN = 40  # letters of a wrong text


def _number(kind: type, fits: Callable[[Any], bool], what: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = kind(text)
            good = (kind is int or math.isfinite(value)) and fits(value)
        except ValueError:
            good = False
        if not good:
            raise UsageError(f"{text[:SHOWN]!r} is not {what}")
        return value

    return parse


def _integer(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
    parse = _number(int, lambda v: v >= least, f"a whole number of at least {least}")

    def parse_bounded(text: str) -> int:
        if (value := parse(text)) > most:
            raise UsageError(f"{text[:SHOWN]} is too large: give at most {most}")
        return value

    return parse_bounded


count = _integer(1)
whole = _integer(0)
pixels = _integer(1, 4096)
thread_count = _integer(0, 1024)
seed64 = _integer(0, 2**64 - 1)
seed32 = _integer(0, 2**32 - 1)
positive = _number(float, lambda v: v > 0, "a number above 0")
not_negative = _number(float, lambda v: v >= 0, "a number of at least 0")
share = _number(float, lambda v: 0 <= v < 1, "a number from 0 to below 1")
part = _number(float, lambda v: 0 < v <= 1, "a number above 0, up to 1")
unit = _number(float, lambda v: 0 <= v <= 1, "a number from 0 to 1")
deviation = _number(float, lambda v: 1e-3 <= v <= 1, "a number from 0.001 to 1")
