"""The stand-in's `cupy.cuda.nccl`: ranks are threads with a device each, and a call is done as late as can be.

A call only says what a stream has to do. It is done when its stream is waited for, or when its memory is used by what
comes after it. Then the ranks that take part wait for each other, and their numbers are read and written. (On a GPU
only the streams wait. As all ranks make the same calls in the same order, the wait of a thread changes nothing.)
Refused:

    a call      of other kind, count, dtype, operation or root than the call of another rank in this place
                of memory that is not there, that is too small, of another dtype, device, or whose last user its
                stream hasn't waited for
    groupEnd    of calls of which one writes what another one reads or writes
    a use       of memory whose call is in a group that hasn't ended
    a wait      for calls that wait for each other, as two sends before their recvs
                for a call whose memory was freed on a stream that hasn't waited for it
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import combinations, count
from types import ModuleType
from typing import Any

import numpy as np

from tests.cuda_standin import memory, streams
from tests.cuda_standin.record import RECORD, StrictError
from tests.cuda_standin.streams import CLOCK, HERE, Stream

HANGS = 60  # seconds that ranks wait for each other
STATUS = {4: "NCCL_ERROR_INVALID_ARGUMENT: invalid argument", 5: "NCCL_ERROR_INVALID_USAGE: invalid usage"}
DTYPES = {
    "INT8": (0, np.int8),
    "UINT8": (1, np.uint8),
    "INT32": (2, np.int32),
    "INT64": (4, np.int64),
    "FLOAT32": (7, np.float32),
    "FLOAT64": (8, np.float64),
}
OPERATIONS = {"SUM": (0, np.add), "PROD": (1, np.multiply), "MAX": (2, np.maximum), "MIN": (3, np.minimum)}


class NcclError(RuntimeError):
    """As cupy.cuda.nccl.NcclError."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(STATUS[status])


class Call:
    """What one rank asked for. `what` must be the same on all ranks that take part."""

    def __init__(self, what: str, ranks: Sequence[int], key: tuple, stream: Stream, work: Callable) -> None:
        self.what, self.ranks, self.key, self.stream, self.work = what, ranks, key, stream, work
        self.done, self.clique, self.group = False, None, None  # the latter two until it is submitted
        self.reads: np.ndarray | None = None
        self.writes: np.ndarray | None = None
        self._memories: list[memory.Memory] = []
        self._kept: list[np.ndarray | None] = []

    def operand(self, pointer: int, size: int, dtype: type) -> np.ndarray:
        """`size` numbers at `pointer`. They are kept alive only if whoever frees them comes after this call."""
        found = memory.find(pointer, size * np.dtype(dtype).itemsize)
        if found is None:
            RECORD.refuse(StrictError, f"{self.what}: no memory of this device that is alive has so much room there")
        place, array = found
        if array.dtype != dtype and (array.dtype, dtype) != (np.dtype(bool), np.uint8):
            RECORD.refuse(StrictError, f"{self.what}: the memory holds {array.dtype}")
        if place not in self._memories:
            place.check(self.stream)
            self._memories.append(place)
        start = pointer - array.ctypes.data
        flat = streams.unowned(array.reshape(-1)).view(np.uint8)
        return flat[start : start + size * np.dtype(dtype).itemsize].view(dtype)

    def begin(self) -> None:
        """From here on the memory is in use, and the stream has something to do."""
        now = next(CLOCK)
        for place in self._memories:
            place.last = self.stream, now
            place.calls.append(self)
        self.stream._calls.append(self)
        self._kept = [None] * len(self._memories)
        self.awaited(self.stream)

    def awaited(self, stream: Stream) -> None:
        """`stream` waits for it: memory that was made there may be freed from now on."""
        for i, place in enumerate(self._memories):
            if place.born[0] is stream:
                self._kept[i] = place.array()

    def finish(self) -> None:
        """Returns when it is done."""
        if self.clique is None:
            RECORD.refuse(StrictError, f"{self.what}: its group was not ended, so it was not begun")
        self.clique.finish(self)

    def end(self) -> None:
        self.done = True
        self.stream._calls.remove(self)
        for place in self._memories:
            place.calls.remove(self)
        self._kept = []

    def check_alive(self) -> str | None:
        freed = any(place.array() is None for place in self._memories)
        return f"{self.what}: its memory was freed before it was done" if freed else None


