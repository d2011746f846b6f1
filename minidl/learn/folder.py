"""A learner's folder: a file for each exercise, a README, and the progress."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minidl.errors import DataError, UsageError
from minidl.learn.check import Verdict, check_function
from minidl.learn.exercise import Exercise
from minidl.learn.exercises import EXERCISES, ORDER
from minidl.learn.running import load
from minidl.learn.source import blanked
from minidl.storage.files import atomic, cant_write, open_regular
from minidl.storage.locks import lock
from minidl.text.calls import call
from minidl.text.console import warn

PROGRESS = "progress.json"
TITLE = "# Learn it by writing it"
MOST_BYTES = 1 << 20

SOLVED, CHANGED, TRIED, NEW = "solved", "changed since it was solved", "not yet", "not begun"


@dataclass
class Progress:
    """What is known about one exercise."""

    solved: str = ""  # SHA-256 of the file that was right
    checks: int = 0
    hints: int = 0  # how many were shown
    shown: bool = False  # whether the solution was


class Folder:
    """The folder of a learner. Raises UsageError if `path` is another folder."""

    def __init__(self, path: Path) -> None:
        if not _is_ours(path):
            where = "this folder" if path == Path() else path
            raise UsageError(f"{where} has no exercises: `{call('learn')} start DIR` makes a folder of them")
        self.path = path
        self._read()

    def _read(self) -> None:
        self._entries = _entries(self.path / PROGRESS)
        self.progress = {name: _known(self._entries.get(name, {})) for name in EXERCISES}

    @contextmanager
    def _changing(self, exercise: Exercise) -> Iterator[Progress]:
        """Gives the progress of an exercise to be changed, then keeps it.

        It is read anew under a lock, because `watch` may run beside other commands.
        """
        descriptor = None
        with suppress(OSError):  # Windows can't open a folder
            descriptor = os.open(self.path, os.O_RDONLY)
            lock(descriptor, wait=True)
        try:
            with suppress(DataError):  # it was right when the folder was opened: what is known is kept
                self._read()
            yield self.progress[exercise.name]
            self._entries.setdefault(exercise.name, {}).update(asdict(self.progress[exercise.name]))
            _write(self.path / PROGRESS, json.dumps({"exercises": self._entries}, indent=1) + "\n")
        except DataError as error:  # an answer is worth more than the progress
            warn(f"warning  your progress isn't kept: {error}")
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def file(self, exercise: Exercise) -> Path:
        return self.path / f"{exercise.name}.py"

    def check(self, exercise: Exercise) -> Verdict:
        """Checks the learner's file, and keeps the result; a file that raises UsageError counts as not right."""
        text = digest(self.file(exercise))
        try:
            verdict = check_function(exercise, load(self.file(exercise), exercise.name))
        except UsageError:
            self._keep(exercise, "")
            raise
        if verdict.found != "not begun":
            self._keep(exercise, text if verdict.solved else "")
        return verdict

    def _keep(self, exercise: Exercise, solved: str) -> None:
        with self._changing(exercise) as state:
            state.checks += 1
            state.solved = solved

    def state(self, exercise: Exercise) -> str:
        """SOLVED, CHANGED, TRIED or NEW, without running the file."""
        known = self.progress[exercise.name]
        if known.solved:
            return SOLVED if known.solved == digest(self.file(exercise)) else CHANGED
        return TRIED if known.checks else NEW

    def next(self) -> Exercise | None:
        """The first exercise that isn't solved."""
        return next((e for e in EXERCISES.values() if self.state(e) != SOLVED), None)

    def hint(self, exercise: Exercise) -> tuple[int, str]:
        """The next hint of three, and its number; the last one again if all were shown."""
        with self._changing(exercise) as known:
            known.hints = min(known.hints + 1, len(exercise.hints))
        return known.hints, exercise.hints[known.hints - 1]

    def solution_shown(self, exercise: Exercise) -> None:
        with self._changing(exercise) as known:
            known.shown = True

    def reset(self, exercise: Exercise) -> Path | None:
        """Writes the exercise's file anew. What stood in it is kept in another file, whose path is returned."""
        path, kept = self.file(exercise), None
        if path.is_file() and path.read_bytes() != blanked(exercise).encode():
            kept = next(k for i in range(1, 10**6) if not (k := path.with_suffix(f".{i}.old")).exists())
            with atomic(kept) as temporary:
                temporary.write_bytes(path.read_bytes())
        _write(path, blanked(exercise))
        with self._changing(exercise):
            self.progress[exercise.name] = Progress()
        return kept


def start(path: Path) -> tuple[Folder, int]:
    """Makes the folder, or completes one: files that exist stay as they are. Returns it and the number of new files.

    Raises UsageError for a folder with other files in it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"{path} is a file: give a folder") from None
    except OSError as error:
        raise cant_write(path, error) from None
    if not _is_ours(path):
        if other := sorted(p.name for p in path.iterdir() if not p.name.startswith(".")):
            raise UsageError(f"{path} is not empty ({', '.join(other[:3])}): give a new folder")
        _write(path / PROGRESS, json.dumps({"exercises": {}}) + "\n")
    folder = Folder(path)
    missing = [e for e in EXERCISES.values() if not folder.file(e).exists()]
    for exercise in missing:
        _write(folder.file(exercise), blanked(exercise))
    if not (path / "README.md").exists():
        _write(path / "README.md", _readme())
    return folder, len(missing)


def _readme() -> str:
    lines = [
        TITLE,
        "",
        "Each file here is a function of minidl without its body. Read its docstring, write the body, and check it:",
        "",
        *(f"    {call('learn')} {line}" for line in (
            "check relu          # is it right? If not, which mistake is it?",
            "watch               # checks a file whenever you save it",
            "hint relu           # three hints, one at a time",
            "list                # how far you are",
            "show relu           # the real function",
            "reset relu          # begin anew; your file is kept beside it",
        )),
        "",
        f"What you have solved can train a real network: `{call('train')} --with .`",
        "",
    ]  # fmt: skip
    for chapter, names in ORDER.items():
        lines += [f"## docs/learn/{chapter}.py", "", *(f"- `{name}.py`" for name in names), ""]
    return "\n".join(lines)


def _is_ours(path: Path) -> bool:
    """Whether it is a folder of exercises: it has the progress or, if that is gone, the README."""
    if os.path.lexists(path / PROGRESS):
        return True
    try:
        with open_regular(path / "README.md") as file:
            return file.readline(100).decode("utf-8", "replace").strip() == TITLE
    except OSError:
        return False


def _entries(path: Path) -> dict[str, dict[str, Any]]:
    """The progress as it stands in the file, {} if it is gone. Raises DataError if it is damaged.

    It may hold exercises and fields that this version doesn't know; they are kept.
    """
    try:
        with open_regular(path) as file:
            entries = json.loads(file.read(MOST_BYTES).decode())["exercises"]
        for entry in entries.values():
            _known(entry)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DataError(f"{path} is damaged: remove it, and check your files to make it anew") from None
    return entries


def _known(entry: dict[str, Any]) -> Progress:
    """The fields of an entry that this version knows. Raises ValueError for a value of another kind."""
    known = {name: entry[name] for name in asdict(Progress()) if name in entry}
    if any(type(value) is not type(getattr(Progress(), name)) for name, value in known.items()):
        raise ValueError
    return Progress(**known)


def digest(path: Path) -> str:
    """SHA-256 of a file; "" if there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _write(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, "utf-8")
