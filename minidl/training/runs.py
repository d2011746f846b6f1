"""The folder of a run: config.json, env.json, data.json, lock, log.txt, metrics.csv, checkpoints/, figures/."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from minidl.errors import DataError, UsageError
from minidl.storage.files import (
    TEMPORARY,
    append_line,
    atomic,
    cant_write,
    check_own,
    open_own,
    own_folder,
    remove_leftovers,
)
from minidl.storage.locks import lock
from minidl.storage.metadata import read_json, write_json
from minidl.storage.tables import csv_file
from minidl.storage.validate import fits, optional, table, text, whole
from minidl.text.console import show, warn
from minidl.training.config import Config, config_from_dict
from minidl.training.folders import create_folder
from minidl.version import __version__

COLUMNS = (
    "epoch",
    "train_loss",
    "train_top1",
    "val_loss",
    "val_top1",
    "val_top5",
    "lr",
    "images_per_s",
    "seconds",
)
FOLDERS = ("checkpoints", "figures")
LOCK = "lock"  # held by the process that trains in the run
FILES = ("config.json", "env.json", "data.json", "log.txt", "metrics.csv", LOCK)
TIME = "%Y-%m-%dT%H:%M:%S%z"


def _is_time(value: Any) -> bool:
    try:
        return datetime.strptime(value, TIME).year >= 1970
    except (TypeError, ValueError):
        return False


_ENVIRONMENT = table({"started": fits(_is_time, "a time such as 2026-01-31T12:00:00+0000")}, others=True)
_SPLIT = table({"images": whole(), "order": text(100), "pixels": optional(text(100))})
_FINGERPRINT = table({"train": _SPLIT, "val": _SPLIT})


class Run:
    """The folder of a run. The process that trains in it owns it (`owned`); all others only read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log_fails = False

    @classmethod
    def create(cls, output: Path, name: str | None, config: Config, data: dict[str, Any] | None = None) -> Run:
        """A new folder output/name (default: time and model). It appears only once its config.json is written.

        data    the fingerprint of its data set

        Raises as `create_folder`.
        """
        return cls(create_folder(output, name, config.model, lambda folder: _furnish(folder, config, data)))

    @classmethod
    def open(cls, path: Path) -> Run:
        """An existing run; raises DataError if `path` is not a run folder."""
        if not (path / "config.json").is_file():
            missing = "no such run folder or checkpoint"
            raise DataError(f"{path}: {'not a run folder (no config.json in it)' if path.exists() else missing}")
        return cls(path)

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Keeps other processes from training in this run, and removes the temporary files of killed ones.

        Raises UsageError naming the process that trains in it. Raises DataError if the folder can't be written, or if
        a file to be written is a link.
        """
        folders = [self.path, *(self.folder(name) for name in FOLDERS)]
        for name in FILES:
            check_own(self.path / name)
        path = self.path / LOCK
        try:
            descriptor = open_own(path, os.O_RDWR)
        except OSError as error:
            raise cant_write(path, error) from error
        with closing(os.fdopen(descriptor, "r+", encoding="utf-8")) as file:
            try:
                free = lock(descriptor)
            except OSError as error:
                free = warn(
                    f"{path}: can't be locked ({error.strerror}): make sure that no other process resumes this run"
                )
            if not free:
                raise UsageError(
                    f"{self.path}: {file.read(100).strip() or 'another process'} trains it: wait or stop it"
                )
            with suppress(OSError):  # only for the message to a process that is refused
                file.truncate(0)
                file.write(f"process {os.getpid()} on {platform.node()}")
                file.flush()
            for folder in folders:
                remove_leftovers(folder)
            yield

    def folder(self, name: str) -> Path:
        """A folder in the run to write to (see `own_folder`)."""
        return own_folder(self.path, name)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def checkpoint(self, name: str = "last") -> Path:
        return self.checkpoints / f"{name}.safetensors"

    def config(self) -> Config:
        path = self.path / "config.json"
        return config_from_dict(read_json(path), str(path))

    def write_config(self, config: Config) -> None:
        """Replaces the settings in config.json. Raises DataError."""
        with atomic(self.path / "config.json") as temporary:
            write_json(temporary, config.as_dict())

    def mend(self, config: Config) -> None:
        """Restores the files and folders that a resumed run needs, if somebody removed them. Raises DataError."""
        for name in FOLDERS:
            self.folder(name)
        if not (self.path / "config.json").exists():
            self.write_config(config)

    def data(self) -> dict[str, Any] | None:
        """The fingerprint of the data set from the beginning of the run; None in a run of an older version."""
        path = self.path / "data.json"
        return _FINGERPRINT(read_json(path), f"{path}:") if os.path.lexists(path) else None

    def say(self, line: str) -> None:
        """Prints a line and adds it to log.txt. Neither is essential: a failure is reported once, then ignored."""
        if not show(line):
            warn(f"warning  the output can't be written any more; the run continues, see {self.path / 'log.txt'}")
        try:
            append_line(self.path / "log.txt", line)
        except (OSError, DataError) as error:
            if not self._log_fails:
                problem = cant_write(self.path / "log.txt", error) if isinstance(error, OSError) else error
                warn(f"warning  {problem}; the run continues")
            self._log_fails = True

    def write_metrics(self, history: list[dict[str, Any]]) -> None:
        """Writes metrics.csv with a row per epoch; accuracies are fractions."""
        with csv_file(self.path / "metrics.csv") as write:
            write(COLUMNS)
            for row in history:
                write(row[column] for column in COLUMNS)


class RunElsewhere(Run):
    """The run as the other ranks see it: rank 0 alone prints, reads and writes."""

    def say(self, line: str) -> None: ...


def _furnish(folder: Path, config: Config, data: dict[str, Any] | None) -> None:
    for name in FOLDERS:
        (folder / name).mkdir()
    write_json(folder / "config.json", config.as_dict())
    write_json(folder / "env.json", environment())
    if data is not None:
        write_json(folder / "data.json", data)


def find_checkpoint(path: str | Path, name: str = "best") -> Path:
    """The checkpoint file that RUN means: the file itself, or the checkpoint `name` of a run folder."""
    path = Path(path)
    if name in ("", ".", "..") or Path(name).name != name or "\0" in name:
        raise UsageError(f"--checkpoint {name[:60]!r}: give a plain name, such as best or last")
    if path.is_file():
        return path
    file = Run.open(path).checkpoint(name)
    if not file.is_file():
        there = sorted(p.stem for p in file.parent.glob("*.safetensors"))
        raise DataError(
            f"{path}: no checkpoint {name!r} in it ({'there are ' + ', '.join(there) if there else 'none yet'})"
        )
    return file


def run_folder(checkpoint: Path) -> Path | None:
    """The folder of the run to which a checkpoint file belongs, or None."""
    folder = checkpoint.absolute().parent
    return folder.parent if folder.name == "checkpoints" and (folder.parent / "config.json").is_file() else None


def newest_run(output: Path) -> Path | None:
    """The run folder in `output` that was started last."""
    configs = [path for path in output.glob("*/config.json") if not path.parent.name.startswith(TEMPORARY)]
    return max((path.parent for path in configs), key=started, default=None)


def started(run: Path) -> tuple[float, float]:
    """When the run in the folder `run` was started, to compare it with other runs: in seconds since 1970.

    That is what its env.json says, in whole seconds; of runs of the same second, and where it says nothing, the time
    of the file counts. (A resumed run may write config.json again, but never env.json.)
    """
    path = run / "env.json"
    written = (path if path.is_file() else run / "config.json").stat().st_mtime
    with suppress(DataError):
        said = _ENVIRONMENT(read_json(path), f"{path}:")["started"]
        return datetime.strptime(said, TIME).timestamp(), written
    return written, written


def environment() -> dict[str, Any]:
    """The software and the machine of a run."""
    return {
        "minidl": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "started": time.strftime(TIME),
    }
