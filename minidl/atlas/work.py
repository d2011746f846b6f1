"""The folder in which an atlas grows: what is finished stays if the work is interrupted, and is not done again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from minidl.errors import DataError, UsageError
from minidl.storage.files import atomic, cant_write, open_own, own_folder
from minidl.storage.locks import lock
from minidl.storage.metadata import read_json, write_json

PLAN = "plan.json"  # in the folder: what the atlas is made from
INDEX = Path("data", "atlas.js")  # by which an atlas is known
Arrays = dict[str, np.ndarray]


class Work:
    """The unfinished atlas beside `output`, which becomes `output` when it is complete.

    data/, sheets/, numbers/    as in the atlas
    large/                      arrays that only the work needs
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = output.with_name(output.name + ".unfinished")

    @contextmanager
    def owned(self, plan: dict) -> Iterator[bool]:
        """Opens the folder for this process: True if it goes on with earlier work of the same `plan`.

        Raises UsageError if `output` is something else than an atlas, or if another process works here.
        """
        if os.path.lexists(self.output) and not (self.output / INDEX).is_file():
            raise UsageError(f"{self.output}: exists and is not an atlas: give another --output")
        try:
            own_folder(self.folder.parent, self.folder.name)
            descriptor = open_own(self.folder / "lock", os.O_RDWR)
        except OSError as error:
            raise cant_write(self.folder, error) from error
        try:
            if not lock(descriptor):
                raise UsageError(f"{self.folder}: another process makes this atlas: wait or stop it")
            begun = self._planned() == plan
            if not begun:
                self._clear()
                write_json(self.folder / PLAN, plan)
            for name in ("data", "sheets", "numbers", "large"):
                (self.folder / name).mkdir(exist_ok=True)
            yield begun
        finally:
            os.close(descriptor)

    def stage(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """The arrays that `make` computes; if they are in numbers/<name>.npz already, from there."""
        return self.load(name) if self.done(name) else self.save(name, make())

    def once(self, name: str, do: Callable[[], None]) -> None:
        """Calls `do`, unless it was done before."""
        mark = self.folder / "large" / f"{name}.done"
        if not mark.exists():
            do()
            mark.touch()

    def save(self, name: str, arrays: Arrays) -> Arrays:
        with atomic(self._numbers(name)) as temporary:
            np.savez_compressed(temporary, **arrays)
        return arrays

    def load(self, name: str) -> Arrays:
        with np.load(self._numbers(name), allow_pickle=False) as file:
            return dict(file)

    def done(self, name: str) -> bool:
        return self._numbers(name).exists()

    def _numbers(self, name: str) -> Path:
        return self.folder / "numbers" / f"{name}.npz"

    def large(self, name: str) -> Path:
        return self.folder / "large" / f"{name}.npy"

    def finish(self) -> None:
        """Puts the atlas in the place of an earlier one, if there is one."""
        shutil.rmtree(self.folder / "large")
        for name in (PLAN, "lock"):
            (self.folder / name).unlink()
        old = self.output.with_name(self.output.name + ".old")
        try:
            if self.output.exists():
                shutil.rmtree(old, ignore_errors=True)
                self.output.rename(old)
            self.folder.rename(self.output)
        except OSError as error:
            raise cant_write(self.output, error) from error
        shutil.rmtree(old, ignore_errors=True)

    def _planned(self) -> dict | None:
        try:
            return read_json(self.folder / PLAN)
        except DataError:
            return None

    def _clear(self) -> None:
        if any(p.name != "lock" for p in self.folder.iterdir()) and not (self.folder / PLAN).exists():
            raise UsageError(f"{self.folder}: exists and is not an unfinished atlas: give another --output")
        for path in self.folder.iterdir():
            if path.name == "lock":
                continue
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
