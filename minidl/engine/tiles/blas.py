"""Keeps BLAS at one thread while the engine works, because the engine's own threads use all cores."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

from threadpoolctl import ThreadpoolController

Result = TypeVar("Result")


class OneBlasThread:
    """While `during` calls something, a block, BLAS has one thread in the whole process, until the last block ends.

    Blocks may be nested, and several threads may enter them. After the last block BLAS gets back the number of
    threads from before the first, also if a block raises. The model holds it over a whole pass, not over every call:
    a BLAS thread that has just worked waits actively for a while, and would take a core from the tiles.

    Ctrl-C may interrupt between any two steps in Python, but not within a call to C. So each block holds a lock of
    its own: the block is open as long as the lock is held, and `with` releases it in any case. What follows from the
    open blocks can be done again (`_settle`): after many interrupts the next block does it.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._blocks: list[tuple[int, threading.Lock]] = []  # thread and lock of every block that was entered
        self._before: list[int] = []  # the libraries' own numbers, while they may be limited

    def during(self, work: Callable[[], Result]) -> Result:
        """Calls work() in such a block."""
        me = threading.get_ident()
        if me in self._inside:
            return work()
        here = threading.Lock()
        try:
            with here:
                self._blocks.append((me, here))
                self._settle()
                return work()
        finally:
            try:
                self._surely_settle()
            finally:  # Ctrl-C may have come while it answered to another one
                self._surely_settle()

    def in_forked_child(self) -> None:
        """After a fork: only this thread exists, and another one may have held the lock."""
        self._lock = threading.RLock()
        self._blocks = [block for block in self._blocks if block[0] == threading.get_ident()]
        self._settle()

    @property
    def _inside(self) -> list[int]:
        """The threads of all open blocks."""
        return [thread for thread, here in list(self._blocks) if here.locked()]

    def _surely_settle(self) -> None:
        """Calls `_settle` again as long as Ctrl-C interrupts it; raises the interrupt afterwards."""
        interrupts = []
        while True:
            try:
                self._settle()
                break
            except BaseException as error:
                interrupts.append(error)
        if interrupts:
            raise interrupts[0]

    def _settle(self) -> None:
        """Sets BLAS to one thread if a block is open, and otherwise restores its number of threads."""
        with self._lock:
            for block in list(self._blocks):
                if not block[1].locked():
                    self._blocks.remove(block)
            if self._blocks:
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
