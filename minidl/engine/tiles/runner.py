"""Threads that work on tiles of a batch: a few images each, so that all steps on a tile stay in the cache.

NumPy releases the interpreter lock inside its loops and BLAS calls, so Python threads do run side by side. Two
tiles at once, each with one BLAS thread, beat one call at a time with two BLAS threads: the element-wise work
between the matrix products runs on all cores too.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from operator import index
from weakref import WeakSet

from minidl.backend.cgroup import cpu_quota
from minidl.engine.tiles.blas import ONE_BLAS_THREAD
from minidl.engine.tiles.helpers import Helpers
from minidl.engine.tiles.recycler import Recycler
from minidl.engine.tiles.scratch import Scratch, Shelf
from minidl.errors import UsageError

ACCUMULATORS = 8  # sums over tiles are kept in this many arrays, for any number of threads
PASSES = 16  # of a turn, see `scratch.py`
LEAST_TILES = 4  # of a batch: with more the threads share evenly, with fewer the matrix products are larger


class TileRunner:
    """Runs a task for every tile of a batch on `threads` threads (0: all cores), with the same bits for any number.

    A task is called as task(tile, accumulator, scratch), accumulator = tile mod ACCUMULATORS. The tiles of one
    accumulator run one after the other in rising order, so a task may add into `sums[accumulator]` without a lock.
    Adding up the accumulators in order gives a result that does not depend on the number of threads.

    Several threads may call `run` at once. Each thread that works takes scratch memory for that run alone, and puts
    it back. The calling thread takes part in its run and could do all of it: so it waits for nobody who has not
    begun, and tasks may call `run` themselves. `lock` is for passes that write to the model, one at a time.

    Raises UsageError for a number of threads that is none.
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
        """Without helpers, scratch memory or anybody at work; as in a forked child, which has none of the threads."""
        self._helpers, self._scratch, self.lock = Helpers(), Shelf(), threading.RLock()

    def __reduce__(self) -> tuple:
        return TileRunner, (self.threads,)  # a copy of a model has threads and memory of its own

    def begin(self, shape: tuple[int, ...]) -> None:
        """A pass over an input of this shape begins; or a layer's part in such a pass. See `scratch.py` for turns."""
        if self.lock._is_owned():
            return  # a layer's part
        self._passes += 1
        if shape != self._shape or self._passes >= PASSES:
            self._turn, self._passes, self._shape = self._turn + 1, 0, shape
            self._memory.turn()
            self._scratch.drop_before(self._turn - 1)

    def run(
        self, task: Callable[[int, int, Scratch], None], tiles: int, jobs: Sequence[Callable[[], None]] = ()
    ) -> None:
        """Runs the task for tiles 0 .. tiles - 1; a thread that has no more of them takes the next of the `jobs`.

        Jobs must not depend on the tiles or on each other. Raises what a task or job raised, after all threads have
        come to rest.
        """
        parts = deque([*range(min(ACCUMULATORS, tiles)), *jobs])  # whoever is free takes the next accumulator or job

        def work() -> None:
            scratch = self._scratch.take(self._turn)
            while (part := _next(parts)) is not None:
                if callable(part):
                    part()
                    continue
                for tile in range(part, tiles, ACCUMULATORS):
                    task(tile, part, scratch)
            self._scratch.append(scratch)  # not after an error, which may have left anything in it

        helpers = min(self.threads, len(parts)) - 1
        ONE_BLAS_THREAD.during(lambda: self._helpers.share(work, parts, helpers))


def _next(parts: deque) -> int | Callable[[], None] | None:
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


def available_cores() -> int:
    """The cores this process may use: those it is bound to, and as many as its container's share of time is worth."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(bound, cpu_quota() or bound)


def tile_slices(images: int, most: int) -> list[slice]:
    """The batch in tiles of nearly equal size, at most `most` images each, at least LEAST_TILES where possible.

    A function of the batch alone, never of the number of threads.
    """
    tiles = max(1, min(images, LEAST_TILES), -(-images // most))
    bounds = [images * i // tiles for i in range(tiles + 1)]
    return [slice(a, b) for a, b in zip(bounds, bounds[1:], strict=False)]
