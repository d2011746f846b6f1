"""Threads that help a calling thread. It never waits for a helper that has not begun."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue


class Helpers:
    """The helpers' threads start with the first work that needs them, and end with this object.

    They are daemons, so that they still work for a thread of the user's after the main thread has ended. If the
    system gives no more threads, there are fewer helpers, or none.
    """

    def __init__(self) -> None:
        self._asked: SimpleQueue = SimpleQueue()
        self._threads, self._starting = 0, threading.Lock()

    def share(self, work: Callable[[], None], parts: deque, helpers: int) -> None:
        """Calls work(), which takes `parts` as long as there are any, in this thread and in up to `helpers` others.

        Returns when all threads that have begun have ended. If one of them raises, no thread takes another part, and
        the error is raised here. The same holds for Ctrl-C, however often it comes. Helpers work in the caller's
        context (its np.errstate, for example).
        """
        if helpers <= 0:
            work()
            return
        begun, ended, errors, wake = [], [], [], SimpleQueue()

        def help_out() -> None:
            begun.append(None)
            mine = work
            try:
                if mine is not None:
                    mine()
            except BaseException as error:
                errors.append(error)
                parts.clear()
            finally:
                ended.append(None)
                wake.put(None)

        try:
            self._ask(help_out, helpers)
            work()
        except BaseException as error:
            errors += [error]
        while True:
            try:
                if errors:
                    parts.clear()
                while len(ended) < len(begun):
                    wake.get()
                break
            except BaseException as error:  # it ends the work, but not the waiting
                errors += [error]
        work = None  # a helper that comes too late has nothing to do, and holds no arrays
        try:
            if errors:
                raise errors[0]
        finally:
            errors.clear()  # else error, traceback and this frame would be a ring, kept until a garbage collection

    def _ask(self, work: Callable[[], None], number: int) -> None:
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
