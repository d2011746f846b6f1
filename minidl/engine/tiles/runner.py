"""Threads that work on tiles of a batch: a few images each, so that all steps on a tile stay in the cache.

NumPy releases the interpreter lock inside its loops and BLAS calls, so Python threads do run side by side. Two tiles
at once, each with one BLAS thread, are faster than one call at a time with two BLAS threads, because the element-wise
work between the matrix products then runs on all cores too.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import index
from weakref import WeakSet

import numpy as np

from minidl.backend.cgroup import cpu_quota
from minidl.engine.tiles.blas import ONE_BLAS_THREAD
from minidl.engine.tiles.grid import Grid, grid_of
from minidl.engine.tiles.helpers import Helpers
from minidl.engine.tiles.recycler import Recycler
from minidl.engine.tiles.scratch import Scratch, Shelf
from minidl.errors import UsageError

Array = np.ndarray
Job = Callable[[], None]

PASSES = 16  # of a turn, see `scratch.py`


class TileRunner:
    """Runs a task for every tile of a batch on `threads` threads (0: all cores), with the same bits for any number of
    threads.

    A task is called as task(tile, lane, scratch). If the tiles are those of a `Grid`, the ones of the same lane run
    one after the other in rising order, so a task may add to `sums[lane]` without a lock. `grid.py` says why adding
    up the lanes in a tree then gives the same bits on any number of threads.

    Several threads may call `run` at once. Each thread that works takes scratch memory for that run, and puts it
    back. The calling thread takes part in its run and could do all of it. So it never waits for a thread that has not
    begun, and tasks may call `run` themselves. `lock` is for passes that write to the model, one at a time.

    Raises UsageError if `threads` is not a number of threads.
    """

    def __init__(self, threads: int = 0) -> None:
        if not hasattr(threads, "__index__") or index(threads) < 0:
            raise UsageError(f"threads is {threads!r}: give a whole number, 0 for all cores")
        self.threads = index(threads) or available_cores()
        self._memory = Recycler()
        self.empty = self._memory.empty  # for arrays that outlive their task
        self._turn, self._passes, self._shape = 0, 0, ()
        self.start_afresh()
        _runners.add(self)

    def start_afresh(self) -> None:
        """Sets up the runner without helpers, scratch memory or running tasks, as in a forked child."""
        self._helpers, self._scratch, self.lock = Helpers(), Shelf(), threading.RLock()
        self._jobs: list[Job] = []  # that were put off

    def __reduce__(self) -> tuple:
        return TileRunner, (self.threads,)  # a copy of a model has threads and memory of its own

    def begin(self, shape: tuple[int, ...]) -> None:
        """Called at the start of a pass, or of a layer's part in it, with the input's shape. See `scratch.py` for
        turns.
        """
        if self.lock._is_owned():
            return  # a layer's part
        self._passes += 1
        if shape != self._shape or self._passes >= PASSES:
            self._turn, self._passes, self._shape = self._turn + 1, 0, shape
            self._memory.turn()
            self._scratch.drop_before(self._turn - 1)

    # What follows is for processes that share a batch; `parallel/runner.py` has their runner. Here is only one.

    by_shard = False  # bring the gradient of each shard into its final form before they are added
    leads = True  # add to the gradients what comes from merged sums, and so is the same in every process

    def grid(self, images: int, most: int) -> Grid:
        """The images that are here in tiles of at most `most`, and in shards."""
        return grid_of(images, most)

    def merge(self, parts: Array) -> Array:
        """(shards here, ...) -> (all shards, ...): numbers that BN needs of every shard of a batch."""
        return parts

    @contextmanager
    def whole_pass(self) -> Iterator[None]:
        """A pass that writes to the model, or a layer's part in it. One thread at a time is in one."""
        outermost = not self.lock._is_owned()
        with self.lock:
            try:
                yield
                if outermost and self._jobs:
                    self.run(None, 0)
            finally:
                if outermost:
                    self._jobs = []  # of a pass that raised

    def later(self, *jobs: Job) -> None:
        """In a pass: the jobs are done beside the tiles of its next run, or at its end."""
        self._jobs.extend(jobs)

    def run(self, task: Callable[[int, int, Scratch], None], tiles: Grid | int, jobs: Sequence[Job] = ()) -> None:
        """Runs the task for every tile of a grid; or for 0 .. tiles - 1, each a lane of its own, in any order.

        A thread that finds no more tiles takes the next of the `jobs`. Jobs must not depend on the tiles or on each
        other. If a task or job raises, the error is raised here after all threads have stopped.
        """
        lanes = tiles.lanes if isinstance(tiles, Grid) else [(tile,) for tile in range(tiles)]
        if self.lock._is_owned():  # the jobs are those of its own pass
            jobs, self._jobs = [*jobs, *self._jobs], []
        parts = deque([*enumerate(lanes), *jobs])  # a free thread takes the next lane or job

        def work() -> None:
            scratch = self._scratch.take(self._turn)
            while (part := _next(parts)) is not None:
                if callable(part):
                    part()
                    continue
                lane, numbers = part
                for tile in numbers:
                    task(tile, lane, scratch)
            self._scratch.append(scratch)  # not after an error, which may have left anything in it

        helpers = min(self.threads, len(parts)) - 1
        ONE_BLAS_THREAD.during(lambda: self._helpers.share(work, parts, helpers))


def _next(parts: deque) -> tuple[int, Sequence[int]] | Job | None:
    try:
        return parts.popleft()
    except IndexError:
        return None


_runners: WeakSet[TileRunner] = WeakSet()


def _in_forked_child() -> None:
    ONE_BLAS_THREAD.in_forked_child()
    for runner in list(_runners):
        runner.start_afresh()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)


_most_cores: list[int] = []  # set by `limit_cores`


def limit_cores(number: int) -> None:
    """This process may use at most so many cores, because others work beside it on the same ones."""
    _most_cores[:] = [number]


def available_cores() -> int:
    """The cores that this process may use: those it is bound to, within its container's share of time."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(bound, cpu_quota() or bound, *_most_cores)
