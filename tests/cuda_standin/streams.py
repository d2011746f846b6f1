"""Streams, events and page-locked memory: a copy on a stream of its own happens as late as CUDA allows.

`x.set(pinned, stream=s)` on a non-blocking stream s leaves numbers in x that nobody wrote. They are replaced when
another stream waits for an event recorded behind the copy; that the pinned memory may be written to again is known
only once the host itself has waited. Whatever would be a race is refused:

    x.set             of memory that another stream may still use: s has not waited for what came before x
    x.set             from memory whose last copy the host has not waited for, or that is not page-locked
    a wait            for a copy whose pinned memory was written to, or whose target was freed, before it was done
    xp.empty, x + y   while s is current: freed, such memory goes to another array of s, whoever still reads it

Page-locked memory that nobody holds is given to the next who asks for as much, as by CuPy's pool. Calls of NCCL are
late too (`nccl`), all other work is done at once. `memory` knows which stream used what last.

A thread has a current device and, on each device, a current stream. The null stream of a device and its streams that
are not "non-blocking" wait for each other.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from itertools import count
from typing import Any

import numpy as np

from tests.cuda_standin.record import RECORD, StrictError

POISON = 85  # of integers that nobody has written yet; floats are NaN


class Stream:
    """A queue of work."""

    def __init__(
        self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: Any = None
    ) -> None:
        self.ptr, self._device = 0 if null else id(self), HERE.device
        self._late = non_blocking and not null and not ptds
        self._seen: dict[Stream, int] = {}  # up to which moment of other streams this one has waited
        self._done = -1  # up to which moment of its own the host has waited
        self._calls: list[Any] = []  # of NCCL, not yet done
        if not null:
            _streams[self.ptr] = self

    def __enter__(self) -> Stream:
        HERE.stack().append(self)
        return self

    def __exit__(self, *_: Any) -> None:
        HERE.stack().pop()

    def use(self) -> Stream:
        HERE.stack()[-1] = self
        return self

    def synchronize(self) -> None:
        RECORD.sync("stream")
        for copy in [copy for copy in IN_FLIGHT if copy.stream is self]:
            copy.finish()
        self._wait()

    def _wait(self) -> None:
        for call in list(self._calls):
            call.finish()
        self._done = next(CLOCK)

    def wait_event(self, event: Event) -> None:
        for copy in event._copies:
            copy.arrive()
        for call in event._calls:
            call.awaited(self)
        for stream, moment in event._seen.items():
            self._seen[stream] = max(moment, self._seen.get(stream, -1))

    def _follows(self, stream: Stream, moment: int) -> bool:
        """Whether what comes on this stream now comes after what `stream` was given at `moment`."""
        waits_for_null = 0 in (self.ptr, stream.ptr) and not (self._late or stream._late)
        waited = max(self._seen.get(stream, -1), stream._done)
        return self is stream or moment <= waited or (waits_for_null and self._device == stream._device)

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event


class Event:
    """A mark in a stream."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self.done = True  # as long as it is nowhere
        self._copies: list[Copy] = []
        self._calls: list[Any] = []
        self._seen: dict[Stream, int] = {}

    def record(self, stream: Stream | None = None) -> None:
        stream = stream or current()
        self.done = False  # until the host has waited for it
        self._copies = [copy for copy in IN_FLIGHT if copy.stream is stream]
        self._calls = list(stream._calls)
        self._seen = {**stream._seen, stream: next(CLOCK)}

    def synchronize(self) -> None:
        if not self.done:
            RECORD.sync("event")
        for late in (*self._copies, *self._calls):
            late.finish()
        for stream, moment in self._seen.items():
            stream._done = max(moment, stream._done)
        self.done = True


class Copy:
    """From page-locked memory to the device. Like CUDA it keeps neither alive."""

    def __init__(self, target: np.ndarray, source: np.ndarray, stream: Stream) -> None:
        self.stream, self._owner, self._copied = stream, weakref.ref(owner(target)), None
        self.target, self.source = unowned(target), unowned(source)

    @property
    def arrived(self) -> bool:
        return self._copied is not None

    def arrive(self) -> None:
        """Its numbers are there for who has waited."""
        if not self.arrived:
            if self._owner() is None:
                RECORD.refuse(StrictError, "the target of a copy was freed before the copy was done")
            self._copied = self.source.copy()
            self.target[...] = self._copied

    def finish(self) -> None:
        """It is done, and the host knows."""
        if self in IN_FLIGHT:
            self.arrive()
            IN_FLIGHT.remove(self)
            if self.source.tobytes() != self._copied.tobytes():
                RECORD.refuse(StrictError, "page-locked memory was written to before its copy was done")


