"""Texts from elsewhere in YAML and Markdown: whatever a name contains, it stays a name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from minidl.errors import printable

_BARE = re.compile(r"[a-z][a-z0-9-]*")
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "none", "y", "n"}  # which YAML takes for other things


def yaml(content: dict[str, Any], indent: int = 0) -> Iterator[str]:
    """The lines of a table of numbers, texts, lists and tables."""
    for key, value in content.items():
        if isinstance(value, dict | list) and value:
            yield f"{' ' * indent}{key}:"
            yield from yaml(value, indent + 2) if isinstance(value, dict) else _rows(value, indent)
        else:
            yield f"{' ' * indent}{key}: {_scalar(value)}"


def _rows(values: list[Any], indent: int) -> Iterator[str]:
    for value in values:
        if isinstance(value, dict):
            first, *others = yaml(value, indent + 2)
            yield f"{' ' * indent}- {first.lstrip()}"
            yield from others
        else:
            yield f"{' ' * indent}- {_scalar(value)}"


def _scalar(value: Any) -> str:
    """A plain word as it is; other texts in quotes. JSON's are YAML's too, if all their letters can be printed."""
    if not isinstance(value, str):
        return json.dumps(value)
    if _BARE.fullmatch(value) and value not in _WORDS:
        return value
    return json.dumps(printable(value), ensure_ascii=False)


def code(text: str) -> str:
    """A Markdown code span that shows `text` letter by letter."""
    text = printable(text)
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    space = " " if fence != "`" or text[:1] in ("", " ") or text[-1:] == " " else ""
    return f"{fence}{space}{text}{space}{fence}"


def block(lines: list[str], language: str = "") -> list[str]:
    """A block of code, which shows its lines letter by letter."""
    shown = [printable(line) for line in lines]
    longest = max((len(run) for line in shown for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence + language, *shown, fence]
