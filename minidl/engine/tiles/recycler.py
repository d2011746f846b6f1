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
from contextlib import suppress
from weakref import ref

import numpy as np

Array = np.ndarray

ALIGNMENT = 64  # bytes of a cache line, and of the widest vector register
PAGES = 1 << 16  # bytes from which a block has pages of its own: the C library would keep freed ones to itself
HUGE = 1 << 22  # bytes from which they may be large pages, as NumPy has it for its own arrays
_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if os.name == "posix" else {}  # a fork copies them


def aligned(shape: tuple[int, ...], dtype: np.dtype | type) -> Array:
    """An uninitialised array that starts at a cache line."""
    dtype = np.dtype(dtype)
    return _aligned_bytes(math.prod(shape) * dtype.itemsize).view(dtype).reshape(shape)


def aligned_copy(a: Array) -> Array:
    """A copy of `a`, contiguous and starting at a cache line.

    Products of small matrices read their operands where they are, and are up to a fifth slower if vectors cross cache
    lines.
    """
    copy = aligned(a.shape, a.dtype)
    copy[...] = a
    return copy


def _aligned_bytes(size: int) -> Array:
    if size >= PAGES:
        with suppress(OSError):  # no memory, as np.empty will say; or as many maps as a process may have
            pages = mmap.mmap(-1, size, **_PRIVATE)
            if size >= HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
                pages.madvise(mmap.MADV_HUGEPAGE)
            return np.frombuffer(pages, np.uint8)
    block = np.empty(size + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + size]


class Recycler:
    """Its method `empty` takes the place of `np.empty`.

    It has no lock. What several threads do at once are single steps on a deque, which Python makes safe. So no thread
    waits; nor does a forked child, in which the thread that held a lock would be missing.
    """

    def __init__(self) -> None:
        self._ended: deque[_End] = deque()  # loans whose last array has died
        self._free: dict[int, deque[tuple[int, Array]]] = {}  # by size: (number of the loan when it came back, block)
        self._loans = self._turn_began = 0

    def empty(self, shape: tuple[int, ...], dtype: np.dtype | type) -> Array:
        """An uninitialised array. Its memory comes back when the array and all views of it are gone."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        self._take_back()
        self._loans += 1
        try:
            _, block = self._free[size].pop()
        except (KeyError, IndexError):
            block = _aligned_bytes(size)
        return np.asarray(_Loan(block, self._ended)).view(dtype).reshape(shape)

    def turn(self) -> None:
        """Starts a new turn (see `scratch.py`): memory that wasn't used in the last one goes back to the system."""
        self._take_back()
        oldest, self._turn_began = self._turn_began, self._loans
        for size, blocks in list(self._free.items()):
            with suppress(IndexError):  # it is empty
                while blocks[0][0] <= oldest:
                    blocks.popleft()
            if not blocks:
                self._free.pop(size, None)

    def _take_back(self) -> None:
        with suppress(IndexError):
            while True:
                block = self._ended.popleft().block
                self._free.setdefault(block.size, deque()).append((self._loans, block))


class _Loan:
    """The owner of a recycled array's memory, as NumPy sees it; it is deleted with the last array that uses it."""

    def __init__(self, block: Array, ended: deque[_End]) -> None:
        self._block = block
        self._end = _End(self, ended.append)
        self._end.block = block

    @property
    def __array_interface__(self) -> dict:
        return self._block.__array_interface__


class _End(ref):
    """Deleted with its loan; the block then goes into a deque. (No `__del__`: that would swallow a Ctrl-C.)"""

    __slots__ = ("block",)
