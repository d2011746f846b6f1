"""Faults injected around every write of a run: it must end well, or in one line and a checkpoint to continue from.

    python -m tests.faults

An undisturbed run lists the calls that write: making folders, opening, writing and renaming files, flushing them to
the disk, printing. Then one of them fails, in run after run: a first, a middle and a last one of each kind and place,
once or from then on. What a run can do without doesn't end it. A run that ends with exit code 0 must have the weights
of the undisturbed one. Any other must say one line, and resumed without faults, from the file which that line names,
end in the same weights; what it goes on from must hold every epoch that was finished.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import itertools
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

import train
from minidl.storage.weights import load_arrays
from minidl.training.checkpoints import load_checkpoint

FLAGS = ["--model", "convnet", "--image-size", "16", "--batch-size", "4", "--threads", "1", "--epochs", "2"]
FLAGS += ["--snapshot-epochs", "1"]
OPTIONAL = ("figures", "log.txt", "metrics.csv", "screen")
ERRORS = (errno.ENOSPC, errno.EACCES, errno.EIO, errno.EPIPE, errno.ENOENT, errno.EROFS)


@dataclass
class Fault:
    """The `nth` call of `function` at `place` fails with `error`; if `lasting`, all after it too."""

    function: str = "none"
    place: str = ""
    nth: int = 0
    error: int = errno.EIO
    lasting: bool = False

    def __str__(self) -> str:
        since = " and all after it" if self.lasting else ""
        return f"{self.function} of {self.place}, call {self.nth + 1}{since}: {errno.errorcode[self.error]}"


@dataclass
class Injector:
    """Counts the calls below `root`, and lets one fail."""

    root: Path
    fault: Fault
    calls: dict[tuple[str, str], int] = field(default_factory=dict)

    def meet(self, function: str, path: object) -> None:
        place = self.place(path)
        if place is None:
            return
        nth = self.calls.get((function, place), 0)
        self.calls[function, place] = nth + 1
        f = self.fault
        if (function, place) == (f.function, f.place) and (nth == f.nth or (f.lasting and nth > f.nth)):
            raise OSError(f.error, os.strerror(f.error), str(path))

    def place(self, path: object) -> str | None:
        """What `path` belongs to; None for what is not a run's."""
        if not isinstance(path, str | os.PathLike):
            return None
        text = os.fspath(path)
        if path == "stdout":
            return "screen"
        if not text.startswith(str(self.root)):
            return None
        parts = Path(text).relative_to(self.root).parts
        kinds = ("cache", "checkpoints", "figures", "log.txt", "metrics.csv")
        return next((kind for kind in kinds if kind in parts), "folder")

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        opened: dict[int, object] = {}
        real = {name: getattr(os, name) for name in ("replace", "rename", "mkdir", "fsync", "open")}
        real_open = io.open

        def os_open(path, flags, *args, **options):
            if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
                self.meet("open", path)
            descriptor = real["open"](path, flags, *args, **options)
            opened[descriptor] = path
            return descriptor

        def any_open(file, mode="r", *args, **options):
            if not set(mode) & set("wax+"):
                return real_open(file, mode, *args, **options)
            path = opened.get(file, file)
            self.meet("open", path)
            handle = real_open(file, mode, *args, **options)
            opened[handle.fileno()] = path
            return _Written(handle, lambda: self.meet("write", path))

        def two(name: str) -> Callable:
            def call(source, target, **options):
                self.meet(name, target)
                return real[name](source, target, **options)

            return call

        def mkdir(path, *args, **options):
            self.meet("mkdir", path)
            return real["mkdir"](path, *args, **options)

        def fsync(descriptor):
            self.meet("fsync", opened.get(descriptor))
            return real["fsync"](descriptor)

        patches = {
            "replace": two("replace"),
            "rename": two("rename"),
            "mkdir": mkdir,
            "fsync": fsync,
            "open": os_open,
        }
        screen = _Written(sys.stdout, lambda: self.meet("write", "stdout"))
        with contextlib.ExitStack() as stack:
            for name, patch in patches.items():
                stack.enter_context(mock.patch.object(os, name, patch))
            if accessor := getattr(pathlib, "_NormalAccessor", None):  # Python 3.10 keeps these functions apart
                for name in ("replace", "rename", "mkdir"):
                    stack.enter_context(mock.patch.object(accessor, name, staticmethod(patches[name])))
                stack.enter_context(mock.patch.object(accessor, "open", staticmethod(any_open)))
            stack.enter_context(mock.patch.object(io, "open", any_open))
            stack.enter_context(mock.patch.object(builtins, "open", any_open))
            stack.enter_context(mock.patch.object(sys, "stdout", screen))
            yield


