"""Contenders of several processes: `mpiexec` starts the ranks, and all of them take the same orders (`rank.py`)."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.rounds import PAUSE, ROOT, THREAD_VARIABLES
from minidl.errors import BackendError, RankError
from minidl.text.progress import Progress

START = 120.0  # seconds for all ranks to connect


class Setting(NamedTuple):
    """How many processes do what."""

    mode: str
    ranks: int
    threads: int
    batch_size: int = 64
    steps: int = 1  # how many a measurement takes

    def __str__(self) -> str:
        if self.mode == "messages":
            return f"messages of {self.ranks} ranks"
        processes = f"{self.ranks} ranks" if self.ranks > 1 else "one process"
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        mode = "" if self.mode == "default" else f", --{self.mode}"
        return f"{processes} x {threads}{mode}" + (f", batch {self.batch_size}" if self.batch_size != 64 else "")


@cache
def launcher() -> list[str]:
    """mpiexec of this Python's environment, or of the machine. Raises BackendError if it or mpi4py is missing."""
    found = shutil.which("mpiexec", path=os.path.dirname(sys.executable)) or shutil.which("mpiexec")
    missing = [name for name, there in (("mpi4py", find_spec("mpi4py")), ("mpiexec", found)) if not there]
    if missing:
        raise BackendError(f"not found: {' and '.join(missing)}; pip install -e '.[mpi]' mpich brings both")
    about = subprocess.run([found, "--version"], capture_output=True, text=True).stdout
    open_mpi = ["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]
    return [found, *(open_mpi if "Open MPI" in about else [])]


class Group:
    """The processes of one setting; it measures like a `rounds.Worker`."""

    def __init__(self, setting: Setting) -> None:
        self.task, self._lines = setting, []
        command = [*launcher(), "-n", str(setting.ranks)] if setting.ranks > 1 else []
        env = os.environ | dict.fromkeys(THREAD_VARIABLES, str(setting.threads))
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
            path = str(Path(folder) / "s")
            server.bind(path)
            server.listen(setting.ranks)
            server.settimeout(0.2)
            command += [sys.executable, "-m", "benchmarks.rank", path, setting.mode]
            command += [str(setting.batch_size), str(setting.threads)]
            # What a launcher prints goes to standard error.
            self.process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=2)
            try:
                self._connect(server)
                self.ready = sorted(self._answers(), key=lambda answer: answer["rank"])
            except BaseException:
                self.close()
                raise
        if (sizes := {answer["size"] for answer in self.ready}) != {setting.ranks}:
            raise RankError(
                f"{setting}: the ranks are of {max(sizes)}; is mpiexec that of another MPI than mpi4py's?"
            )

    def _connect(self, server: socket.socket) -> None:
        end = time.monotonic() + START
        while len(self._lines) < self.task.ranks:
            try:
                connection = server.accept()[0]
            except TimeoutError:
                self._check(time.monotonic() > end)
                continue
            connection.settimeout(None)
            self._lines.append(connection.makefile("rw"))

    def _check(self, late: bool) -> None:
        if (code := self.process.poll()) is not None:
            raise RankError(f"{self.task}: the processes have ended with exit code {code}")
        if late:
            raise RankError(f"{self.task}: not all ranks began within {START:.0f} s")

    def measure(self, what: str, *numbers: int) -> dict[str, float]:
        """Seconds of the slowest rank; processor time and memory of all ranks together."""
        time.sleep(PAUSE)
        for lines in self._lines:
            lines.write(" ".join(map(str, (what, *numbers))) + "\n")
            lines.flush()
        answers = self._answers()
        seconds = max(answer["seconds"] for answer in answers)
        return {"seconds": seconds, **{k: sum(a[k] for a in answers) for k in answers[0] if k != "seconds"}}

    def _answers(self) -> list[dict[str, Any]]:
        answers = [lines.readline() for lines in self._lines]
        if not all(answers):
            raise RankError(f"{self.task}: the processes have ended with exit code {self.process.wait()}")
        return [json.loads(answer) for answer in answers]

    def close(self) -> None:
        for lines in self._lines:
            lines.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.terminate()  # mpiexec ends its ranks
            self.process.wait()


@contextmanager
def groups(settings: list[Setting]) -> Iterator[list[Group]]:
    """The processes of each setting, ended at the end. One setting after the other gets ready."""
    begun: list[Group] = []
    try:
        with Progress("getting ready", len(settings), "setting", leave=False) as progress:
            for setting in settings:
                begun.append(Group(setting))
                progress.add(1)
        yield begun
    finally:
        for group in begun:
            group.close()
