"""Reads a whole data set and lists everything that is wrong with it, with counts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from minidl.data.facts import facts
from minidl.data.images import decode_sized
from minidl.data.loader import map_ahead
from minidl.data.opening import open_source
from minidl.data.packed import scan
from minidl.data.packing import CHUNK
from minidl.errors import DataError, printable, require_whole
from minidl.text.plural import counted
from minidl.text.progress import Progress

NAMED = 20  # files that aren't read, in a report


@dataclass
class Report:
    """What `check_data` found: counts of the readable images, files that aren't read, and one line per problem."""

    path: Path
    classes: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        return "\n".join(map(printable, self.lines()))

    def lines(self) -> list[str]:
        """The lines to print."""
        lines = [f"{n:>9,} {what}" for what, n in {"classes": self.classes, **self.counts}.items() if self.counts]
        lines += [f"{label}: not read" for label in self.unread[:NAMED]]
        if more := len(self.unread[NAMED:]):
            lines.append(f"and {counted(more, 'more file')}: not read")
        verdict = "no problems" if self.ok else counted(len(self.problems), "problem")
        if self.unread:
            verdict += f", {counted(len(self.unread), 'file')} not read"
        return [*lines, *self.problems, f"{self.path}: {verdict}"]


def check_data(path: str | Path, *, image_size: int = 64, progress: bool = True) -> Report:
    """Decodes every image of the data set at `path` and reports all problems. It raises no error about the data."""
    image_size, report = require_whole("image_size", image_size, 1), Report(Path(path))
    try:
        source = open_source(path)
        index = scan(source)
    except DataError as error:
        report.problems.append(str(error))
        return report
    report.classes, report.problems = len(index.classes), list(index.problems)
    report.unread = [source.label(name) for name in index.unread]

    def decode(name: str) -> tuple[np.ndarray, bool, tuple[int, int]]:
        return decode_sized(source.read(name), source.label(name), image_size, index.exact_size, source.limits)

    def look(names: list[str]) -> list[tuple[bool, tuple[int, int]] | str]:
        """Says of each image whether it is gray and how large it is, or what is wrong with it."""
        seen: list[tuple[bool, tuple[int, int]] | str] = []
        for name in names:
            try:
                seen.append(decode(name)[1:])
            except DataError as error:
                seen.append(str(error))
        return seen

    gray, sizes = {}, {}
    with Progress("checking images", sum(map(len, index.splits.values())), "image", show=progress) as bar:
        for split, files in index.splits.items():
            names = [name for name, _ in files]
            chunks = (names[i : i + CHUNK] for i in range(0, len(names), CHUNK))
            good: list[tuple[bool, tuple[int, int]]] = []
            for seen in map_ahead(look, chunks, os.cpu_count() or 1):
                bar.add(len(seen))
                good += [answer for answer in seen if not isinstance(answer, str)]
                report.problems += [line for line in seen if isinstance(line, str)]
            gray[split] = np.array([flag for flag, _ in good], bool)
            sizes[split] = np.array([size for _, size in good], np.int32).reshape(-1, 2)
    labels = np.array([label for _, label in index.splits["val"]]) if "val" in index.splits else None
    report.counts = facts(index.classes, gray, sizes, labels, image_size, len(index.unread))
    return report
