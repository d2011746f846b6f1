"""What a data set is read from (Source), and what is in it (Index)."""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from minidl.errors import DataError

BROKEN = (OSError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile, tarfile.TarError)  # what reading can raise


@dataclass
class Source:
    """The files of a data set by name relative to its root ("train/cat/1.jpg"), and how to read one."""

    prefix: str  # what stands before a name in messages
    files: dict[str, object]  # name -> what `reader` needs; in no particular order
    reader: Callable[[object], bytes]
    folders: set[str]
    watched: dict[str, list[int]]  # path -> its stamp; another stamp means that the source has changed

    def read(self, name: str) -> bytes:
        """The bytes of file `name`; raises DataError naming it."""
        try:
            return self.reader(self.files[name])
        except BROKEN as error:
            raise DataError(f"{self.label(name)}: can't be read ({reason(error)})") from error

    def label(self, name: str) -> str:
        """How messages name file `name`."""
        text = self.prefix + name
        return text if text.isprintable() else ascii(text)


@dataclass
class Index:
    """What a source holds: classes in label order, their words, and per split the (file, label) pairs.

    `problems` has one line for everything wrong that can be seen without opening an image.
    """

    classes: list[str]
    words: list[str]
    splits: dict[str, list[tuple[str, int]]]  # label -1: unknown
    problems: list[str]
    exact_size: int | None = None  # images must be JPEG files of just this height and width


def unchanged(watched: dict[str, list[int]]) -> bool:
    """Whether all watched files and folders are as they were."""
    try:
        return all(stamp(path) == before for path, before in watched.items())
    except OSError:
        return False


def stamp(path: str | os.PathLike) -> list[int]:
    """Modification time in ns, and size (0 for a folder)."""
    status = os.stat(path)
    return [status.st_mtime_ns, 0 if stat.S_ISDIR(status.st_mode) else status.st_size]


def reason(error: BaseException) -> str:
    """What went wrong, in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0]
