"""The contenders' processes, and rounds that go from one to the next.

Rounds alternate, so that other work on the machine affects all contenders alike. While one works, the others wait.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from minidl.errors import UsageError
from minidl.text.progress import Progress

ROOT = Path(__file__).parents[1]
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NPROC",  # XLA's
)
BUDGET = 30.0  # seconds: a contender that has taken as long takes part in no further round
WARM_UP = 3  # steps; a prepared model of minidl is at full speed from its fourth pass on
PAUSE = 0.3  # seconds until idle threads of the last contender have stopped spinning


class Task(NamedTuple):
    """What a worker measures."""

    comparison: str
    name: str
    batch_size: int
    threads: int
    steps: int  # how many steps a measurement takes
    label: str = ""  # if the name alone doesn't tell it from the others
    extra: tuple[str, ...] = ()  # further arguments of the contender

    def __str__(self) -> str:
        return self.label or self.name


class Worker:
    """A contender's process; see worker.py."""

    def __init__(self, task: Task) -> None:
        self.task = task
        command = [sys.executable, "-m", "benchmarks.worker", *map(str, task[:4]), *task.extra]
        env = os.environ | dict.fromkeys(THREAD_VARIABLES, str(task.threads))
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    @cached_property
    def ready(self) -> dict[str, Any]:
        """Its first answer, once it is ready."""
        return self._answer()

    @property
    def failed(self) -> str | None:
        """Why it can't take part."""
        return self.ready.get("failed")

    @property
    def threads(self) -> int | None:
        """As the framework says."""
        return self.ready.get("threads")

    def measure(self, what: str, steps: int) -> dict[str, float]:
        """Seconds of the steps, seconds of processor time, and the peak memory so far."""
        time.sleep(PAUSE)
        print(what, steps, file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the process of {self.task} has ended with exit code {self.process.wait()}")
        return json.loads(line)

    def close(self) -> int:
        """Ends the process; returns its exit code."""
        self.process.stdin.close()
        return self.process.wait()


@contextmanager
def working(tasks: Iterable[Task]) -> Iterator[list[Worker]]:
    """A worker for each task, closed at the end. They get ready side by side.

    A worker that can't start is left out, with a line on standard error. If `contenders.py` says that it is
    necessary, the program ends.
    """
    workers: list[Worker] = []
    try:
        workers.extend(Worker(task) for task in tasks)
        for worker in [*workers]:
            if failed := worker.failed:
                workers.remove(worker)
                if worker.close():
                    sys.exit(f"{worker.task} can't start: {failed}")
                print(f"{worker.task} is left out: {failed}", file=sys.stderr)
        if not workers:
            raise UsageError("none of the contenders could start")
        yield workers
    finally:
        for worker in workers:
            worker.close()


def alternate(
    workers: list[Worker], what: str, rounds: int, budget: float = BUDGET, tell: Callable[[], None] | None = None
) -> dict[str, list[dict[str, float]]]:
    """The measurements of each worker, by task and round.

    Three steps each warm up, or one if that is slow. Then each takes part in all rounds, or in those until it has
    used its `budget` of seconds. `tell` is called after every round; without it, a progress line shows the steps.
    """
    seen: dict[str, list[dict[str, float]]] = {str(worker.task): [] for worker in workers}
    total = rounds * sum(worker.task.steps for worker in workers)
    with Progress(what, total, "step", show=tell is None, leave=False) as progress:
        for worker in workers:
            if worker.measure(what, 1)["seconds"] < budget / 10:
                worker.measure(what, WARM_UP - 1)
        for _ in range(rounds):
            for worker in workers:
                measured = seen[str(worker.task)]
                if sum(m["seconds"] for m in measured) < budget:
                    measured.append(worker.measure(what, worker.task.steps))
                progress.add(worker.task.steps)
            if tell:
                tell()
    return seen
