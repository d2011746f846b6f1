"""The folder in which an atlas grows: what is finished stays if the work is interrupted, and is not done again."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from minidl.errors import DataError, UsageError
from minidl.storage.files import atomic, cant_write, own_folder, remove_leftovers, workshop
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
        self.output = Path(os.path.abspath(output))  # so it has a name, even if `output` is ".."
        if not self.output.name:
            raise UsageError(f"{self.output}: an atlas can't be there: give another --output")
        self.folder = self.output.with_name(self.output.name + ".unfinished")
        self._open = False

    @contextmanager
    def owned(self, plan: dict) -> Iterator[bool]:
        """Opens the folder for this process: True if it goes on with earlier work of the same `plan`.

        Raises UsageError if `output` is something else than an atlas or an empty folder, or if another process works
        here.
        """
        self._check_output()
        try:
            own_folder(self.folder.parent, self.folder.name)
        except DataError as error:
            raise DataError(f"{error}: give another --output") from error
        descriptor = None
        try:
            with suppress(OSError):  # without locks, as on Windows, nobody is refused
                descriptor = os.open(self.folder, os.O_RDONLY)
                if not lock(descriptor):
                    raise UsageError(f"{self.folder}: another process makes this atlas: wait or stop it")
            begun = self._planned() == plan
            if not begun:
                self._clear()
                with atomic(self.folder / PLAN) as temporary:
                    write_json(temporary, plan)
            for name in ("data", "sheets", "numbers", "large"):
                remove_leftovers(own_folder(self.folder, name))
            self._open = True
            yield begun
        finally:
            self._open = False
            if descriptor is not None:
                os.close(descriptor)

    def _check_output(self) -> None:
        if self.output.is_symlink():
            raise UsageError(f"{self.output}: a link: give the folder itself as --output, or remove the link")
        try:
            fits = not self.output.exists() or (self.output / INDEX).is_file() or not any(self.output.iterdir())
        except NotADirectoryError:
            fits = False
        except OSError as error:
            raise cant_write(self.output, error) from error
        if not fits:
            raise UsageError(f"{self.output}: exists and is not an atlas: give another --output")

    def stage(self, name: str, make: Callable[[], Arrays], *needs: Path) -> Arrays:
        """The arrays that `make` computes; if they are in numbers/<name>.npz already, from there.

        needs    files that `make` writes too
        """
        found = self.load(name) if all(path.exists() for path in needs) else None
        return self.save(name, make()) if found is None else found

    def once(self, name: str, do: Callable[[], None]) -> None:
        """Calls `do`, unless it was done before."""
        mark = self.folder / "large" / f"{name}.done"
        if not mark.exists():
            do()
            mark.touch()

    def save(self, name: str, arrays: Arrays) -> Arrays:
        if self._open:  # or else a thread ends after its work was interrupted, and the folder may be another's
            with atomic(self._numbers(name)) as temporary:
                np.savez_compressed(temporary, **arrays)
        return arrays

    def load(self, name: str) -> Arrays | None:
        """The arrays of a stage that is done; None if it isn't, or if its file is damaged."""
        try:
            with np.load(self._numbers(name), allow_pickle=False) as file:
                return dict(file)
        except (OSError, ValueError, EOFError, BadZipFile, zlib.error):
            return None

    def _numbers(self, name: str) -> Path:
        return self.folder / "numbers" / f"{name}.npz"

    def large(self, name: str) -> Path:
        return self.folder / "large" / f"{name}.npy"

    def new_large(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """A float32 array in the file large/<name>.npy.

        Raises DataError if the disk has no room for it; later this would end the process without a word.
        """
        path = self.large(name)
        try:
            array = np.lib.format.open_memmap(path, "w+", np.float32, shape)
            if hasattr(os, "posix_fallocate"):
                with open(path, "r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            raise cant_write(path, error) from error
        return array

    def finish(self) -> None:
        """Puts the atlas in the place of an earlier one, if there is one."""
        try:
            with workshop(self.output.parent) as aside:
                old = aside / self.output.name
                if self.output.exists():
                    self.output.rename(old)
                try:
                    self.folder.rename(self.output)
                except OSError:
                    if old.exists():
                        old.rename(self.output)
                    raise
        except OSError as error:
            raise cant_write(self.output, error) from error
        shutil.rmtree(self.output / "large", ignore_errors=True)
        (self.output / PLAN).unlink(missing_ok=True)

    def _planned(self) -> dict | None:
        try:
            plan = read_json(self.folder / PLAN)
        except DataError:
            return None
        return plan if isinstance(plan, dict) and "network" in plan else None

    def _clear(self) -> None:
        if any(self.folder.iterdir()) and self._planned() is None:
            raise UsageError(f"{self.folder}: is no unfinished atlas: remove it, or give another --output")
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
