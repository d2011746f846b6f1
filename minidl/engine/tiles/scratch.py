"""Working memory of tasks, and when unused memory goes back to the system.

The engine keeps memory to use it again. So that memory for old image and batch sizes doesn't pile up, time is divided
into *turns* (`TileRunner.begin`). Memory that was not used in this turn or the one before is given back. A turn ends
when an input has another shape. So the memory for the last two shapes is kept: those of training and evaluation, for
example. A turn also ends after PASSES passes, so that one large batch is forgotten in time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress

import numpy as np

from minidl.engine.tiles.recycler import aligned


class Scratch:
    """One thread's working memory: arrays by name, made once and used again. No array may leave its task.

    All arrays of one name share one block of memory. So when a name is asked for in another shape, its last array is
    lost. The blocks are few, so most of them are still in the cache when the next layer writes to them.
    """

    def __init__(self) -> None:
        self._arrays: dict[tuple, np.ndarray] = {}  # those asked for in this turn
        self._blocks: dict[Hashable, np.ndarray] = {}  # bytes, by name
        self._sizes: dict[Hashable, int] = {}  # how many of them were needed in this turn
        self.turn = 0

    def __call__(self, name: str, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        """The array `name` of this shape and dtype. Anything may be in it."""
        return self._array(name, shape, dtype)

    def bordered(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype | type, inside: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """(whole, part): an array that is zero around the part that `inside` takes of it, and this part to write to.

        The whole can't be written to, so its border stays zero: its memory is its own. For one name, shape and dtype
        `inside` must always take the same part.
        """
        array = self._array((name, shape, dtype), shape, dtype, True)
        whole = array.view()
        whole.flags.writeable = False
        return whole, inside(array)

    def _array(self, name: Hashable, shape: tuple, dtype: np.dtype | type, zero: bool = False) -> np.ndarray:
        array = self._arrays.get((name, shape, dtype))
        if array is None:
            size, block = math.prod(shape) * np.dtype(dtype).itemsize, self._blocks.get(name)
            if block is None or len(block) < size:
                self._arrays = {key: array for key, array in self._arrays.items() if key[0] != name}
                block = self._blocks[name] = self._bytes(size)
                if zero:
                    block[...] = 0
            self._sizes[name] = max(size, self._sizes.get(name, 0))
            array = self._arrays[name, shape, dtype] = np.ndarray(shape, dtype, block)
        return array

    def _bytes(self, size: int) -> np.ndarray:
        return aligned((size,), np.uint8)

    def at_turn(self, turn: int) -> None:
        """Drops the memory that was not needed at its last turn."""
        if turn != self.turn:
            self._blocks = {k: block for k, block in self._blocks.items() if len(block) == self._sizes.get(k)}
            self._arrays, self._sizes, self.turn = {}, {}, turn


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
