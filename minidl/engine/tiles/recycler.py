"""Large arrays whose memory is used again as soon as no array uses it any more.

A new array of some megabytes comes from the system page by page, and each page is zeroed when it is first touched. A
training step makes the same hundred arrays every time, and this takes a tenth of its time. A `Recycler` keeps the
memory of arrays that no longer exist, and uses it for new ones. Nothing has to be given back by hand: an array lives
as long as any view of it, as always.
"""

from __future__ import annotations

import math
import mmap
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from sys import getrefcount

import numpy as np

Array = np.ndarray
Empty = Callable[[tuple[int, ...], np.dtype], Array]  # `aligned`, or a recycler's `empty`

ALIGNMENT = 64  # bytes of a cache line, and of the widest vector register
PAGES = 1 << 16  # bytes from which a block has pages of its own: the C library would keep freed ones to itself
HUGE = 1 << 22  # bytes from which they may be large pages, as NumPy has it for its own arrays
_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if os.name == "posix" else {}  # a fork copies them


def aligned(shape: tuple[int, ...], dtype: np.dtype | type) -> Array:
    """An uninitialised array that starts at a cache line."""
    dtype = np.dtype(dtype)
    return np.ndarray(shape, dtype, *_aligned_bytes(math.prod(shape) * dtype.itemsize))


def aligned_copy(a: Array, empty: Empty = aligned) -> Array:
    """A copy of `a`, contiguous and starting at a cache line, in memory from `empty`.

    Products of small matrices read their operands where they are, and are up to a fifth slower if vectors cross cache
    lines.
    """
    copy = empty(a.shape, a.dtype)
    copy[...] = a
    return copy


def _aligned_bytes(size: int) -> tuple[Array, int]:
    """Memory, and where in it `size` bytes begin that start at a cache line."""
    if size >= PAGES:
        with suppress(OSError):  # no memory, as np.empty will say; or as many maps as a process may have
            pages = mmap.mmap(-1, size, **_PRIVATE)
            if size >= HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
                pages.madvise(mmap.MADV_HUGEPAGE)
            return np.frombuffer(pages, np.uint8), 0
    memory = np.empty(size + ALIGNMENT, np.uint8)
    return memory, -memory.ctypes.data % ALIGNMENT


class Recycler:
    """Its method `empty` takes the place of `np.empty`.

    NumPy lets every array, and every view of one, refer to the array that owns the memory. So memory is unused when
    nobody but the recycler refers to its owner, and Python counts references.

    It has no lock. What several threads do at once are single steps on a deque, which Python makes safe: a thread
    takes a block out, looks at it, and puts it back. So no thread waits; nor does a forked child, in which the thread
    that held a lock would be missing.
    """

    def __init__(self) -> None:
        self._blocks: dict[int, deque[_Block]] = {}  # by size in bytes, used and unused
        self._loans = self._turn_began = 0

    def empty(self, shape: tuple[int, ...], dtype: np.dtype | type) -> Array:
        """An uninitialised array. Its memory comes back when the array and all views of it are gone."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        blocks = self._blocks.get(size)
        if blocks is None:
            blocks = self._blocks.setdefault(size, deque())
        block = _unused(blocks) or _Block(size)
        array = np.ndarray(shape, dtype, block.memory, block.start)
        self._loans += 1
        block.loan = self._loans
        blocks.append(block)
        return array

    def turn(self) -> None:
        """Starts a new turn (see `scratch.py`): memory that wasn't used in the last one goes back to the system."""
        oldest, self._turn_began = self._turn_began, self._loans
        for size, blocks in list(self._blocks.items()):
            with suppress(IndexError):  # another thread took one
                for _ in range(len(blocks)):
                    block = blocks.popleft()
                    if block.loan > oldest:
                        blocks.append(block)
            if not blocks:
                self._blocks.pop(size, None)


class _Block:
    __slots__ = ("memory", "start", "loan")

    def __init__(self, size: int) -> None:
        self.memory, self.start = _aligned_bytes(size)
        self.loan = 0  # the number of the last one


def _unused(blocks: deque[_Block]) -> _Block | None:
    """Takes an unused block out, if there is one."""
    for _ in range(len(blocks)):
        try:
            block = blocks.popleft()
        except IndexError:  # another thread took one
            break
        if _references(block) == _ALONE:
            return block
        blocks.append(block)
    return None


def _references(block: _Block) -> int:
    return getrefcount(block.memory)


_ALONE = _references(_Block(0))  # 2 in most versions of Python: the block's, and the argument's
