"""Everything that is wrong with a data set, at once, and its counts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from minidl.data.images import decode
from minidl.data.loader import prefetch
from minidl.data.opening import open_source
from minidl.data.packed import counts, scan
from minidl.data.packing import CHUNK
from minidl.errors import DataError
from minidl.progress import Progress


@dataclass
class Report:
    """What `check_data` saw: counts of the readable images, and a line for each problem."""

    path: Path
    classes: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        counted = {"classes": self.classes, **self.counts} if self.counts else {}
        verdict = f"{self.path}: {'no problems' if self.ok else f'{len(self.problems)} problems'}"
        return "\n".join([*(f"{n:>9,} {what}" for what, n in counted.items()), *self.problems, verdict])


def check_data(path: str | Path, *, image_size: int = 64, progress: bool = True) -> Report:
    """Decodes every image of the data set at `path` and reports all problems; raises nothing about the data."""
    report = Report(Path(path))
    try:
        source = open_source(path)
        index = scan(source)
    except DataError as error:
        report.problems.append(str(error))
        return report
    report.classes, report.problems = len(index.classes), list(index.problems)

    def look(names: list[str]) -> list[bool | str]:
        """For each image whether it is gray, or what is wrong with it."""
        seen: list[bool | str] = []
        for name in names:
            try:
                seen.append(decode(source.read(name), source.label(name), image_size, index.exact_size)[1])
            except DataError as error:
                seen.append(str(error))
        return seen

    gray = {}
    with Progress("checking images", sum(map(len, index.splits.values())), "image", show=progress) as bar:
        for split, files in index.splits.items():
            names = [name for name, _ in files]
            flags: list[bool] = []
            for seen in prefetch(
                look, (names[i : i + CHUNK] for i in range(0, len(names), CHUNK)), os.cpu_count() or 1
            ):
                bar.add(len(seen))
                flags += [flag for flag in seen if not isinstance(flag, str)]
                report.problems += [line for line in seen if isinstance(line, str)]
            gray[split] = np.array(flags, bool)
    report.counts = counts(gray)
    return report
