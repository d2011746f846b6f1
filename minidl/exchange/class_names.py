"""The names of the classes of other people's weights, from a text or a JSON file."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from minidl.data.reading import read_regular
from minidl.errors import DataError
from minidl.storage.metadata import MOST_BYTES, from_json

_ID = re.compile(r"(n\d{8})[\s,:]+(\S.*)")  # of WordNet, and the words, as in synset_words.txt
_LONGEST = (1000, 10_000)  # letters of an id and of words, in a checkpoint
_FORMS = 'a name on each line, ["cat", ...], {"0": "cat", ...}, {"0": ["n02121808", "cat"], ...} or {"cat": 0, ...}'


def read_class_names(path: Path) -> tuple[list[str], list[str]]:
    """The ids and the words of the classes, in the order of the network's outputs.

    The file is a text with a name on each line ("n02121808 cat" is an id and its words), or JSON: a list of names, or
    a table from the number of the class to its name or to [id, words], or from the name to the number. A name that
    several classes have gets the number of its class. Raises DataError.
    """
    try:
        text = read_regular(path, MOST_BYTES, follow=True).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: can't be read ({getattr(error, 'strerror', None) or error})") from error
    json = text.lstrip()[:1] in ("[", "{")
    rows = _of_json(from_json(text, path)) if json else [_of_line(line) for line in text.splitlines() if line.strip()]
    if rows is None or not all(_is_row(row) for row in rows):
        raise DataError(f"{path}: not names of classes: give {_FORMS}")
    if len(rows) < 2:
        raise DataError(f"{path}: {len(rows)} names of classes, and a classifier has at least 2")
    ids, words = [row[0] for row in rows], [row[1] for row in rows]
    often = Counter(ids)
    ids = [f"{name} ({k})" if often[name] > 1 else name for k, name in enumerate(ids)]
    if len(set(ids)) < len(ids):
        raise DataError(f"{path}: two classes have the same name")
    return ids, words


def _of_line(line: str) -> tuple[str, str]:
    found = _ID.fullmatch(line.strip())
    return (found[1], found[2]) if found else (line.strip(), line.strip())


def _of_json(content: Any) -> list | None:
    """The rows of JSON; None if it has another form."""
    if isinstance(content, list):
        return [_row(value) for value in content]
    count = len(content)
    if all(type(value) is int for value in content.values()):  # class_to_idx, as torchvision's ImageFolder has it
        content = {str(number): name for name, number in content.items()}
    if set(content) != {str(k) for k in range(count)}:
        return None
    return [_row(content[str(k)]) for k in range(count)]


def _row(value: Any) -> Any:
    return (value, value) if isinstance(value, str) else value


def _is_row(row: Any) -> bool:
    pair = isinstance(row, list | tuple) and len(row) == 2 and all(isinstance(part, str) for part in row)
    return pair and bool(row[0].strip()) and all(len(p) <= most for p, most in zip(row, _LONGEST, strict=True))
