"""Working memory of tasks, and when unused memory goes back to the system.

The engine keeps memory to use it again. So that memory for old image and batch sizes doesn't pile up, time is divided
into *turns* (`TileRunner.begin`). Memory that was not used in this turn or the one before is given back. A turn ends
when an input has another shape. So the memory for the last two shapes is kept: those of training and evaluation, for
example. A turn also ends after PASSES passes, so that one large batch is forgotten in time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from minidl.engine.tiles.recycler import aligned


class Scratch:
    """One thread's working memory: arrays by name, made once and used again. No array may leave its task.

    Layers of many shapes use the same names. So all arrays of one name share their memory, which is that of the
    largest: of one name only one array can be in use at a time.
    """

    def __init__(self) -> None:
        self._arrays: dict[tuple, np.ndarray] = {}  # used in this turn
        self._older: dict[tuple, np.ndarray] = {}  # those with a border used in the one before
        self._memory: dict[str, np.ndarray] = {}  # of the arrays of a name, in bytes
        self._needed: dict[str, int] = {}  # how much of it in this turn
        self.turn = 0

    def __call__(self, name: str, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        """The array `name` of this shape and dtype. Anything may be in it."""
        return self._array((name, shape, dtype), self._shared)

    def bordered(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype | type, inside: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """(whole, part): an array that is zero around the part that `inside` takes of it, and this part to write to.

        The whole can't be written to, so its border stays zero. For one name, shape and dtype `inside` must always
        take the same part.
        """
        array = self._array((name, shape, dtype, "bordered"), _zeros)
        whole = array.view()
        whole.flags.writeable = False
        return whole, inside(array)

    def _array(self, key: tuple, make: Callable[..., np.ndarray]) -> np.ndarray:
        array = self._arrays.get(key)
        if array is None:
            array = self._older.pop(key, None)
            if array is None:
                array = make(*key[:3])
            self._arrays[key] = array
        return array

    def _shared(self, name: str, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        self._needed[name] = max(size, self._needed.get(name, 0))
        if name not in self._memory or self._memory[name].nbytes < size:
            self._memory[name] = aligned((size,), np.uint8)
            self._arrays = {key: a for key, a in self._arrays.items() if key[0] != name}
        return np.ndarray(shape, dtype, self._memory[name])

    def at_turn(self, turn: int) -> None:
        """Drops the memory that was not used at its last turn."""
        if turn != self.turn:
            self._memory = {name: m for name, m in self._memory.items() if m.nbytes == self._needed.get(name)}
            self._older = {key: a for key, a in self._arrays.items() if "bordered" in key}
            self._arrays, self._needed, self.turn = {}, {}, turn


def _zeros(name: str, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    array = aligned(shape, dtype)
    array[...] = 0
    return array


class Shelf(deque):
    """Unused scratch memory: a thread takes one for a run and puts it back, so no two threads share one."""

    def take(self, turn: int) -> Scratch:
        try:
            scratch = self.pop()
        except IndexError:
            scratch = Scratch()
        scratch.at_turn(turn)
        return scratch

    def drop_before(self, turn: int) -> None:
        """Drops the scratch memory that no thread has taken since this turn began."""
        with suppress(IndexError):  # none is left
            while self[0].turn < turn:
                self.popleft()
