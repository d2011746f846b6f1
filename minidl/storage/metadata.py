"""JSON that minidl writes and reads back: always valid, even with NaN, and read with limits."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from minidl.errors import DataError
from minidl.storage.files import open_regular

CHECKPOINT = "minidl"  # the key of the JSON that makes a checkpoint of a safetensors file, in its metadata
MOST_BYTES = 16_000_000  # of one text; enough for 60,000 epochs


def to_json(content: Any, indent: int | None = None) -> str:
    """`content` as JSON, without spaces unless there is an `indent`. NaN and infinity become null."""
    separators = (",", ":") if indent is None else None
    try:
        return json.dumps(content, indent=indent, separators=separators, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(content), indent=indent, separators=separators, allow_nan=False)


def from_json(text: str, source: str | Path) -> Any:
    """The content of a JSON text. Raises DataError naming `source` if it isn't JSON, or is too long or too deep."""
    if len(text) > MOST_BYTES:
        raise DataError(f"{source}: {len(text):,} letters of JSON, more than {MOST_BYTES:,}")
    try:
        return json.loads(text)
    except RecursionError:
        raise DataError(f"{source}: can't be read (too deeply nested)") from None
    except ValueError as error:
        raise DataError(f"{source}: can't be read ({error})") from error


def read_json(path: Path) -> Any:
    """The content of the JSON file `path`; raises DataError if it isn't a regular file of valid JSON."""
    try:
        with open_regular(path, follow=True) as file:
            content = file.read(MOST_BYTES + 1)
        return from_json(content.decode("utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: can't be read ({getattr(error, 'strerror', None) or error})") from error


def write_json(path: Path, content: Any) -> None:
    """Writes `content`, indented, to `path`, which is a new or temporary file."""
    path.write_text(to_json(content, indent=2) + "\n", encoding="utf-8")


def _finite(content: Any) -> Any:
    match content:
        case dict():
            return {key: _finite(value) for key, value in content.items()}
        case list() | tuple():
            return [_finite(value) for value in content]
        case float() if not math.isfinite(content):
            return None
    return content
