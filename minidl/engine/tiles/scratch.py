"""Working memory of tasks, and when memory that is kept for later goes back to the system.

The engine keeps memory to use it again. So that new sizes of images or batches don't add up, time is counted in
*turns* (`TileRunner.begin`): memory that was not used in this turn or the one before is given back. A turn ends when
an input of another shape comes, so what is kept is what the last two shapes need: those of training and of
evaluation, say. It ends after PASSES passes too, so that one large batch is forgotten in time.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress

import numpy as np

from minidl.engine.tiles.recycler import aligned


class Scratch:
    """One thread's working memory: arrays by name, made once and used again. None of it may leave its task."""

    def __init__(self) -> None:
        self._arrays: dict[tuple, np.ndarray] = {}  # used in this turn
        self._older: dict[tuple, np.ndarray] = {}  # used in the one before
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

    def at_turn(self, turn: int) -> None:
        """Drops the arrays that were not used at its last turn."""
        if turn != self.turn:
            self._older, self._arrays, self.turn = self._arrays, {}, turn


class Shelf(deque):
    """Scratch memory that nobody is using: a thread takes one for a run and puts it back, so no two threads share."""

    def take(self, turn: int) -> Scratch:
        try:
            scratch = self.pop()
        except IndexError:
            scratch = Scratch()
        scratch.at_turn(turn)
        return scratch

    def drop_before(self, turn: int) -> None:
        """Drops those that nobody has taken since this turn began."""
        with suppress(IndexError):  # none is left
            while self[0].turn < turn:
                self.popleft()
