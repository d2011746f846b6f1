"""How far a long job is: a bar on a terminal, a plain line every ten seconds in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

from minidl.console import warn

LINE_EVERY = 10.0  # seconds


class Progress:
    """Counts to `total` on stderr, with the time left; use it as a context manager and call `add`.

    unit    "image" or "B"; bytes are printed as kB, MB, GB
    """

    def __init__(self, title: str, total: int | None, unit: str, done: int = 0, show: bool = True) -> None:
        self.title, self.total, self.unit, self.done = title, total, unit, done
        terminal = show and sys.stderr.isatty()
        self._bar = (
            tqdm(desc=title, total=total, initial=done, unit=unit, unit_scale=unit == "B") if terminal else None
        )
        self._lines = show and not terminal
        self._first = self._start = time.monotonic()
        self._before = done

    def add(self, amount: int) -> None:
        self.done += amount
        if self._bar is not None:
            self._bar.update(amount)
        elif self._lines and time.monotonic() - self._start >= LINE_EVERY:
            self._start = time.monotonic()
            self._print()

    def _print(self) -> None:
        seconds = time.monotonic() - self._first
        rate = (self.done - self._before) / max(seconds, 1e-9)
        count, of, speed = map(self._number, (self.done, self.total or 0, rate))
        line = f"{self.title}: {count}{f' of {of}' if self.total else ''} {self.unit}, {speed} {self.unit}/s"
        if self.total and rate:
            line += f", {tqdm.format_interval((self.total - self.done) / rate)} left"
        warn(line)

    def _number(self, value: float) -> str:
        """Bytes in kB, MB, GB; counts in full, and small rates with a decimal."""
        if self.unit == "B":
            return tqdm.format_sizeof(value)
        return f"{value:,.1f}" if isinstance(value, float) and value < 10 else f"{value:,.0f}"

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._lines and kind is None:
            self._print()
