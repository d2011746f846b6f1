"""The one door to CSV files: every cell is in one line, and none is a formula to a spreadsheet."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from minidl.errors import printable
from minidl.storage.files import atomic

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf)", re.ASCII)
# What a formula begins with, wide forms too, at the start of a cell or after what parts cells in some countries
_FORMULA = re.compile(r"(^|[;|])(\s*)(?=[=+\-@＝＋－＠])")  # noqa: RUF001


@contextmanager
def csv_file(path: Path) -> Iterator[Callable[[Iterable[object]], None]]:
    """A function that writes a row of the CSV file `path`, which is whole or not there. Raises DataError.

    with csv_file(path) as write:
        write(["file", "class"])
    """
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        yield lambda row: writer.writerow([cell(value) for value in row])


def cell(value: object) -> object:
    """`value` as a spreadsheet may have it: a number as it is, a text printable and never a formula.

    A text that begins with = + - or @ has an apostrophe before it, as OWASP advises ("CSV injection"):
    spreadsheets then take it for text. A tab or a line break is an escape already.
    """
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    return _FORMULA.sub(r"\1\2'", printable(value))
