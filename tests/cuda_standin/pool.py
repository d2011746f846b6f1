"""The memory of the stand-in's device: MEMORY.size bytes, of which the pool counts what device arrays use."""

from __future__ import annotations

import weakref
from types import SimpleNamespace

import numpy as np

SIZE = 80 * 2**30


class OutOfMemoryError(MemoryError):
    """As cupy.cuda.memory.OutOfMemoryError: "Out of memory allocating 512 bytes (allocated so far: 0 bytes)."."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        so_far = "" if total == -1 else f" (allocated so far: {total:,} bytes)."
        super().__init__(f"Out of memory allocating {size:,} bytes{so_far}")


class MemoryPool:
    """Keeps what arrays have freed; unlike CuPy's, without gaps."""

    def __init__(self) -> None:
        self._used = self._held = self._limit = 0
        self._known: set[int] = set()  # ids of the NumPy arrays that are counted: several device arrays may share one

    def used_bytes(self) -> int:
        return self._used

    def total_bytes(self) -> int:
        return self._held

    def free_bytes(self) -> int:
        return self._held - self._used

    def free_all_blocks(self, stream: object = None) -> None:
        self._held = self._used

    def get_limit(self) -> int:
        return self._limit

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        self._limit = round(fraction * MEMORY.size) if size is None else size

    def _hold(self, a: np.ndarray) -> None:
        """Counts the memory of `a` for as long as it lives, if it has memory of its own."""
        if a.base is None and id(a) not in self._known:
            if self._used + a.nbytes > (self._limit or MEMORY.size):
                raise OutOfMemoryError(a.nbytes, self._held)
            self._known.add(id(a))
            self._used += a.nbytes
            self._held = max(self._held, self._used)
            weakref.finalize(a, self._forget, id(a), a.nbytes).atexit = False

    def _forget(self, key: int, size: int) -> None:
        self._known.remove(key)
        self._used -= size


MEMORY = SimpleNamespace(size=SIZE, pool=MemoryPool())


def reset() -> None:
    """An empty device."""
    MEMORY.size, MEMORY.pool = SIZE, MemoryPool()


def mem_info() -> tuple[int, int]:
    """Free and in all."""
    return MEMORY.size - MEMORY.pool.total_bytes(), MEMORY.size
