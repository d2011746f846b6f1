"""One hostile input in a process of its own, with limits of time and memory; what became of it."""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

from minidl.cli import boundary
from minidl.errors import MinidlError

SECONDS, MEMORY = 30, 2**30  # that an input may take, and bytes beside what the process had before
ROOT = str(Path(boundary.__file__).parents[2])
RIGHT = (0, 2, 3, 4, 5)  # exit codes; 5: refused beforehand, as a MemoryError is wrong
LONGEST = 10_000  # letters of a line on stderr
OURS = (
    "fuzz: ",
    "train.py: ",
    "visualize.py: ",
    "warning  ",
    "packing ",
    "evaluating: ",
    "predicting: ",
    "reading: ",
)  # its lines begin so
WATCHED = tuple(f"{ROOT}/{name}" for name in ("minidl/", "models/", "train.py", "visualize.py"))


@dataclass
class Outcome:
    """What is wrong ("" if nothing), how it looks in full, and which lines of minidl were run."""

    wrong: str
    detail: str = ""
    reached: set[int] = field(default_factory=set)


def trial(make: Callable[[random.Random], bytes], seed: int, run: Callable[[Path], int], folder: Path) -> Outcome:
    """Makes an input from a good one and runs it, in a forked child that works in `folder`/inside.

    The input is left in `folder`/input.
    """
    clear(folder)
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        faulthandler.disable()  # pytest's prints what a find has to say
        try:
            (folder / "input").write_bytes(make(random.Random(seed)))
            made = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # making it may take memory: that is ours
            answer = {**_limited(run, folder), "made": made}
        except BaseException:  # the harness itself
            answer = {"wrong": "harness", "detail": traceback.format_exc(), "made": 0}
        with os.fdopen(theirs, "wb") as pipe:
            pipe.write(json.dumps(answer).encode())
        os._exit(0)
    os.close(theirs)
    text, deadline = b"", time.monotonic() + SECONDS
    while select.select([ours], [], [], max(deadline - time.monotonic(), 0))[0]:
        if not (part := os.read(ours, 2**16)):
            break
        text += part
    else:
        os.kill(child, signal.SIGKILL)
    os.close(ours)
    _, status, usage = os.wait4(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return Outcome(
            f"no answer in {SECONDS} s" if number == signal.SIGKILL else f"crash: {signal.strsignal(number)}"
        )
    answer = json.loads(text)
    before = answer.pop("made")
    outcome = Outcome(**answer)
    outcome.reached = set(outcome.reached)
    if not outcome.wrong and (more := (usage.ru_maxrss - before) * 1024) > MEMORY:
        outcome.wrong, outcome.detail = "memory", f"{more / 1e6:.0f} MB"
    return outcome


def clear(folder: Path) -> None:
    """Makes `folder` new; inside/ is where an input may leave files."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("inside", "tmp"):
        (folder / name).mkdir(parents=True)


def _limited(run: Callable[[Path], int], folder: Path) -> dict[str, Any]:
    """In the child: limits its memory, and notes which lines of minidl are run."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY + 2**28,) * 2)
    for name, number in (("out", 1), ("err", 2)):  # what C libraries print too
        os.dup2(os.open(folder / name, os.O_CREAT | os.O_WRONLY | os.O_APPEND), number)
    reached: set[int] = set()

    def trace(frame: FrameType, event: str, _: object) -> Callable | None:
        if not frame.f_code.co_filename.startswith(WATCHED):
            return None
        reached.add(hash((frame.f_code.co_filename, frame.f_lineno)))
        return trace

    threading.settrace(trace)
    sys.settrace(trace)
    try:
        outcome = judged(run, folder)
    finally:
        sys.settrace(None)
    return {"wrong": outcome.wrong, "detail": outcome.detail, "reached": list(reached)}


def judged(run: Callable[[Path], int], folder: Path) -> Outcome:
    """Runs the program on `folder`/input as at its edge, and judges what its user got."""
    errors: list[BaseException] = []
    answer = boundary.answer
    with (
        (folder / "out").open("a", encoding="utf-8") as out,
        (folder / "err").open("a", encoding="utf-8", errors="backslashreplace") as err,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.dict(os.environ, MINIDL_CACHE=str(folder / "cache")),
        mock.patch.object(tempfile, "tempdir", str(folder / "tmp")),
        mock.patch.object(boundary, "answer", lambda error: errors.append(error) or answer(error)),
    ):
        os.chdir(folder / "inside")
        code = boundary.run_guarded("fuzz", lambda: run(folder / "input"))
    wrong, detail = _judge(code, errors, *((folder / name).read_bytes() for name in ("out", "err")))
    if left := {path.name for path in folder.iterdir()} - {"inside", "tmp", "cache", "input", "out", "err"}:
        wrong, detail = "escape", f"wrote {left}"
    return Outcome(wrong, detail)


def _judge(code: int, errors: list[BaseException], out: bytes, err: bytes) -> tuple[str, str]:
    for error in errors:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MemoryError):
                return f"memory at {_place(cause)}", "".join(traceback.format_exception(error))
            cause = cause.__cause__ or cause.__context__
        if not isinstance(error, MinidlError | SystemExit) and code == boundary.INTERNAL:
            return f"{type(error).__name__} at {_place(error)}", "".join(traceback.format_exception(error))
    text = err.decode("utf-8", "replace")
    if b"Traceback" in out + err:
        return f"traceback: {text.strip().splitlines()[-1][:80]}", text
    if code not in RIGHT:
        return f"exit code {code}", text
    if code and not text:
        return f"exit code {code} without a line", text
    for line in (out + err).decode("utf-8", "replace").split("\n"):
        if not line.isprintable():
            return "control characters on the screen", ascii(line)[:500]
        if len(line) > LONGEST:
            return "a line of too many letters", line[:500]
    if strange := [line for line in text.splitlines() if not line.startswith(OURS)]:
        return "a library prints on stderr", "\n".join(strange[:10])
    return "", ""


def _place(error: BaseException) -> str:
    """The last line of minidl in its traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(WATCHED)] or frames
    return f"{os.path.relpath(own[-1].filename, ROOT)}:{own[-1].lineno}" if own else "?"


def keep_find(keep: Path, name: str, example: str, content: bytes, outcome: Outcome) -> Path:
    """Writes a find of the target `name` into the folder `keep`, and beside it what is wrong."""
    digest = hashlib.sha256(content).hexdigest()[:8]
    path = keep / f"{name}+{digest}+{example.replace('/', '+')}"
    keep.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    (keep / f"{name}+{digest}.txt").write_text(f"{outcome.wrong}\n\n{outcome.detail}\n", "utf-8", "backslashreplace")
    return path