class Clique:
    """The ranks of one unique id."""

    def __init__(self, size: int) -> None:
        self.size, self.wrong, self.left = size, "", False
        self._devices: dict[int, int] = {}  # by rank
        self.changed = threading.Condition()
        self._waiting: list[deque[list[Call]]] = [deque() for _ in range(size)]
        self._order: list[tuple[int, str]] = []  # the first rank to make each collective call, and the call
        self._counts: dict[tuple, int] = {}  # of calls so far: collectives of a rank, sends and recvs of a pair

    def join(self, rank: int, device: int) -> None:
        with self.changed:
            if not 0 <= rank < self.size or rank in self._devices:
                raise NcclError(4)
            self._devices[rank] = device
            self.changed.notify_all()
            if not self.changed.wait_for(lambda: self.left or len(self._devices) == self.size, HANGS):
                RECORD.refuse(StrictError, f"of {self.size} ranks only {sorted(self._devices)} came")
            if len({*self._devices.values()}) < self.size:
                raise NcclError(5)  # two ranks on one GPU

    def number(self, *what: Any) -> int:
        with self.changed:
            self._counts[what] = self._counts.get(what, -1) + 1
            return self._counts[what]

    def submit(self, rank: int, group: list[Call]) -> None:
        for one, other in combinations(group, 2):
            for written, used in ((one.writes, other.reads), (other.writes, one.reads), (one.writes, other.writes)):
                if written is not None and used is not None and np.may_share_memory(written, used):
                    RECORD.refuse(StrictError, f"{one.what} and {other.what} in one group race for the same memory")
        with self.changed:
            for call in group:
                call.clique, call.group = self, group
                if call.key[0] == "all":
                    if call.key[1] == len(self._order):
                        self._order.append((rank, call.what))
                    first, what = self._order[call.key[1]]
                    if what != call.what:
                        self._differ({first: what, rank: call.what})
            self._waiting[rank].append(group)
            self.changed.notify_all()

    def finish(self, call: Call) -> None:
        with self.changed:
            while not call.done:
                if self.wrong:
                    RECORD.refuse(StrictError, self.wrong)
                if self._advance():
                    continue
                if self.left:
                    raise threading.BrokenBarrierError
                heads = [f"{r}: {' and '.join(c.what for c in q[0])}" for r, q in enumerate(self._waiting) if q]
                if len(heads) == self.size:
                    self._fail(f"the calls wait for each other: {', '.join(heads)}")
                if not self.changed.wait(HANGS):
                    self._fail(f"ranks are missing: {', '.join(heads)}")

    def leave(self) -> None:
        """Nobody waits for this rank any longer."""
        with self.changed:
            self.left = True
            self.changed.notify_all()

    def _differ(self, calls: dict[int, str]) -> None:
        self._fail(f"the ranks don't meet: {', '.join(f'{rank}: {what}' for rank, what in sorted(calls.items()))}")

    def _fail(self, text: str) -> None:
        self.wrong = text
        self.changed.notify_all()
        RECORD.refuse(StrictError, text)

    def _advance(self) -> bool:
        """Does the groups whose calls have all their ranks; says whether there were any."""
        ready = {rank: queue[0] for rank, queue in enumerate(self._waiting) if queue}
        while ready:
            keys = {rank: {call.key for call in group} for rank, group in ready.items()}
            short = [
                rank
                for rank, group in ready.items()
                if not all(call.key in keys.get(other, ()) for call in group for other in call.ranks)
            ]
            if not short:
                break
            for rank in short:
                del ready[rank]
        calls: dict[tuple, dict[int, Call]] = {}
        for rank, group in ready.items():
            self._waiting[rank].popleft()
            for call in group:
                calls.setdefault(call.key, {})[rank] = call
        for parties in calls.values():
            self._do(parties)
        if ready:
            self.changed.notify_all()
        return bool(ready)

    def _do(self, parties: dict[int, Call]) -> None:
        """One call of all its ranks."""
        some = next(iter(parties.values()))
        if len({call.what for call in parties.values()}) > 1:
            self._differ({rank: call.what for rank, call in parties.items()})
        for call in parties.values():
            if text := call.check_alive():
                self._fail(text)
        sent = {rank: None if call.reads is None else call.reads.copy() for rank, call in parties.items()}
        result = some.work(sent)
        for call in parties.values():
            if call.writes is not None:
                call.writes[...] = result
            call.end()


class _Groups(threading.local):
    """The calls of a thread between groupStart and groupEnd."""

    def __init__(self) -> None:
        self.depth, self.calls = 0, {}


_groups = _Groups()
_cliques: dict[bytes, Clique] = {}
_ids = count()


def groupStart() -> None:
    _groups.depth += 1


def groupEnd() -> None:
    if not _groups.depth:
        raise NcclError(5)
    _groups.depth -= 1
    if not _groups.depth:
        calls, _groups.calls = _groups.calls, {}
        for communicator, group in calls.items():
            communicator._clique.submit(communicator._rank, group)


