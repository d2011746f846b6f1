"""The entries of an archive: which names and numbers of them are allowed, and which are kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from minidl.data.layout import SPLITS, TEXTS, is_junk, meant
from minidl.data.limits import Limits, at_most
from minidl.errors import DataError

_DEEPEST = 4  # pets/train/cat/images: deeper folders belong to no data set


@dataclass
class Archive:
    """The files and folders of an archive by name ("pets/train/cat/1.jpg"), and how to read a file.

    Only entries that can belong to a data set are kept: what is in train, val or test, and the texts beside these.
    """

    path: Path
    limits: Limits
    files: dict[str, object] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    reader: Callable[[object, int], bytes] | None = None  # of a file's place, and the most bytes it may have
    _entries: int = 0
    _letters: int = 0
    _bytes: int = 0
    _parents: set[str] = field(default_factory=set)  # whose folders are known

    @cached_property
    def _most_bytes(self) -> int:
        """The most bytes that all files together may have."""
        return max(self.limits.free, min(self.limits.total, self.limits.ratio * self.path.stat().st_size))

    def checked(self, name: str, link: bool) -> str:
        """`name`; raises DataError if it is too long or too deep, leaves the archive's folder, or is a link."""
        self._entries += 1
        self._letters += len(name)
        if self._entries > self.limits.entries or self._letters > self.limits.listing:
            at_most(self.path, self._entries, self.limits.entries, "entries")
            at_most(self.path, self._letters, self.limits.listing, "letters of names")
        parts = name.replace("\\", "/").split("/")
        if len(name) > self.limits.name or len(parts) > self.limits.depth:
            where = f"{self.path}: entry {ascii(name[:40])}..."
            at_most(where, len(name), self.limits.name, "letters of its name")
            at_most(where, len(parts), self.limits.depth, "folders deep")
        link = link and not any(map(is_junk, parts))  # one in .git/, say, is not read
        if link or ".." in parts or parts[0] == "" or re.match("[A-Za-z]:", name) or "\0" in name:
            raise DataError(
                f"{self.path}: refused, because entry {ascii(name)} is a link or leaves the archive's folder"
            )
        return name

    def add(self, name: str, folder: bool, size: int) -> str | None:
        """Counts an entry of `size` bytes, and adds the folders that contain it.

        Returns the name for `files` if the entry is a file that can belong to a data set, else None.
        """
        self._bytes += size
        if self._bytes > self.limits.free:
            at_most(self.path, self._bytes, self._most_bytes, "bytes unpacked")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if any(map(is_junk, parts)) or not parts:
            return None
        parent = "/".join(parts if folder else parts[:-1])
        if parent not in self._parents:
            self._parents.add(parent)
            upper = [parts[:depth] for depth in range(1, min(len(parts) + folder, _DEEPEST + 1))]
            self.folders.update("/".join(above) for above in upper if _wanted(above))
        return None if folder or not _wanted(parts) else "/".join(parts)


def _wanted(parts: list[str]) -> bool:
    """Whether an entry can belong to a data set at the root of the archive or in a folder of it."""
    return not {*parts[:2]}.isdisjoint(SPLITS) or (
        len(parts) < 3 and (parts[-1] in TEXTS or meant(parts[-1]) is not None)
    )
