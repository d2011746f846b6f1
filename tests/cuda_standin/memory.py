"""Which stream used which memory of a device last, so that whoever uses it without having waited is refused.

An array and its views are one piece of memory. A use is whatever reads or writes it: a computation, a copy to the
host, a call of NCCL. Two uses on streams of which the second hasn't waited for the first are a race, and refused; for
two that only read this is stricter than CUDA. A call of NCCL that uses the memory is done before the next use is.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from tests.cuda_standin import streams
from tests.cuda_standin.record import RECORD, StrictError
from tests.cuda_standin.streams import CLOCK, HERE, Stream


class Memory:
    """Of one array: where it was made, who used it last, and calls of NCCL that are not done."""

    __slots__ = ("array", "device", "born", "last", "calls")

    def __init__(self, array: np.ndarray) -> None:
        key = id(array)
        self.array = weakref.ref(array, lambda _: _MEMORIES.pop(key, None))
        self.device, self.born = HERE.device, (streams.current(), next(CLOCK))
        self.last, self.calls = self.born, []

    def check(self, stream: Stream) -> None:
        """Refuses a use on `stream` that would be a race."""
        if self.device != stream._device:
            RECORD.refuse(StrictError, f"memory of device {self.device}, used on device {stream._device}")
        if not stream._follows(*self.last):
            RECORD.refuse(StrictError, "used on a stream that has not waited for the one that used it before")

    def use(self, stream: Stream) -> None:
        """`stream` reads or writes it."""
        self.check(stream)
        for call in list(self.calls):
            call.finish()
        self.last = stream, next(CLOCK)

    def read(self, stream: Stream, blocking: bool = True) -> None:
        """The host reads it through `stream`, and waits or doesn't."""
        done = self.last[1] <= self.last[0]._done
        self.use(stream)
        if blocking:
            stream._wait()
        elif not done:
            RECORD.refuse(StrictError, "read by the host before its stream was synchronised")


_MEMORIES: dict[int, Memory] = {}  # by the id of its array


def memory_of(a: np.ndarray) -> Memory:
    """That `a` looks at; it is made here and now if nobody knew of it."""
    array = streams.owner(a)
    known = _MEMORIES.get(id(array))
    if known is None:
        if streams.current()._late:
            RECORD.refuse(
                StrictError, "made on a side stream: freed, its memory is reused there whoever still reads it"
            )
        known = _MEMORIES[id(array)] = Memory(array)
    return known


def find(pointer: int, size: int) -> tuple[Memory, Any] | None:
    """The memory of this device in which `size` bytes begin at `pointer`, and its array; None if there is none."""
    for memory in list(_MEMORIES.values()):
        array = memory.array()
        if isinstance(array, np.ndarray) and memory.device == HERE.device:
            begin = array.ctypes.data
            if begin <= pointer and pointer + size <= begin + array.nbytes:
                return memory, array
    return None


def reset() -> None:
    """As when the process began."""
    _MEMORIES.clear()
