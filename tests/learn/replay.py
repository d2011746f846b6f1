"""A learner's whole way, replayed: every exercise not begun, then wrong, then with a hint, then right.

    python -m tests.learn.replay [--train] [--threads N]

Everything goes through the command line and through files, as a learner does it. With --train, a network is trained
on the solved exercises afterwards, with the settings that `minidl train --with` has by itself.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from minidl.cli.programs import MINIDL
from minidl.learn import EXERCISES
from minidl.learn.exercise import Exercise, Mistake
from minidl.learn.source import filled


def typed(*words: str) -> tuple[int, str]:
    """What `minidl WORDS` answers: its exit code, and what it prints."""
    with redirect_stdout(io.StringIO()) as said, redirect_stderr(said):
        code = MINIDL.main(list(words))
    return code, said.getvalue()


def wrong(exercise: Exercise) -> tuple[Mistake, str]:
    """A typical mistake, and the text of a file that makes it; where it can be, the real body with an edit."""
    for mistake in exercise.mistakes:
        text = filled(exercise)
        if mistake.edits and all(text.count(before) == 1 for before, _ in mistake.edits):
            for before, after in mistake.edits:
                text = text.replace(before, after)
            return mistake, text
    mistake = exercise.mistakes[0]
    return mistake, (
        "from minidl.learn import EXERCISES\n"
        "from minidl.learn.source import changed\n\n"
        f"mistakes = {{m.name: m for m in EXERCISES[{exercise.name!r}].mistakes}}\n"
        f"{exercise.name} = changed(EXERCISES[{exercise.name!r}], mistakes[{mistake.name!r}])\n"
    )


def way(folder: Path) -> Iterator[str]:
    """Goes the whole way in a new folder, and yields a line about each exercise. AssertionError if a step fails."""
    code, said = typed("learn", "start", str(folder))
    assert code == 0 and f"{len(EXERCISES)} new exercises" in said, said
    for exercise in EXERCISES.values():
        file = folder / f"{exercise.name}.py"
        code, said = typed("learn", "check", str(file))
        assert code == 1 and f"{exercise.name}: not begun" in said, said

        mistake, text = wrong(exercise)
        file.write_text(text, "utf-8")
        code, said = typed("learn", "check", str(file))
        assert code == 1 and f"{exercise.name}: not yet" in said and _stands(mistake.says, said), said

        code, said = typed("learn", "hint", str(file))
        assert code == 0 and "hint 1 of 3" in said and _stands(exercise.hints[0], said), said

        file.write_text(filled(exercise), "utf-8")
        code, said = typed("learn", "check", str(file))
        assert code == 0 and f"{exercise.name}: right" in said, said
        yield f"{exercise.name}: {mistake.says}"
    code, said = typed("learn", "check", "--folder", str(folder))
    assert code == 0 and "All exercises are solved." in said, said


def _stands(sentence: str, said: str) -> bool:
    """Whether a sentence was said; lines may be broken at the width of the terminal."""
    return " ".join(sentence.split()) in " ".join(said.split())


def main() -> int:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "mine"
        for line in way(folder):
            print(line, flush=True)
        print(f"all {len(EXERCISES)} exercises are solved")
        if "--train" not in sys.argv:
            return 0
        threads = sys.argv[sys.argv.index("--threads") + 1] if "--threads" in sys.argv else "2"
        start, cpu = time.monotonic(), os.times()
        output = ["--output", str(Path(temporary) / "runs"), "--threads", threads]
        code = MINIDL.main(["train", "--with", str(folder), *output])
        used = sum(os.times()[:2]) - sum(cpu[:2])
        print(f"{time.monotonic() - start:.0f} s, {used:.0f} s of CPU time")
        (log,) = Path(temporary).glob("runs/*/log.txt")
        top1 = float(re.search(r"best val top-1 ([\d.]+) %", log.read_text("utf-8"))[1])
        print(f"best val top-1 {top1:.2f} %")
        return code


if __name__ == "__main__":
    raise SystemExit(main())
