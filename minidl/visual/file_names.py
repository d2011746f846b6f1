"""The names of picture files: the same name for the same picture each time."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

PART, WHOLE = 60, 180  # letters of a part and of the name: a file system takes 255 bytes
UNSAFE = re.compile(r"[^A-Za-z0-9._,=+~-]+")  # all else means something to some shell or file system


def file_name(parts: Iterable[Any], settings: Mapping[str, Any]) -> str:
    """The name of a picture: what it shows, then every setting that is not the default, in order:
    `pca-2d-classes=3,17`.

    Settings and `parts` that are None are left out. The same parts and settings give the same name, others a
    different one: a part that had to be changed or cut to be a file name gets a digest of the original.
    """
    names = [safe(str(part)) for part in parts if part is not None]
    names += [f"{name.replace('_', '-')}={safe(str(v))}" for name, v in settings.items() if v is not None]
    name = "-".join(names)
    return _with_end(name, WHOLE, name) if len(name) > WHOLE else name


def safe(text: str) -> str:
    """`text` as a part of a file name, in ASCII; unchanged if it is safe."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    plain = UNSAFE.sub("_", plain).strip("_.") or "x"
    return _with_end(plain, PART, text) if plain != text or len(text) > PART else text


def with_digest(name: str, content: str | bytes) -> str:
    """A safe `name` with a digest of the content, for one of several things of that name."""
    return _with_end(safe(name), PART, content)


def digest(content: str | bytes) -> str:
    """Eight letters that identify the content."""
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    return hashlib.sha256(content).hexdigest()[:8]


def _with_end(start: str, length: int, content: str | bytes) -> str:
    """`name` cut to `length` letters, with a digest at the end if it was cut."""
    end = f"~{digest(content)}"
    return start[: length - len(end)] + end