def leave() -> None:
    """To be called when a rank fails: the others shall not wait for it."""
    _groups.__init__()
    for clique in list(_cliques.values()):
        clique.leave()


def reset() -> None:
    """As when the process began."""
    _groups.__init__()
    _cliques.clear()


def get_unique_id() -> bytes:
    return b"%0128d" % next(_ids)


class NcclCommunicator:
    """One rank, on the device that is current when it is made."""

    def __init__(self, ndev: int, commId: bytes, rank: int, config: Any = None) -> None:
        if type(commId) is not bytes:
            RECORD.refuse(TypeError, f"Argument 'commId' has incorrect type (expected bytes, got {type(commId)})")
        if len(commId) != 128:
            RECORD.refuse(ValueError, f"commId length {len(commId)} != 128.")
        self._rank, self._device = rank, HERE.device
        self._clique = _cliques.setdefault(commId, Clique(ndev))
        self._clique.join(rank, self._device)

    def allReduce(self, sendbuf: int, recvbuf: int, count: int, datatype: int, op: int, stream: int) -> None:
        name, combine = next((n, f) for n, (number, f) in OPERATIONS.items() if number == op)
        call = self._collective(f"allReduce {name} of {count}", datatype, stream)
        call.work = lambda sent: reduce(combine, list(sent.values())[::-1])  # whichever rank comes first
        self._ask(call, datatype, (sendbuf, count), (recvbuf, count))

    def allGather(self, sendbuf: int, recvbuf: int, count: int, datatype: int, stream: int) -> None:
        call = self._collective(f"allGather of {count}", datatype, stream)
        call.work = lambda sent: np.concatenate([sent[rank] for rank in sorted(sent)])
        self._ask(call, datatype, (sendbuf, count), (recvbuf, count * self._clique.size))

    def broadcast(self, sendbuff: int, recvbuff: int, count: int, datatype: int, root: int, stream: int) -> None:
        call = self._collective(f"broadcast from {root} of {count}", datatype, stream)
        call.work = lambda sent: sent[root]
        self._ask(call, datatype, (sendbuff, count) if self._rank == root else None, (recvbuff, count))

    def send(self, sendbuf: int, count: int, datatype: int, peer: int, stream: int) -> None:
        self._ask(self._pair(self._rank, peer, "send", count, datatype, stream), datatype, (sendbuf, count), None)

    def recv(self, recvbuf: int, count: int, datatype: int, peer: int, stream: int) -> None:
        self._ask(self._pair(peer, self._rank, "recv", count, datatype, stream), datatype, None, (recvbuf, count))

    def _collective(self, what: str, datatype: int, stream: int) -> Call:
        key = ("all", self._clique.number("all", self._rank))
        return Call(f"{what} {_dtype(datatype)[0]}", range(self._clique.size), key, self._stream(stream), None)

    def _pair(self, source: int, target: int, kind: str, count: int, datatype: int, stream: int) -> Call:
        if not 0 <= source < self._clique.size or not 0 <= target < self._clique.size:
            raise NcclError(4)
        key = ("pair", source, target, self._clique.number(kind, source, target))
        what = f"send from {source} to {target} of {count} {_dtype(datatype)[0]}"
        return Call(what, (source, target), key, self._stream(stream), lambda sent: sent[source])

    def _stream(self, pointer: int) -> Stream:
        if HERE.device != self._device:
            RECORD.refuse(StrictError, f"a call on device {self._device} while {HERE.device} is the current one")
        if (stream := streams.stream_of(pointer)) is None:
            RECORD.refuse(StrictError, "a call on a stream that is not there, or of another device")
        return stream

    def _ask(self, call: Call, datatype: int, reads: tuple | None, writes: tuple | None) -> None:
        dtype = _dtype(datatype)[1]
        if reads:
            call.reads = call.operand(*reads, dtype)
        if writes:
            call.writes = call.operand(*writes, dtype)
        RECORD.launch(f"nccl {call.what.split()[0]}")
        call.begin()
        if _groups.depth:
            _groups.calls.setdefault(self, []).append(call)
        else:
            self._clique.submit(self._rank, [call])


def _dtype(number: int) -> tuple[str, type]:
    return next((name, dtype) for name, (known, dtype) in DTYPES.items() if known == number)


def make_nccl() -> ModuleType:
    """A new module `cupy.cuda.nccl`."""
    module = ModuleType("cupy.cuda.nccl")
    vars(module).update(
        available=True, NcclCommunicator=NcclCommunicator, NcclError=NcclError, get_unique_id=get_unique_id,
        groupStart=groupStart, groupEnd=groupEnd, get_version=lambda: 23203,
        **{f"NCCL_{name}": number for name, (number, _) in (DTYPES | OPERATIONS).items()},
    )  # fmt: skip
    return module