class _Written:
    """A file whose writes are met first."""

    def __init__(self, file: io.IOBase, before: Callable[[], None]) -> None:
        self._file, self._before = file, before

    def write(self, content):
        self._before()
        return self._file.write(content)

    def __getattr__(self, name: str):
        return getattr(self._file, name)

    def __enter__(self):
        self._file.__enter__()
        return self

    def __exit__(self, *details):
        return self._file.__exit__(*details)


def make_images(root: Path) -> Path:
    """Three classes of small plain pictures."""
    for split, n in (("train", 8), ("val", 4)):
        for k, name in enumerate(("cat", "dog", "emu")):
            (root / split / name).mkdir(parents=True)
            for i in range(n):
                pixels = np.full((16, 16, 3), 40, np.uint8)
                pixels[..., k] = 200 + i
                Image.fromarray(pixels).save(root / split / name / f"{i}.png")
    return root


def run(folder: Path, flags: list[str], fault: Fault) -> tuple[int, str, str, dict[tuple[str, str], int]]:
    """Exit code, stdout, stderr and calls of train.py in `folder`, disturbed by `fault`."""
    injector = Injector(folder, fault)
    out, err = io.StringIO(), io.StringIO()
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    environment = mock.patch.dict(os.environ, MINIDL_CACHE=str(folder / "cache"))
    elsewhere = mock.patch.object(tempfile, "tempdir", str(folder.parent / "tmp"))
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        environment,
        elsewhere,
        injector.installed(),
    ):
        code = train.main(flags)
    return code, out.getvalue(), err.getvalue(), injector.calls


class Trials:
    """Runs on one small data set, each in a folder of its own below `root`."""

    def __init__(self, root: Path) -> None:
        self.root, self.data, self.number = root, make_images(root / "data"), itertools.count()
        (root / "tmp").mkdir()
        code, _, error, self.calls = run(root / "whole", self._flags(root / "whole"), Fault())
        assert code == 0, error
        self.weights = load_arrays(root / "whole" / "run" / "checkpoints" / "last.safetensors")[0]

    def _flags(self, folder: Path) -> list[str]:
        return [*FLAGS, "--data", str(self.data), "--output", str(folder), "--name", "run"]

    def faults(self) -> Iterator[Fault]:
        """First, middle and last call of every kind and place, with all errors in turn, once and lasting."""
        errors = itertools.cycle(ERRORS)
        for (function, place), n in sorted(self.calls.items()):
            for nth in sorted({0, n // 2, n - 1}):
                for lasting in (False, True):
                    yield Fault(function, place, nth, next(errors), lasting)

    def trial(self, fault: Fault) -> str:
        """What became of a run with `fault`; raises AssertionError if anything was lost or left unsaid."""
        folder = self.root / f"trial{next(self.number)}"
        code, out, error, _ = run(folder, self._flags(folder), fault)
        lines = [line for line in error.splitlines() if not line.startswith(("warning", "packing"))]
        last = folder / "run" / "checkpoints" / "last.safetensors"
        if fault.place in OPTIONAL and fault.function != "mkdir":  # figures/ is made with the run
            assert code == 0, f"{fault}: {error}"
        if code == 0:
            assert not lines, f"{fault}: exit 0 with {lines}"
            ending = "finished"
        else:
            assert len(lines) == 1 and lines[0].startswith("train.py: "), f"{fault}: {error}"
            assert "internal error" not in lines[0], lines[0]
            ending = f"exit {code}, resumed"
            if rescued := [
                word for word in lines[0].replace(":", " ").split() if word.startswith(str(self.root / "tmp"))
            ]:
                last.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(rescued[0], last)
                ending = f"exit {code}, resumed from where temporary files go"
            done = sum(line.startswith("epoch") for line in out.splitlines())
            held = load_checkpoint(last).state.epoch if last.is_file() else 0
            assert held >= done, f"{fault}: {done} epochs were finished, {held} are saved"
            flags = ["--resume", str(folder / "run")] if (folder / "run").exists() else self._flags(folder)
            code, _, error, _ = run(folder, flags, Fault())
            assert code == 0, f"{fault}: resumed {error}"
        weights = load_arrays(last)[0]
        same = weights.keys() == self.weights.keys()
        assert same and all(np.array_equal(weights[n], a) for n, a in self.weights.items()), f"{fault}: other weights"
        shutil.rmtree(folder)
        return ending


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        trials = Trials(Path(temporary).resolve())
        endings: dict[str, int] = {}
        for n, fault in enumerate(trials.faults(), 1):
            ending = trials.trial(fault)
            endings[ending] = endings.get(ending, 0) + 1
            print(f"{n:3}  {fault}: {ending}", flush=True)
    print(f"{n} faults, no epoch lost: " + ", ".join(f"{count} {ending}" for ending, count in endings.items()))


if __name__ == "__main__":
    main()
