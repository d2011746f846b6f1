"""What is said of a training while it runs, and what training can do without: bar, lines, metrics and figure."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from minidl.text.console import warn
from minidl.training.callbacks import attempt
from minidl.training.runs import Run
from minidl.training.trainer import Callback, Trainer

LINE_EVERY = 30.0  # seconds between progress lines where there is no terminal


class Records(Callback):
    """After every epoch: one line on the screen, metrics.csv and figures/history.png. None is worth a training.

    draw    (path, history, title) -> None, draws the figure
    """

    def __init__(self, run: Run, title: str, draw: Callable[[Path, list[dict[str, Any]], str], None]) -> None:
        self.run, self.title, self.draw = run, title, draw

    def on_epoch(self, trainer: Trainer) -> None:
        self.run.say(epoch_line(trainer.state.history[-1], trainer.epochs))
        self.write(trainer.state.history)

    def write(self, history: list[dict[str, Any]]) -> None:
        """Brings the files to `history`, which every checkpoint holds too."""
        attempt(self.run.say, "metrics.csv", lambda: self.run.write_metrics(history))
        attempt(self.run.say, "history.png", lambda: self._draw(history))

    def _draw(self, history: list[dict[str, Any]]) -> None:
        self.draw(self.run.folder("figures") / "history.png", history, self.title)


def epoch_line(row: dict[str, Any], epochs: int) -> str:
    """One epoch in one line; the time left assumes that the epochs to come take as long as those done."""
    left = row["seconds"] / row["epoch"] * (epochs - row["epoch"])
    return (
        f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}"
        f"  train loss {row['train_loss']:.3f} top-1 {100 * row['train_top1']:.1f} %"
        f"  val loss {row['val_loss']:.3f} top-1 {100 * row['val_top1']:.1f} % top-5 {100 * row['val_top5']:.1f} %"
        f"  lr {row['lr']:.2g}  {row['images_per_s']:.0f} img/s  {tqdm.format_interval(left)} left"
    )


class ProgressBar(Callback):
    """A live bar on a terminal, a line every half minute elsewhere."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._phase: tuple[int, str] | None = None
        self._printed = time.monotonic()

    def on_step(self, trainer: Trainer) -> None:
        s = trainer.state
        self._advance(trainer, "train", s.batch, len(trainer.train), "batch")
        if self._bar is not None and s.step % 10 == 0:
            trainer.read_sums()
            self._bar.set_postfix_str(f"loss {s.loss_sum / s.batch:.3f}")

    def on_evaluation_batch(self, trainer: Trainer, images: int) -> None:
        done = 0 if self._phase != (trainer.state.epoch, "val") else self._done + 1
        self._advance(trainer, "val", max(done, 1), len(trainer.val), "batch")

    def on_epoch(self, trainer: Trainer) -> None:
        self.close()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar, self._phase = None, None

    def _advance(self, trainer: Trainer, name: str, done: int, total: int, unit: str) -> None:
        phase = (trainer.state.epoch, name)
        if phase != self._phase:
            self.close()
            self._phase, self._begun, self._first = phase, time.monotonic(), done - 1
            title = f"epoch {trainer.state.epoch + 1}/{trainer.epochs} {name}"
            if sys.stderr.isatty():
                self._bar = tqdm(total=total, initial=done - 1, desc=title, unit=unit, leave=False)
        self._done = done
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
        elif time.monotonic() - self._printed > LINE_EVERY:
            self._printed = time.monotonic()
            left = (self._printed - self._begun) / (done - self._first) * (total - done)
            title = f"epoch {trainer.state.epoch + 1}/{trainer.epochs} {name}"
            warn(f"  {title} {done}/{total}, {tqdm.format_interval(left)} left in it")
