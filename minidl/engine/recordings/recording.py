"""Inference from recorded NumPy calls, without the Python between them.

A tile of one image takes about a hundred NumPy calls, most of them some microseconds long. To find their scratch
memory and to make their views takes Python about as long. But for inputs of one shape it is the same arrays every
time. So after some passes with the same weights and shape, the calls of one are recorded (`recorder.py`), and later
passes only call them again. For a batch of one image they are shared out to two threads (`sharing.py`).

Two threads are not always faster: on a busy machine they wait for each other. As both ways give the same bits, each
recording tries both for some passes and keeps to the faster one.

A recording is made with random numbers. Before it is used, it must answer others in the same bits as the layers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from minidl.engine.recordings.recorder import Recorder, plain
from minidl.engine.recordings.sharing import share_out
from minidl.engine.tiles.runner import TileRunner
from minidl.engine.tiles.scratch import Scratch

Array = np.ndarray
Infer = Callable[[Array, Scratch], Array]  # y of a tile x, in scratch memory

SHAPES = 3  # of tiles, of which recordings are kept: a batch has tiles of two shapes at most, and the last may differ
TRIES = 10  # of one thread alone, and of several, before the faster way is chosen
PASSES = 2  # by the layers themselves before a recording is made, which takes as long as four


class Recording:
    """infer(x, scratch) for inputs x of one shape and dtype, in the same bits. It answers one input at a time."""

    def __init__(self, infer: Infer, shape: tuple[int, ...], dtype: np.dtype, shared: bool) -> None:
        rng = np.random.default_rng(0)
        recorder, other = Recorder(), rng.standard_normal(shape).astype(dtype)
        self._x = rng.standard_normal(shape).astype(dtype)
        with np.errstate(all="ignore"):
            self._y = plain(infer(recorder.recorded(self._x), recorder))
            self._calls = _ready(recorder.calls)
            self.right = np.array_equal(self(other), infer(other, Scratch()), equal_nan=True)
        self._times: tuple[list[float], list[float]] = [], []  # of some calls: alone, shared
        phases = share_out(recorder.calls) if shared and self.right else ()
        self._phases = [[partial(_one_by_one, _ready(side)) for side in phase if side] for phase in phases]

    def __call__(self, x: Array, runner: TileRunner | None = None) -> Array:
        """y, which the next call overwrites. The threads of `runner` share the work if that is faster."""
        np.copyto(self._x, x)
        if runner is None or runner.threads == 1:
            _one_by_one(self._calls)
        else:
            ways = partial(_one_by_one, self._calls), partial(runner.run_phases, self._phases)
            way = int(len(self._times[1]) < len(self._times[0]))
            if len(self._times[way]) < TRIES:  # both give the same bits, so the clock may choose between them
                start = perf_counter()
                ways[way]()
                self._times[way].append(perf_counter() - start)
            else:
                ways[sorted(self._times[1])[TRIES // 2] < sorted(self._times[0])[TRIES // 2]]()
        return self._y


def _ready(calls: Sequence[Any]) -> list[Callable[[], Any]]:
    return [call.ready() for call in calls]


def _one_by_one(calls: Sequence[Callable[[], Any]]) -> None:
    for call in calls:
        call()


class Recordings:
    """The recordings of passes with the same weights, for the last few shapes of tiles."""

    def __init__(self) -> None:
        self._shelves: dict[tuple, Shelf] = {}  # the last used at the end

    def shelf(self, x: Array, shared: bool) -> Shelf | None:
        """For tiles like x; None if they aren't to be recorded yet. Called once a pass, by one thread at a time."""
        key = x.shape, x.dtype, shared
        shelf = self._shelves[key] = self._shelves.pop(key, None) or Shelf(*key)
        shelf.passes += 1
        while len(self._shelves) > SHAPES:
            del self._shelves[next(iter(self._shelves))]
        return shelf if shelf.passes > PASSES and not shelf.wrong else None


class Shelf:
    """The recordings for one shape: one for each thread that has needed one at the same time."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, shared: bool) -> None:
        self._for = shape, dtype, shared
        self._unused: deque[Recording] = deque()
        self.passes, self.wrong = 0, False

    @contextmanager
    def take(self, infer: Infer) -> Iterator[Callable[..., Array]]:
        """A recording of `infer` that no other thread uses now, or, if it would be wrong, `infer` itself."""
        try:
            recording = self._unused.pop()
        except IndexError:
            recording = Recording(infer, *self._for)
        if recording.right:
            yield recording
            self._unused.append(recording)  # not after an error, which may have left anything in it
        else:
            self.wrong = True
            yield lambda x, runner=None: infer(x, Scratch())