class Here(threading.local):
    """The current device of a thread, and its streams."""

    def __init__(self) -> None:
        self.device = 0
        self._stacks: dict[int, list[Stream]] = {}  # by device; the last stream is the current one

    def stack(self) -> list[Stream]:
        return self._stacks.setdefault(self.device, [stream_of(0)])


IN_FLIGHT: list[Copy] = []  # in order, until the host has waited
HERE = Here()
CLOCK = count()
_streams: weakref.WeakValueDictionary[int, Stream] = weakref.WeakValueDictionary()
_nulls: dict[int, Stream] = {}  # by device
_free: dict[int, list[np.ndarray]] = {}  # bytes -> page-locked memory that nobody holds


def stream_of(pointer: int) -> Stream | None:
    """The stream of the current device whose `ptr` this is, if there is one."""
    if not pointer:
        return _nulls.get(HERE.device) or _nulls.setdefault(HERE.device, Stream(null=True))
    found = _streams.get(pointer)
    return found if found is not None and found._device == HERE.device else None


def reset() -> None:
    """As when the process began."""
    IN_FLIGHT.clear()
    _free.clear()
    _nulls.clear()
    _streams.clear()
    HERE.__init__()


def current() -> Stream:
    return HERE.stack()[-1]


def synchronize_device() -> None:
    RECORD.sync("device")
    for copy in list(IN_FLIGHT):
        copy.finish()
    for stream in {stream_of(0), *_streams.values()}:
        if stream._device == HERE.device:
            stream._wait()


def copy_to_device(target: np.ndarray, born: tuple[Stream, int], source: np.ndarray, stream: Stream | None) -> None:
    """What `ndarray.set` does."""
    stream = stream or current()
    if not stream._late:
        target[...] = source
        return
    if stream._seen.get(born[0], -1) < born[1]:
        RECORD.refuse(StrictError, "set: the memory may still be in use, its stream has not been waited for")
    if not isinstance(owner(source), _Block):
        RECORD.refuse(StrictError, "set: the source is not page-locked (cupyx.empty_pinned), so the copy waits")
    copy = Copy(target, source, stream)
    if any(np.may_share_memory(copy.source, other.source) for other in IN_FLIGHT):
        RECORD.refuse(StrictError, "set: the host has not waited for the last copy from this page-locked memory")
    IN_FLIGHT.append(copy)
    poison(target)


def poison(a: np.ndarray) -> None:
    """Numbers that nobody wrote."""
    a.fill(np.nan if a.dtype.kind in "fc" else True if a.dtype == bool else POISON)


class _Block:
    """Page-locked memory, back in the pool when nobody holds it."""

    def __init__(self, size: int) -> None:
        free = _free.setdefault(size, [])
        self._memory = free.pop() if free else np.empty(size, np.uint8)
        self.__array_interface__ = self._memory.__array_interface__

    def __del__(self) -> None:
        _free.setdefault(len(self._memory), []).append(self._memory)


def empty_pinned(shape: Any, dtype: Any = float, order: str = "C") -> np.ndarray:
    """As cupyx.empty_pinned."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    pinned = np.asarray(_Block(max(size, 1)))[:size].view(dtype).reshape(shape, order=order)
    poison(pinned)
    return pinned


def owner(a: np.ndarray) -> Any:
    """The array or block whose memory `a` looks at."""
    while isinstance(a.base, np.ndarray):
        a = a.base
    return a.base if isinstance(a.base, _Block) else a


def unowned(a: np.ndarray) -> np.ndarray:
    """The same memory, kept alive by nobody."""
    memory = (ctypes.c_char * a.nbytes).from_address(a.ctypes.data)
    return np.ndarray(a.shape, a.dtype, buffer=memory, strides=a.strides) if a.size else a
