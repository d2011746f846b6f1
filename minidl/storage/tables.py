"""The only module that reads and writes CSV files. In what it writes every cell is in one line, and no cell is a
formula in a spreadsheet.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from minidl.errors import printable
from minidl.storage.files import atomic, open_regular
from minidl.storage.metadata import MOST_BYTES

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf)", re.ASCII)
# The start of a formula, also in wide forms: at the start of a cell or after a character that separates cells in some
# countries
_FORMULA = re.compile(r"(^|[;|])(\s*)(?=[=+\-@＝＋－＠])")  # noqa: RUF001


@contextmanager
def csv_file(path: Path) -> Iterator[Callable[[Iterable[object]], None]]:
    """Gives a function that writes one row of the CSV file `path`, which appears when it is complete.

        with csv_file(path) as write:
            write(["file", "class"])

    Raises DataError.
    """
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        yield lambda row: writer.writerow([cell(value) for value in row])


def csv_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file by the names of its columns. Raises OSError, or ValueError if it isn't a table."""
    with open_regular(path) as file:
        text = file.read(MOST_BYTES).decode("utf-8")
    try:
        return list(csv.DictReader(text.splitlines(), restval=""))
    except csv.Error as error:
        raise ValueError(str(error)) from None


def cell(value: object) -> object:
    """`value` as it is written: a number unchanged, a text printable and never a formula.

    A text that begins with = + - or @ gets an apostrophe before it, as OWASP advises ("CSV injection"): spreadsheets
    then take it for text. Tabs and line breaks become escapes.
    """
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    return _FORMULA.sub(r"\1\2'", printable(value))
