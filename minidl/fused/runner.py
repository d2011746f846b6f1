"""Threads that work on tiles of a batch: a few images each, so that all steps on a tile stay in the cache.

NumPy releases the interpreter lock inside its loops and BLAS calls, so Python threads do run side by side. Two
tiles at once, each with one BLAS thread, beat one call at a time with two BLAS threads: the element-wise work
between the matrix products runs on all cores too.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np
from threadpoolctl import ThreadpoolController

from minidl.cgroup import cpu_quota
from minidl.fused.memory import Recycler, aligned

LANES = 8  # sums over tiles are kept in so many lanes, whatever the number of threads
LEAST_TILES = 4  # of a batch: with more the threads share evenly, with fewer the matrix products are larger


class OneBlasThread:
    """`with ONE_BLAS_THREAD:` BLAS runs on one thread, for the whole process, until the last such block is left.

    Blocks may be nested and may be entered by several threads; the number of BLAS threads from before the first
    comes back after the last, also when a block raises. The model holds it over a whole pass, not over every call:
    a BLAS thread that has just worked spins for a while and would take a core from the tiles.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, []

    @cached_property
    def _libraries(self) -> list:
        return ThreadpoolController().select(user_api="blas").lib_controllers

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = [library.get_num_threads() for library in self._libraries]
                self._set([1] * len(self._before))
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._set(self._before)

    def _set(self, numbers: list[int]) -> None:
        for library, number in zip(self._libraries, numbers, strict=True):
            # From threadpoolctl 3.7 on, set_num_threads obeys one thread of the process and ignores all others.
            getattr(library, "_real_set_num_threads", library.set_num_threads)(number)


ONE_BLAS_THREAD = OneBlasThread()


class Scratch:
    """One thread's working memory: arrays by name, made once and used again. None of it may leave its task."""

    def __init__(self) -> None:
        self._arrays: dict[tuple, np.ndarray] = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        """The array `name` of this shape and dtype: zeros the first time, later what the last task left in it."""
        key = (name, shape, dtype)
        array = self._arrays.get(key)
        if array is None:
            array = self._arrays[key] = aligned(shape, dtype)
            array[...] = 0
        return array


class TileRunner:
    """Runs a task for every tile of a batch on `threads` threads (0: all cores), with the same bits for any number.

    A task is called as task(tile, lane, scratch), lane = tile mod LANES. The tiles of one lane run one after the
    other in rising order, so a task may add into `sums[lane]` without a lock, and adding the lanes up in order
    gives a result that does not depend on the number of threads.
    """

    def __init__(self, threads: int = 0) -> None:
        self.threads = threads or available_cores()
        self.empty = Recycler().empty  # for arrays that outlive their task
        self._scratch = [Scratch() for _ in range(self.threads)]

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.threads - 1, thread_name_prefix="minidl-tiles")

    def run(
        self, task: Callable[[int, int, Scratch], None], tiles: int, jobs: Sequence[Callable[[], None]] = ()
    ) -> None:
        """Runs the task for tiles 0 .. tiles - 1; a thread that has no more of them takes the next of the `jobs`.

        Jobs must not depend on the tiles or on each other. Raises what a task or job raised, after all threads have
        come to rest.
        """
        lanes = min(LANES, tiles)
        threads = max(1, min(self.threads, lanes + len(jobs)))
        left = iter(jobs)  # the interpreter lock makes `next` safe

        def work(thread: int) -> None:
            for lane in range(thread, lanes, threads):
                for tile in range(lane, tiles, LANES):
                    task(tile, lane, self._scratch[thread])
            for job in left:
                job()

        with ONE_BLAS_THREAD:
            others = [self._pool.submit(work, thread) for thread in range(1, threads)]
            try:
                work(0)
            finally:
                errors = [other.exception() for other in others]
        for error in errors:
            if error is not None:
                raise error


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
