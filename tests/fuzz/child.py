"""One hostile input in a process of its own, with limits of time and memory; what became of it."""

from __future__ import annotations

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
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from minidl import boundary
from minidl.errors import MinidlError

SECONDS, MEMORY = 30, 2**30  # that an input may take, and bytes beside what the process had before
ROOT = str(Path(boundary.__file__).parents[1])
RIGHT = (0, 2, 3, 4)  # exit codes; 5 where something was refused beforehand
LONGEST = 10_000  # letters of a line on stderr
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
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("inside", "tmp"):
        (folder / name).mkdir(parents=True)
    ours, theirs = os.pipe()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    child = os.fork()
    if child == 0:
        os.close(ours)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of twice the same name in a zip
                (folder / "input").write_bytes(make(random.Random(seed)))
            answer = _run(run, folder)
        except BaseException:  # the harness itself
            answer = {"wrong": "harness", "detail": traceback.format_exc()}
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
    outcome = Outcome(**json.loads(text))
    outcome.reached = set(outcome.reached)
    if not outcome.wrong and (more := (usage.ru_maxrss - before) * 1024) > MEMORY:
        outcome.wrong, outcome.detail = "memory", f"{more / 1e6:.0f} MB"
    if left := {path.name for path in folder.iterdir()} - {"inside", "tmp", "cache", "input", "out", "err"}:
        outcome.wrong, outcome.detail = "escape", f"wrote {left}"
    return outcome


def _run(run: Callable[[Path], int], folder: Path) -> dict[str, Any]:
    """In the child: runs the program as at its edge, and judges what its user got."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY + 2**28,) * 2)
    os.environ.update(MINIDL_CACHE=str(folder / "cache"))
    tempfile.tempdir = str(folder / "tmp")
    os.chdir(folder / "inside")
    for name, number in (("out", 1), ("err", 2)):
        descriptor = os.open(folder / name, os.O_CREAT | os.O_WRONLY)
        os.dup2(descriptor, number)
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
    errors: list[BaseException] = []
    answer = boundary._answer
    boundary._answer = lambda error: errors.append(error) or answer(error)
    reached: set[int] = set()

    def trace(frame: FrameType, event: str, _: object) -> Callable | None:
        if not frame.f_code.co_filename.startswith(WATCHED):
            return None
        reached.add(hash((frame.f_code.co_filename, frame.f_lineno)))
        return trace

    threading.settrace(trace)
    sys.settrace(trace)
    try:
        code = boundary.run_guarded("fuzz", lambda: run(folder / "input"))
    finally:
        sys.settrace(None)
    sys.stderr.flush()
    wrong, detail = _judge(code, errors, *((folder / name).read_bytes() for name in ("out", "err")))
    return {"wrong": wrong, "detail": detail, "reached": list(reached)}


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
    if code not in (*RIGHT, 5):
        return f"exit code {code}", text
    if code and not text:
        return f"exit code {code} without a line", text
    for line in (out + err).decode("utf-8", "replace").split("\n"):
        if not line.isprintable():
            return "control characters on the screen", ascii(line)[:500]
        if len(line) > LONGEST:
            return "a line of too many letters", line[:500]
    return "", ""


def _place(error: BaseException) -> str:
    """The last line of minidl in its traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(WATCHED)] or frames
    return f"{os.path.relpath(own[-1].filename, ROOT)}:{own[-1].lineno}" if own else "?"
