"""BLAS's number of threads while the engine works: one, for its own threads work side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

from threadpoolctl import ThreadpoolController

Result = TypeVar("Result")


class OneBlasThread:
    """`with ONE_BLAS_THREAD:` BLAS runs on one thread, for the whole process, until the last such block is left.

    Blocks may be nested and may be entered by several threads; the number of BLAS threads from before the first
    comes back after the last, also when a block raises. The model holds it over a whole pass, not over every call:
    a BLAS thread that has just worked spins for a while and would take a core from the tiles.

    Ctrl-C may come between any two steps in Python, but not within a call to C. So entering and leaving are one such
    call each, and what follows from who is inside can be done again (`_settle`): by the next block at the latest.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._inside: list[int] = []  # the thread of every open block
        self._before: list[int] = []  # the libraries' own numbers, while they may be limited

    def during(self, work: Callable[[], Result]) -> Result:
        """work() in such a block. Safer than `with`: there Ctrl-C, at the very end, may leave the block open."""
        me = threading.get_ident()
        if me in self._inside:
            return work()
        try:
            self._inside.append(me)
            self._settle()
            return work()
        finally:  # Ctrl-C in one of these steps leaves the next ones
            try:
                self._inside.remove(me)
            finally:
                try:
                    self._settle()
                finally:
                    self._settle()

    def __enter__(self) -> None:
        self._inside.append(threading.get_ident())
        self._settle()

    def __exit__(self, *_: object) -> None:
        self._inside.remove(threading.get_ident())
        self._settle()

    def in_forked_child(self) -> None:
        """Of all threads only this one is here; another may have had the lock."""
        self._lock = threading.RLock()
        self._inside = [thread for thread in self._inside if thread == threading.get_ident()]
        self._settle()

    def _settle(self) -> None:
        """BLAS has one thread if and only if somebody is inside."""
        with self._lock:
            if self._inside:
                self._before = self._before or [library.get_num_threads() for library in self._libraries]
                self._set([1] * len(self._before))
            elif self._before:
                self._set(self._before)
                self._before = []

    def _set(self, numbers: list[int]) -> None:
        for library, number in zip(self._libraries, numbers, strict=False):
            # From threadpoolctl 3.7 on, set_num_threads obeys one thread of the process and ignores all others.
            getattr(library, "_real_set_num_threads", library.set_num_threads)(number)

    @cached_property
    def _libraries(self) -> list:
        return ThreadpoolController().select(user_api="blas").lib_controllers


ONE_BLAS_THREAD = OneBlasThread()
