"""Large arrays whose memory is used again as soon as nobody holds them.

A fresh array of some megabytes comes from the system page by page, each page zeroed at the first touch: in a training
step that makes the same hundred arrays anew every time, a tenth of the time. A `Recycler` keeps the memory of
arrays that have died and hands it out again. Nobody has to give anything back: an array lives as long as any view
of it does, as always.
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
    """The numbers of `a` in an array of its own, contiguous from a cache line on.

    Products of small matrices read their operands where they are, and are up to a fifth slower where lines are split.
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
    """`empty` in place of `np.empty`.

    It has no lock: what several threads do at once are single steps on a deque, which Python makes safe. So nobody
    waits, nor does a forked child, where the thread that held a lock would be missing.
    """

    def __init__(self) -> None:
        self._ended: deque[_End] = deque()  # loans whose last array has died
        self._free: dict[int, deque[tuple[int, Array]]] = {}  # by size: (number of the loan when it came back, block)
        self._loans = self._turn_began = 0

    def empty(self, shape: tuple[int, ...], dtype: np.dtype | type) -> Array:
        """An uninitialised array; its memory comes back when the array and all views of it are gone."""
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
        """A new turn (see `scratch.py`): gives back to the system what nobody used in the last one."""
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
    """What owns a recycled array's memory, in NumPy's eyes; it dies with the last array that uses it."""

    def __init__(self, block: Array, ended: deque[_End]) -> None:
        self._block = block
        self._end = _End(self, ended.append)
        self._end.block = block

    @property
    def __array_interface__(self) -> dict:
        return self._block.__array_interface__


class _End(ref):
    """Lives as long as its loan, and then, with the block, in a deque. (No `__del__`: it would swallow a Ctrl-C.)"""

    __slots__ = ("block",)
