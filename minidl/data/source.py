"""Where a data set is read from (Source), and its content (Index)."""

from __future__ import annotations

import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from minidl.data.layout import meant
from minidl.data.limits import LIMITS, Limits
from minidl.errors import DataError, printable

# What reading files and archives can raise; ValueError: also names that can't be decoded.
BROKEN = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
)


@dataclass
class Source:
    """The files of a data set by name relative to its root ("train/cat/1.jpg"), and how to read one."""

    prefix: str  # what stands before a name in messages
    files: dict[str, object]  # name -> what `reader` needs; in no particular order
    reader: Callable[[object, int], bytes]  # what stands in `files`, and the most bytes that it may have
    folders: set[str]
    refused: list[tuple[str, str]] = field(default_factory=list)  # folders that can't be listed, and why
    limits: Limits = LIMITS

    def read(self, name: str, most: int | None = None) -> bytes:
        """The bytes of file `name`, at most `most` (an image's); raises DataError naming it."""
        try:
            return self.reader(self.files[name], self.limits.file if most is None else most)
        except BROKEN as error:
            raise DataError(f"{self.label(name)}: can't be read ({reason(error)})") from error

    def label(self, name: str) -> str:
        """The name of file `name` in messages."""
        return printable(self.prefix + name)

    def is_closed(self, folder: str) -> bool:
        """Whether `folder`, or a folder in it, can't be listed."""
        return folder in self._closed

    @cached_property
    def _closed(self) -> set[str]:
        paths = (name.split("/") for name, _ in self.refused)
        return {"/".join(path[:depth]) for path in paths for depth in range(1, len(path) + 1)}

    def folders_in(self, split: str) -> list[str]:
        """The names of the folders inside the folder of a split, sorted."""
        parts = (name.split("/") for name in self.folders)
        return sorted(inner[0] for top, *inner in parts if top == split and len(inner) == 1)


@dataclass
class Index:
    """The content of a source: classes in label order, their words, and per split the (file, label) pairs.

    `problems` has a line for each problem that can be seen without opening an image. `unread` lists files in the
    splits' folders that are neither images nor known texts.
    """

    classes: list[str]
    words: list[str]
    splits: dict[str, list[tuple[str, int]]]  # label -1: unknown
    problems: list[str]
    unread: list[str]
    exact_size: int | None = None  # images must be JPEG files of just this height and width


def outside(source: Source) -> tuple[list[str], list[str]]:
    """(problems, unread): folders that can't be listed, and folders with a name like that of a split.

    The latter are problems if train or val is missing; otherwise they just aren't read.
    """
    problems = [f"{source.label(name)}: can't be listed ({printable(why)})" for name, why in sorted(source.refused)]
    unread = []
    for name in sorted(name for name in source.folders if "/" not in name):
        if (split := meant(name)) in ("train", "val") and split not in source.folders:
            problems.append(f"{source.label(name)}: did you mean {split}? Rename it")
        elif split is not None:
            unread.append(name)
    return problems, unread


def reason(error: BaseException) -> str:
    """The error in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return printable(text.splitlines()[0])
