"""Inference from recorded NumPy calls, without the Python between them.

A tile of one image takes about a hundred NumPy calls, most of them some microseconds long. To find their scratch
memory and to make their views takes Python about as long. But for inputs of one shape it is the same arrays every
time. So after some passes with the same weights and shape, the calls of one are recorded (`recorder.py`), and later
passes only call them again.

A recording is made with random numbers. Before it is used, it must answer others in the same bits as the layers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from minidl.engine.recordings.recorder import Recorder, plain
from minidl.engine.tiles.scratch import Scratch

Array = np.ndarray
Infer = Callable[[Array, Scratch], Array]  # y of a tile x, in scratch memory

SHAPES = 3  # of tiles, of which recordings are kept: a batch has tiles of two shapes at most, and the last may differ
PASSES = 2  # by the layers themselves before a recording is made, which takes as long as four


class Recording:
    """infer(x, scratch) for inputs x of one shape and dtype, in the same bits. It answers one input at a time."""

    def __init__(self, infer: Infer, shape: tuple[int, ...], dtype: np.dtype) -> None:
        rng = np.random.default_rng(0)
        recorder, other = Recorder(), rng.standard_normal(shape).astype(dtype)
        self._x = rng.standard_normal(shape).astype(dtype)
        with np.errstate(all="ignore"):
            try:
                self._y = plain(infer(recorder.recorded(self._x), recorder))
                self._calls = [call.ready() for call in recorder.calls]
            finally:
                # The calls hold arrays, which are views of arrays that know the recorder. Garbage collection doesn't
                # see views, so with its calls the recorder would never be freed.
                recorder.calls = []
            self.right = np.array_equal(self(other), infer(other, Scratch()), equal_nan=True)

    def __call__(self, x: Array) -> Array:
        """y, which the next call overwrites."""
        np.copyto(self._x, x)
        for call in self._calls:
            call()
        return self._y


class Recordings:
    """The recordings of passes with the same weights, for the last few shapes of tiles."""

    def __init__(self) -> None:
        self._shelves: dict[tuple, Shelf] = {}  # the last used at the end

    def shelf(self, x: Array) -> Shelf | None:
        """For tiles like x; None if they aren't to be recorded yet. Called once a pass, by one thread at a time."""
        key = x.shape, x.dtype
        shelf = self._shelves[key] = self._shelves.pop(key, None) or Shelf()
        shelf.passes += 1
        while len(self._shelves) > SHAPES:
            del self._shelves[next(iter(self._shelves))]
        return shelf if shelf.passes > PASSES and not shelf.wrong else None


class Shelf:
    """The recordings for one shape: one for each thread that has needed one at the same time."""

    def __init__(self) -> None:
        self._unused: deque[Recording] = deque()
        self.passes, self.wrong = 0, False

    def infer(self, infer: Infer, x: Array, y: Array) -> None:
        """y = infer(x), by a recording that no other thread uses now; or, if it would be wrong, without one."""
        try:
            recording = self._unused.pop()
        except IndexError:
            recording = Recording(infer, x.shape, x.dtype)
        if recording.right:
            y[...] = recording(x)
            self._unused.append(recording)  # not after an error, which may have left anything in it
        else:
            self.wrong = True
            y[...] = infer(x, Scratch())
