"""Ranks that are threads of one process, for tests: MPI's collectives without MPI, and stricter.

    results = on_ranks(3, lambda comm: work(comm))      # one result for each rank

All ranks meet at every collective. If they call different ones, with arrays that don't fit, or if one ends while the
others wait, all of them fail with a line that says what each rank did.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from minidl.backend.arrays import Array
from minidl.parallel.communicator import Communicator

T = TypeVar("T")
HANGS = 60  # seconds that ranks wait for each other


class Meeting:
    """The place where `size` threads exchange what they bring."""

    def __init__(self, size: int) -> None:
        self._barrier = threading.Barrier(size)
        self._brought: list[tuple[str, Any]] = [("", None)] * size

    def exchange(self, rank: int, call: str, what: Any = None) -> list[Any]:
        """What all ranks bring to the same `call`, in the order of ranks."""
        self._brought[rank] = call, what
        self._barrier.wait(HANGS)
        calls, brought = zip(*self._brought, strict=True)
        assert len({*calls}) == 1, f"the ranks don't meet: {', '.join(f'{r}: {c}' for r, c in enumerate(calls))}"
        self._barrier.wait(HANGS)  # all have read before one writes again
        return list(brought)

    def leave(self) -> None:
        """Nobody waits any longer."""
        self._barrier.abort()


class ThreadCommunicator(Communicator):
    """One rank of a Meeting."""

    def __init__(self, meeting: Meeting, rank: int, size: int) -> None:
        self.meeting, self.rank, self.size = meeting, rank, size
        self.calls: list[str] = []  # the collectives so far

    def _exchange(self, call: str, what: Any = None) -> list[Any]:
        self.calls.append(call)
        return self.meeting.exchange(self.rank, call, what)

    def allreduce(self, a: Array) -> None:
        terms = self._exchange(f"allreduce {a.dtype} {a.shape}", a.copy())
        a[...] = sum(terms[:-1], terms[-1])  # an order of its own: nobody should rely on one

    def tree_sum(self, a: Array) -> None:
        terms = self._exchange(f"tree_sum {a.dtype} {a.shape}", a.copy())
        assert self.size & (self.size - 1) == 0, f"tree_sum of {self.size} ranks: not a power of two"
        while len(terms) > 1:
            terms = [left + right for left, right in zip(terms[::2], terms[1::2], strict=True)]
        a[...] = terms[0]

    def allgather(self, a: Array) -> Array:
        return np.concatenate(self._exchange(f"allgather {a.dtype} (n, *{a.shape[1:]})", a.copy()))

    def broadcast(self, a: Array) -> None:
        a[...] = self._exchange(f"broadcast {a.dtype} {a.shape}", a.copy())[0]

    def allgather_bytes(self, data: bytes) -> list[bytes]:
        return self._exchange("allgather_bytes", bytes(data))

    def broadcast_bytes(self, data: bytes) -> bytes:
        return self._exchange("broadcast_bytes", bytes(data))[0]

    def barrier(self) -> None:
        self._exchange("barrier")


def on_ranks(size: int, work: Callable[[ThreadCommunicator], T]) -> list[T]:
    """The results of `work` on `size` ranks at once. Raises what the first rank that failed raised."""
    meeting = Meeting(size)
    results: list[Any] = [None] * size
    errors: list[BaseException] = []

    def run(rank: int) -> None:
        try:
            results[rank] = work(ThreadCommunicator(meeting, rank, size))
            meeting.exchange(rank, "the end")
        except BaseException as error:
            errors.append(error)
            meeting.leave()

    threads = [threading.Thread(target=run, args=(rank,), name=f"rank-{rank}", daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise _cause(errors)
    return results


def _cause(errors: Sequence[BaseException]) -> BaseException:
    """The error that made the others leave."""
    return next((e for e in errors if not isinstance(e, threading.BrokenBarrierError)), errors[0])
