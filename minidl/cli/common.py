"""What the commands that train have in common."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType

from minidl.backend.arrays import available_memory, memory_report
from minidl.cli.boundary import INTERRUPTED
from minidl.data.classes import class_names
from minidl.diagnostics.summary import Summary
from minidl.errors import OutOfMemoryError
from minidl.text.console import warn
from minidl.training import session
from minidl.training.config import Config, unused_settings

NAMED = 10  # classes named one by one


def describe(config: Config, data: session.Data, summary: Summary, needed: int) -> list[str]:
    """The lines that a training begins with."""
    h, w, _ = data.dataset.image_shape
    notes = [f"{count:,} {what}" for what, count in data.dataset.notes.items()]
    notes += [f"{split}: {part}" for split, part in data.extent.items()]
    if config.classes:
        names = class_names(data.dataset.classes, data.dataset.words)
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        notes.append(f"classes {', '.join(names[:NAMED])}{more}")
    return [
        f"data     {data.dataset.name}: {len(data.train):,} train and {len(data.val):,} val images, "
        f"{len(data.dataset.classes)} classes, {h}x{w}",
        *(f"         {note}" for note in notes),
        f"model    {config.model}: {summary.parameters:,} parameters, "
        f"{summary.multiply_adds / 1e6:.0f} M multiply-adds an image",
        f"memory   about {needed / 2**20:,.0f} MB for training at batch size {config.batch_size}",
        *(f"note     {line}" for line in unused_settings(config)),
    ]


def seed_and_engine(config: Config) -> str:
    """Seed, backend and engine in words."""
    return f"seed {config.seed}, {config.backend} {session.engine_of(config)}{', TF32' if config.tf32 else ''}"


def check_memory(config: Config, needed: int, xp: ModuleType) -> None:
    """Refuses what can't fit. Linux grants more memory than there is and later kills who uses it."""
    available = available_memory(xp)
    if available is not None and needed > available:
        raise OutOfMemoryError(
            f"batch size {config.batch_size} needs about {needed / 1e9:.1f} GB and "
            f"{available / 1e9:.1f} GB are free: {_smaller(config, needed, available)}"
        )


@contextmanager
def memory_guarded(config: Config, needed: int, xp: ModuleType) -> Iterator[None]:
    """Out of memory is one line that names a smaller batch."""
    try:
        yield
    except MemoryError:
        report = f" ({text})" if (text := memory_report(xp)) else ""
        advice = _smaller(config, needed, available_memory(xp))
        raise OutOfMemoryError(f"out of memory at batch size {config.batch_size}{report}: {advice}") from None


def _smaller(config: Config, needed: int, available: int | None) -> str:
    """Advice: the part of the batch that there is memory for, less a tenth, at most three quarters of it.

    Rounded down, to a multiple of 8 or, below that, a power of two.
    """
    if config.batch_size == 1:
        return "no batch is smaller, choose a smaller --model"
    share = min(0.75, 0.9 * (needed if available is None else available) / needed)
    fits = max(int(config.batch_size * share), 1)
    return f"try --batch-size {fits // 8 * 8 if fits >= 8 else 2 ** (fits.bit_length() - 1)}"


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a terminal that is closed call `stop`, a second Ctrl-C quits at once."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
        warn("")  # after ^C
        warn("stopping after this step; once more to quit at once")
        stop()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        numbers.append(signal.SIGHUP)
    previous = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
