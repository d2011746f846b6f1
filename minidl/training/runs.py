"""The folder of a run: config.json, env.json, log.txt, metrics.csv, checkpoints/, figures/."""

from __future__ import annotations

import csv
import json
import os
import platform
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from minidl import __version__
from minidl.errors import DataError, UsageError
from minidl.files import atomic
from minidl.training.config import Config, config_from_dict

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


class Run:
    """A run's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, output: Path, name: str | None, config: Config) -> Run:
        """A new folder output/name (default: time and model), complete with config.json or not there at all.

        Raises UsageError if the folder exists, DataError if it can't be written.
        """
        path = new_folder(output, name, config.model)
        workshop = output / f".new-{path.name}-{os.getpid()}"
        try:
            for folder in ("checkpoints", "figures"):
                (workshop / folder).mkdir(parents=True)
            (workshop / "config.json").write_text(json.dumps(config.as_dict(), indent=2) + "\n", encoding="utf-8")
            (workshop / "env.json").write_text(json.dumps(environment(), indent=2) + "\n", encoding="utf-8")
            workshop.rename(path)
        except OSError as error:
            shutil.rmtree(workshop, ignore_errors=True)
            raise DataError(f"can't write the run folder {path}: {error.strerror or error}") from error
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> Run:
        """An existing run; raises DataError if `path` is not a run folder. Removes what a killed writer left."""
        if not (path / "config.json").is_file():
            raise DataError(f"{path}: not a run folder (no config.json in it)")
        run = cls(path)
        for folder in (path, run.checkpoints, path / "figures"):
            for leftover in folder.glob(".tmp-*"):
                shutil.rmtree(leftover, ignore_errors=True)
        return run

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def checkpoint(self, name: str = "last") -> Path:
        return self.checkpoints / f"{name}.safetensors"

    def config(self) -> Config:
        path = self.path / "config.json"
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: can't be read ({error})") from error
        return config_from_dict(settings, str(path))

    def say(self, line: str) -> None:
        """Prints a line and adds it to log.txt."""
        print(line, flush=True)
        with (self.path / "log.txt").open("a", encoding="utf-8") as log:
            log.write(line + "\n")

    def write_metrics(self, history: list[dict[str, Any]]) -> None:
        """metrics.csv with a row per epoch; accuracies are fractions."""
        with (
            atomic(self.path / "metrics.csv") as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(history)


def new_folder(output: Path, name: str | None, what: str) -> Path:
    """A path output/name that is not there yet (default: time and `what`); UsageError if it is, or for a bad name."""
    if name is not None and (name in ("", "..") or Path(name).name != name):
        raise UsageError(f"--name {name!r}: give a plain folder name, --output says where it goes")
    wanted = name or f"{time.strftime('%Y%m%d-%H%M%S')}-{what}"
    path, again = output / wanted, 1
    while path.exists():
        if name is not None:
            raise UsageError(f"{path} exists: give another --name, or go on with --resume {path}")
        again += 1
        path = output / f"{wanted}-{again}"
    return path


def find_checkpoint(path: Path, name: str = "best") -> Path:
    """The checkpoint file that RUN means: the file itself, or the checkpoint `name` of a run folder."""
    if path.is_file():
        return path
    if not path.exists():
        raise DataError(f"{path}: no such run folder or checkpoint")
    file = Run.open(path).checkpoint(name)
    if not file.is_file():
        there = sorted(p.stem for p in file.parent.glob("*.safetensors"))
        raise DataError(
            f"{path}: no checkpoint {name!r} in it ({'there are ' + ', '.join(there) if there else 'none yet'})"
        )
    return file


def newest_run(output: Path) -> Path | None:
    """The run folder in `output` that was begun last."""
    configs = sorted(output.glob("*/config.json"), key=lambda path: path.stat().st_mtime)
    return configs[-1].parent if configs else None


def environment() -> dict[str, Any]:
    """The software and machine a run was made with."""
    return {
        "minidl": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
