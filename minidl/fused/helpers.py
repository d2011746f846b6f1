"""Threads that help whoever asks them, and are never waited for before they have begun."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue


class Helpers:
    """`ask(work, n)`: up to n threads call work(), in the caller's context (np.errstate is part of it), when they can.

    The threads begin with the first call that needs them and end with this object. They are daemons, so that a
    thread of the user's finds them also after the main thread has ended. Where the system gives no more threads,
    fewer help, or nobody.
    """

    def __init__(self) -> None:
        self._asked: SimpleQueue = SimpleQueue()
        self._threads, self._starting = 0, threading.Lock()

    def ask(self, work: Callable[[], None], number: int) -> None:
        for _ in range(number):
            self._asked.put(partial(copy_context().run, work))
        if self._threads < number:
            with self._starting:
                self._start(number)

    def _start(self, number: int) -> None:
        while self._threads < number:
            thread = threading.Thread(target=_serve, args=(self._asked,), name="minidl-tiles", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return
            self._threads += 1

    def __del__(self) -> None:
        for _ in range(self._threads):
            self._asked.put(None)


def _serve(asked: SimpleQueue) -> None:
    while (work := asked.get()) is not None:
        work()
        del work  # and the arrays it knows
