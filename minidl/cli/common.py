"""What the commands that train share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType

import numpy as np

from minidl.backend.arrays import available_memory, memory_report
from minidl.cli.boundary import INTERRUPTED
from minidl.data.classes import class_names
from minidl.diagnostics.summary import Summary, summary
from minidl.errors import OutOfMemoryError
from minidl.models import build
from minidl.parallel.communicator import ALONE, Communicator
from minidl.text.console import warn
from minidl.training import search
from minidl.training.checkpoints import Checkpoint
from minidl.training.config import Config, network_in_words, unused_settings
from minidl.training.execution import engine_of, training_bytes
from minidl.training.network import make_model
from minidl.training.run_data import Data
from minidl.training.trainer import Trainer

NAMED = 10  # classes named one by one


def describe(config: Config, data: Data, costs: Summary, needed: int) -> list[str]:
    """The first lines of a training."""
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
        f"model    {network_in_words(config.model, config.as_dict())}: {costs.parameters:,} parameters, "
        f"{costs.multiply_adds / 1e6:.0f} M multiply-adds per image",
        f"memory   about {needed / 1e6:,.0f} MB for training at batch size {config.batch_size}",
        *(f"note     {line}" for line in unused_settings(config)),
    ]


def seed_and_engine(config: Config) -> str:
    """Seed, backend and engine in words."""
    return f"seed {config.seed}, {config.backend} {engine_of(config)}{', TF32' if config.tf32 else ''}"


def memory_here(each: int, comm: Communicator, xp: ModuleType) -> int:
    """The bytes of all ranks on this machine, if each needs so many; of one on a GPU, of which each has its own."""
    return each * (comm.local_size if xp is np else 1)


def check_memory(config: Config, needed: int, xp: ModuleType) -> None:
    """Refuses a training that can't fit. Linux grants more memory than it has, and later kills the process."""
    available = available_memory(xp)
    if available is not None and needed > available:
        raise OutOfMemoryError(
            f"batch size {config.batch_size} needs about {needed / 1e9:.1f} GB and "
            f"{available / 1e9:.1f} GB are free: {_smaller(config, needed, available)}"
        )


@contextmanager
def memory_guarded(config: Config, needed: int, xp: ModuleType) -> Iterator[None]:
    """Turns out of memory into one line that names a smaller batch."""
    try:
        yield
    except MemoryError:
        report = f" ({text})" if (text := memory_report(xp)) else ""
        advice = _smaller(config, needed, available_memory(xp))
        raise OutOfMemoryError(f"out of memory at batch size {config.batch_size}{report}: {advice}") from None


def _smaller(config: Config, needed: int, available: int | None) -> str:
    """The advice: the share of the batch for which there is memory, minus a tenth, and at most three quarters of it.

    Rounded down to a multiple of 8 or, if it is smaller, to a power of two.
    """
    if config.batch_size == 1:
        return "no batch is smaller, choose a smaller --model"
    share = min(0.75, 0.9 * (needed if available is None else available) / needed)
    fits = max(int(config.batch_size * share), 1)
    return f"try --batch-size {fits // 8 * 8 if fits >= 8 else 2 ** (fits.bit_length() - 1)}"


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal call `stop`; a second Ctrl-C quits at once."""

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


def new_trainer(
    config: Config, data: Data, start: Checkpoint | None, comm: Communicator = ALONE
) -> tuple[Trainer, list[str], int]:
    """A trainer, the lines that describe it, and the bytes it needs; OutOfMemoryError if the ranks lack them."""
    trainer = search.new_trainer(config, data, build, start)
    model = make_model(config, data, build)
    costs = summary(model, (config.batch_size, *data.dataset.image_shape))
    needed = training_bytes(config, costs.memory)
    check_memory(config, memory_here(needed, comm, trainer.xp), trainer.xp)
    return trainer, describe(config, data, costs, needed), needed
