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
from contextlib import suppress
from operator import index
from queue import SimpleQueue
from weakref import WeakSet

import numpy as np

from minidl.errors import UsageError
from minidl.fused.blas import ONE_BLAS_THREAD
from minidl.fused.helpers import Helpers
from minidl.fused.memory import Recycler, aligned

LANES = 8  # sums over tiles are kept in so many lanes, whatever the number of threads
PASSES = 16  # of a turn, see `TileRunner.begin`
LEAST_TILES = 4  # of a batch: with more the threads share evenly, with fewer the matrix products are larger


class Scratch:
    """One thread's working memory: arrays by name, made once and used again. None of it may leave its task."""

    def __init__(self) -> None:
        self._arrays: dict[tuple, np.ndarray] = {}  # used in this turn (see `TileRunner.begin`)
        self._older: dict[tuple, np.ndarray] = {}  # used in the last one
        self.turn = 0

    def __call__(self, name: str, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        """The array `name` of this shape and dtype: zeros the first time, later what the last task left in it."""
        key = (name, shape, dtype)
        array = self._arrays.get(key)
        if array is None:
            array = self._older.pop(key, None)
            if array is None:
                array = aligned(shape, dtype)
                array[...] = 0
            self._arrays[key] = array
        return array

    def at_turn(self, turn: int) -> Scratch:
        """Itself, without the arrays that were last used before the turn before this one."""
        if turn != self.turn:
            self._older = self._arrays if turn == self.turn + 1 else {}
            self._arrays, self.turn = {}, turn
        return self


class TileRunner:
    """Runs a task for every tile of a batch on `threads` threads (0: all cores), with the same bits for any number.

    A task is called as task(tile, lane, scratch), lane = tile mod LANES. The tiles of one lane run one after the
    other in rising order, so a task may add into `sums[lane]` without a lock, and adding the lanes up in order
    gives a result that does not depend on the number of threads.

    Several threads may call `run` at once. Each thread that works takes scratch memory for that run alone, and puts it
    back. The calling thread takes part in its run and could do all of it: so it waits for nobody who has not begun,
    and tasks may call `run` themselves. `lock` is for passes that write to the model, one at a time.

    Raises UsageError for a number of threads that is none.
    """

    def __init__(self, threads: int = 0) -> None:
        if not hasattr(threads, "__index__") or index(threads) < 0:
            raise UsageError(f"threads is {threads!r}: give a whole number, 0 for all cores")
        self.threads = index(threads) or available_cores()
        self._memory = Recycler()
        self.empty = self._memory.empty  # for arrays that outlive their task
        self._turn, self._passes, self._shape = 0, 0, ()
        self.in_forked_child()
        _runners.add(self)

    def in_forked_child(self) -> None:
        """Starts without the threads that are not there, and without what they had in their hands."""
        self._scratch: deque[Scratch] = deque()
        self._helpers = Helpers()
        self.lock = threading.RLock()

    def __reduce__(self) -> tuple:
        return TileRunner, (self.threads,)  # a copy of a model works on memory and threads of its own

    def begin(self, shape: tuple[int, ...]) -> None:
        """A pass begins, forward, over an input of this shape; or a layer's part in such a pass.

        Another shape begins a new turn, and so do PASSES passes. Memory that has not been used in a turn, or the one
        before, goes back to the system: what stays is what the last two shapes need.
        """
        if self.lock._is_owned():
            return  # it has begun
        self._passes += 1
        if shape == self._shape and self._passes < PASSES:
            return
        self._turn, self._passes, self._shape = self._turn + 1, 0, shape
        self._memory.turn()
        with suppress(IndexError):  # none is left
            while self._scratch[0].turn < self._turn - 1:
                self._scratch.popleft()

    def run(
        self, task: Callable[[int, int, Scratch], None], tiles: int, jobs: Sequence[Callable[[], None]] = ()
    ) -> None:
        """Runs the task for tiles 0 .. tiles - 1; a thread that has no more of them takes the next of the `jobs`.

        Jobs must not depend on the tiles or on each other. Raises what a task or job raised, after all threads have
        come to rest: they do no more than the tile or job they are at. So it is with Ctrl-C, however often.
        """
        parts = deque([*range(min(LANES, tiles)), *jobs])  # whoever is free takes the next
        begun, ended, errors, wake = [], [], [], SimpleQueue()

        def work() -> None:
            scratch = self._take_scratch()
            while (part := _next(parts)) is not None:
                if callable(part):
                    part()
                    continue
                for tile in range(part, tiles, LANES):
                    if errors:
                        return
                    task(tile, part, scratch)
            self._scratch.append(scratch)

        def help_out() -> None:
            begun.append(None)
            try:
                work()
            except BaseException as error:
                errors.append(error)
                parts.clear()
            finally:
                ended.append(None)
                wake.put(None)

        def all_of_it() -> None:
            nonlocal errors
            try:
                self._helpers.ask(help_out, min(self.threads, len(parts)) - 1)
                work()
            except BaseException as error:
                errors += [error]
            while True:  # Ctrl-C ends the work, but not the waiting
                try:
                    if errors:
                        parts.clear()
                    while len(ended) < len(begun):
                        wake.get()
                    break
                except BaseException as error:
                    errors += [error]

        ONE_BLAS_THREAD.during(all_of_it)
        del task  # a helper that comes too late holds no arrays
        try:
            if errors:
                raise errors[0]
        finally:
            errors.clear()  # else this frame would be part of a ring, and its arrays would wait for the collector

    def _take_scratch(self) -> Scratch:
        try:
            scratch = self._scratch.pop()
        except IndexError:
            scratch = Scratch()
        return scratch.at_turn(self._turn)


def _next(parts: deque) -> int | Callable[[], None] | None:
    try:
        return parts.popleft()
    except IndexError:
        return None


_runners: WeakSet[TileRunner] = WeakSet()


def _in_forked_child() -> None:
    ONE_BLAS_THREAD.in_forked_child()
    for runner in list(_runners):
        runner.in_forked_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)


def available_cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def tile_slices(images: int, most: int) -> list[slice]:
    """The batch in tiles of nearly equal size, at most `most` images each, at least LEAST_TILES where possible.

    A function of the batch alone, never of the number of threads.
    """
    tiles = max(1, min(images, LEAST_TILES), -(-images // most))
    bounds = [images * i // tiles for i in range(tiles + 1)]
    return [slice(a, b) for a, b in zip(bounds, bounds[1:], strict=False)]
