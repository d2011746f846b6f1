"""The learning-rate range test: finds the rates at which a network learns, in a part of one epoch."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from minidl.backend.arrays import on_device
from minidl.errors import DivergedError, UsageError
from minidl.schedules import Schedule
from minidl.storage.tables import csv_file
from minidl.text.plural import counted
from minidl.training.trainer import Trainer

STOP_AT = 4.0  # times the lowest smoothed loss
SMOOTH_OVER = 0.05  # standard deviation of the smoothing, as a share of the steps
LEAST_STEPS = 10  # fewer tell nothing
COLUMNS = ("step", "lr", "loss", "smoothed_loss")


@dataclass
class RangeTest:
    """The loss of each step before its update, and the rate of that update, in arrays of equal length without NaN."""

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray

    @property
    def lowest(self) -> int:
        """The step with the lowest smoothed loss."""
        return int(self.smoothed.argmin())

    @property
    def steepest(self) -> float | None:
        """The rate at which the smoothed loss falls fastest over log(rate), up to its minimum; None if it never
        falls.
        """
        if self.lowest < 2:
            return None
        slope = np.gradient(self.smoothed, np.log(self.rates))[: self.lowest]
        return float(self.rates[slope.argmin()])

    @property
    def tenth(self) -> float | None:
        """A tenth of the rate with the lowest smoothed loss; None if the loss never falls."""
        return None if self.steepest is None else float(self.rates[self.lowest] / 10)

    def write(self, path: Path) -> None:
        """A CSV with a row per step."""
        with csv_file(path) as write:
            write(COLUMNS)
            columns = (self.rates.tolist(), self.losses.tolist(), self.smoothed.tolist())
            for i, row in enumerate(zip(*columns, strict=True)):
                write((i, *row))


def range_test(
    trainer: Trainer, low: float, high: float, steps: int, on_step: Callable[[int], None] = lambda steps: None
) -> RangeTest:
    """Trains for at most `steps` steps of the first epoch, with rates that rise from `low` to `high`.

        rate of step i = low (high / low)^(i / (steps - 1))

    Smith 2017, section 3.3 (arXiv:1506.01186), but with rates that rise geometrically, not linearly. It ends early if
    the smoothed loss exceeds 4 times its minimum or a loss is NaN. The trainer's weights are useless afterwards.
    Raises UsageError if there are too few steps, DivergedError if it ends after only a few.
    """
    if len(trainer.train) < LEAST_STEPS:
        there = counted(len(trainer.train), "batch")
        raise UsageError(f"an epoch of {there} is too short for a range test: it needs at least {LEAST_STEPS}")
    if steps < LEAST_STEPS:
        raise UsageError(f"--steps {steps}: a range test needs at least {LEAST_STEPS}")
    steps = min(steps, len(trainer.train))
    trainer.schedule = geometric(low, high, steps)
    losses: list[float] = []
    smoothed = np.empty(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's warnings of overflow, in all threads
        for x, y in on_device(trainer.train.epoch(0), trainer.xp):
            loss = float(trainer.step(x, y)[0])
            if not math.isfinite(loss):
                break
            losses.append(loss)
            smoothed = gaussian_filter1d(losses, SMOOTH_OVER * steps, mode="reflect")
            trainer.state.step += 1
            on_step(1)
            if len(losses) == steps or smoothed[-1] > STOP_AT * smoothed.min():
                break
    if len(losses) < LEAST_STEPS:
        rate, few = trainer.schedule(len(losses)), steps < 2 * LEAST_STEPS
        more = ", or take more steps (a smaller --batch-size, more --steps)" if few else ""
        raise DivergedError(
            f"the loss explodes at learning rate {rate:.1e}, after {len(losses)} of {steps} steps: lower --from{more}"
        )
    rates = np.array([trainer.schedule(i) for i in range(len(losses))])
    return RangeTest(rates, np.array(losses), smoothed)


def geometric(low: float, high: float, steps: int) -> Schedule:
    """From `low` at the first step to `high` at the last, each rate the same factor above the one before."""
    return lambda step: low * (high / low) ** (step / (steps - 1))
