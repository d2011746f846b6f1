"""A learner's folder: a file for each exercise, a README, and the progress."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minidl.errors import DataError, UsageError
from minidl.learn.check import Verdict, check_function
from minidl.learn.exercise import Exercise
from minidl.learn.exercises import EXERCISES, ORDER
from minidl.learn.running import load
from minidl.learn.source import blanked
from minidl.storage.files import atomic, open_regular
from minidl.text.calls import call

PROGRESS = "progress.json"
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
        self.path = path
        self.progress = _read(path / PROGRESS)

    def file(self, exercise: Exercise) -> Path:
        return self.path / f"{exercise.name}.py"

    def check(self, exercise: Exercise) -> Verdict:
        """Checks the learner's file, and keeps the result."""
        text = _digest(self.file(exercise))
        verdict = check_function(exercise, load(self.file(exercise), exercise.name))
        state = self.progress[exercise.name]
        if verdict.found != "not begun":
            state.checks += 1
            state.solved = text if verdict.solved else ""
        self.save()
        return verdict

    def state(self, exercise: Exercise) -> str:
        """SOLVED, CHANGED, TRIED or NEW, without running the file."""
        known = self.progress[exercise.name]
        if known.solved:
            return SOLVED if known.solved == _digest(self.file(exercise)) else CHANGED
        return TRIED if known.checks else NEW

    def next(self) -> Exercise | None:
        """The first exercise that isn't solved."""
        return next((e for e in EXERCISES.values() if self.state(e) != SOLVED), None)

    def hint(self, exercise: Exercise) -> tuple[int, str]:
        """The next hint of three, and its number; the last one again if all were shown."""
        known = self.progress[exercise.name]
        known.hints = min(known.hints + 1, len(exercise.hints))
        self.save()
        return known.hints, exercise.hints[known.hints - 1]

    def reset(self, exercise: Exercise) -> Path | None:
        """Writes the exercise's file anew. What stood in it is kept in another file, whose path is returned."""
        path, kept = self.file(exercise), None
        if path.is_file() and path.read_bytes() != blanked(exercise).encode():
            kept = next(k for i in range(1, 10**6) if not (k := path.with_suffix(f".{i}.old")).exists())
            with atomic(kept) as temporary:
                temporary.write_bytes(path.read_bytes())
        _write(path, blanked(exercise))
        self.progress[exercise.name] = Progress()
        self.save()
        return kept

    def save(self) -> None:
        known = {name: asdict(p) for name, p in self.progress.items() if p != Progress()}
        _write(self.path / PROGRESS, json.dumps({"exercises": known}, indent=1) + "\n")


def start(path: Path) -> tuple[Folder, int]:
    """Makes the folder, or completes one: files that exist stay as they are. Returns it and the number of new files.

    Raises UsageError for a folder with other files in it.
    """
    path.mkdir(parents=True, exist_ok=True)
    if not (path / PROGRESS).exists():
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
        "# Learn it by writing it",
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


def _read(path: Path) -> dict[str, Progress]:
    """The progress of every exercise. Raises UsageError if there is none, DataError if it is damaged."""
    try:
        with open_regular(path) as file:
            data = json.loads(file.read(MOST_BYTES).decode())
        known = {name: Progress(**_checked(entry)) for name, entry in data["exercises"].items()}
    except FileNotFoundError:
        where = "this folder" if path.parent == Path() else path.parent
        raise UsageError(f"{where} has no exercises: `{call('learn')} start DIR` makes a folder of them") from None
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DataError(f"{path} is damaged: remove it, and run `{call('learn')} check` to make it anew") from None
    return {name: known.get(name, Progress()) for name in EXERCISES}


def _checked(entry: dict[str, Any]) -> dict[str, Any]:
    kinds = {"solved": str, "checks": int, "hints": int, "shown": bool}
    if not all(type(value) is kinds[name] for name, value in entry.items()):
        raise ValueError
    return entry


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _write(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, "utf-8")
