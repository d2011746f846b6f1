"""The progress of a long job: a bar on a terminal, a plain line every ten seconds in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

from minidl.errors import printable
from minidl.text.console import warn

LINE_EVERY = 10.0  # seconds
SHORT = 2.0  # seconds; a shorter job leaves no line in a log


class Progress:
    """Counts to `total` on stderr, with the time left. Use it as a context manager and call `add`.

    unit    "image", printed as in "1,000 images"; or "B", printed as kB, MB, GB
    leave   whether the bar, or a last line in a log, stays when the job is done
    """

    def __init__(
        self, title: str, total: int | None, unit: str, done: int = 0, show: bool = True, leave: bool = True
    ) -> None:
        self.title, self.total, self.unit, self.done = printable(title), total, unit, done
        terminal = show and sys.stderr.isatty()
        self._bytes = unit == "B"
        self._plural = "" if self._bytes else f" {unit}" if total == 1 else f" {unit}s"
        unit = self._plural or "B"
        options = {"total": total, "initial": done, "unit": unit, "unit_scale": self._bytes, "leave": leave}
        self._bar = tqdm(desc=self.title, **options) if terminal else None
        self._lines, self._leave = show and not terminal, leave
        self._first = self._start = time.monotonic()
        self._before = done

    def add(self, amount: int) -> None:
        self.done += amount
        if self._bar is not None:
            self._bar.update(amount)
        elif self._lines and time.monotonic() - self._start >= LINE_EVERY:
            self._start = time.monotonic()
            self._print()

    def say(self, line: str) -> None:
        """Prints a line on stderr, above the bar if there is one."""
        if self._bar is None:
            warn(line)
        else:
            tqdm.write(printable(line), file=sys.stderr)

    @property
    def live(self) -> bool:
        """Whether there is a bar that a `note` can stand beside."""
        return self._bar is not None

    def note(self, text: str) -> None:
        """A few words beside the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(printable(text))

    def close(self) -> None:
        """Ends the bar of a job that is not a `with` block."""
        if self._bar is not None:
            self._bar.close()

    def _print(self) -> None:
        seconds = time.monotonic() - self._first
        rate = (self.done - self._before) / max(seconds, 1e-9)
        of = f" of {self._number(self.total)}" if self.total else ""
        line = f"{self.title}: {self._number(self.done)}{of}{self._plural}, {self._number(rate)}{self._plural}/s"
        if self.total and self.done < self.total and rate:
            line += f", {tqdm.format_interval((self.total - self.done) / rate)} left"
        warn(line)

    def _number(self, value: float) -> str:
        if self._bytes:
            return f"{tqdm.format_sizeof(value)}B"
        return f"{value:,.{0 if value >= 10 or value == int(value) else 1}f}"

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if self._lines and self._leave and kind is None and time.monotonic() - self._first >= SHORT:
            self._print()
