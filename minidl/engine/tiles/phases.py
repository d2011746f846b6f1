"""Work in phases: the parts of a phase may run at once, and the next phase begins when all of them have ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from time import sleep

ASK = 100  # times, a microsecond each
NAP = 50e-6  # seconds


class Phases:
    """Each thread that calls `work` goes through all phases and takes the parts that no thread has taken yet.

    So one thread alone can do everything, and no thread waits for one that hasn't begun. A phase lasts some tens of
    microseconds, too short to put a thread to sleep and wake it again: a thread that waits asks again and again, and
    lets others run in between. After a while it does sleep, because the other thread may be waiting for a core.
    """

    def __init__(self, phases: Sequence[Sequence[Callable[[], None]]]) -> None:
        self._phases = [(deque(parts), deque(parts)) for parts in phases]  # (not yet taken, not yet ended)
        self._stopped = False

    def work(self) -> None:
        for waiting, unfinished in self._phases:
            while not self._stopped and (part := _next(waiting)):
                part()
                unfinished.pop()
            asked = 0
            while unfinished and not self._stopped:
                sleep(0 if asked < ASK else NAP)
                asked += 1

    def clear(self) -> None:
        """Called after an error: no thread takes another part, or waits for one."""
        self._stopped = True


def _next(parts: deque) -> Callable[[], None] | None:
    try:
        return parts.popleft()
    except IndexError:
        return None
