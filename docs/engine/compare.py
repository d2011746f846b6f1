"""Compares a kernel with the one before it: both against the reference, then by time, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from minidl.engine.tiles.runner import available_cores

Array = np.ndarray

ROUNDS, CALLS = 5, 3
CLOCK = time.perf_counter if available_cores() > 1 else time.process_time  # which other programs don't move on
PAUSE = 0.1  # seconds: BLAS threads that have just worked spin for a while, and would take a core


class Case(NamedTuple):
    """One kernel at one size. The functions take the same arrays and return an array or several."""

    name: str
    shape: str  # in words
    arrays: Callable[[np.random.Generator, type, bool], tuple[Array, ...]]  # random numbers, dtype, small or not
    truth: Callable[..., Any]  # what the reference kernels of minidl say
    before: Callable[..., Any] | None
    after: Callable[..., Any]
    cores: int | None = None  # of BLAS; None: all


def normal(rng: np.random.Generator, dtype: type, *shape: int) -> Array:
    return rng.standard_normal(shape).astype(dtype)


def same_padding(k: int, size: int, c: int, f: int) -> Callable[..., tuple[Array, ...]]:
    """The arrays of a k x k convolution of 64 images: x (64, size, size, c) and w (k, k, c, f)."""

    def arrays(rng: np.random.Generator, dtype: type, small: bool) -> tuple[Array, Array]:
        shape = (3, 7, 8, 4) if small else (64, size, size, c)  # a tile of two images, and one of one
        w = normal(rng, dtype, k, k, shape[3], 5 if small else f)
        return normal(rng, dtype, *shape), w / np.sqrt(w[..., 0].size).astype(dtype)  # y is near 1, as x

    return arrays


def error(case: Case, dtype: type, small: bool) -> float:
    """The largest difference from the reference, as a part of the largest number there; of the worst array."""
    arrays = case.arrays(np.random.default_rng(0), dtype, small)
    pairs = zip(_several(case.after(*arrays)), _several(case.truth(*arrays)), strict=True)
    return max(float(np.abs(found - true).max() / np.abs(true).max()) for found, true in pairs)


def times(case: Case) -> list[float]:
    """Milliseconds of `before` (unless None) and `after`: the shortest of some calls; the two take turns."""
    arrays = case.arrays(np.random.default_rng(0), np.float32, False)
    sides = [partial(side, *arrays) for side in (case.before, case.after) if side]
    taken: list[list[float]] = [[] for _ in sides]
    with threadpool_limits(case.cores, user_api="blas"):
        for side in sides:
            side()
        for _ in range(ROUNDS):
            for side, found in zip(sides, taken, strict=True):
                time.sleep(PAUSE)
                for _ in range(CALLS):
                    begun = CLOCK()
                    side()
                    found.append(1000 * (CLOCK() - begun))
    return [min(found) for found in taken]


def row(case: Case) -> str:
    """A row of the table in docs/fast-engine.md."""
    *before, after = times(case)
    first, ratio = (f"{before[0]:.1f}", f"{before[0] / after:.2f}") if before else ("", "")
    return f"| {case.name} | {case.shape} | {first} | {after:.1f} | {ratio} | {error(case, np.float32, False):.0e} |"


def show(*cases: Case) -> None:
    """Prints the table of these cases."""
    print("| kernel | on | before, ms | after, ms | ratio | error |", "|---|---|---:|---:|---:|---:|", sep="\n")
    for case in cases:
        print(row(case), flush=True)


def _several(result: Any) -> tuple[Array, ...]:
    return result if isinstance(result, tuple) else (result,)
