"""What happens around the training loop: checkpoints, lines on the screen, metrics and figure, stopping."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

from minidl.training.checkpoints import About, save_checkpoint
from minidl.training.runs import Run
from minidl.training.trainer import Callback, Trainer

LINE_EVERY = 30.0  # seconds between progress lines where there is no terminal


class StopRequested(Exception):
    """Training was interrupted by the user, after its state was saved."""


class Checkpointer(Callback):
    """Saves `last` every few minutes and after every epoch, `best` when val top-1 rises, snapshots on request.

    `last` is written after everything else of an epoch: a run killed in between repeats the epoch's end and
    writes the same again. `stop()` makes it save after the current step and raise StopRequested.
    """

    def __init__(self, run: Run, about: About, minutes: float, snapshot_epochs: int = 0, keep: int = 0) -> None:
        self.run, self.about = run, about
        self.minutes, self.snapshot_epochs, self.keep = minutes, snapshot_epochs, keep
        self._saved, self._stop = time.monotonic(), False

    def stop(self) -> None:
        self._stop = True

    def on_step(self, trainer: Trainer) -> None:
        if self._stop or time.monotonic() - self._saved > 60 * self.minutes:
            self._save(trainer, "last")
        self._raise_if_stopped()

    def on_evaluation_batch(self, trainer: Trainer, images: int) -> None:
        if self._stop:  # the state says that all batches are done: a resumed run evaluates again
            self._save(trainer, "last")
        self._raise_if_stopped()

    def on_epoch(self, trainer: Trainer) -> None:
        epoch = trainer.state.epoch
        if trainer.state.best_epoch == epoch:
            self._save(trainer, "best", with_optimizer=False)
        if self.snapshot_epochs and epoch % self.snapshot_epochs == 0:
            self._save(trainer, f"epoch-{epoch:03d}")
            self._forget_old_snapshots()
        self._save(trainer, "last")
        self._raise_if_stopped()

    def _save(self, trainer: Trainer, name: str, with_optimizer: bool = True) -> None:
        save_checkpoint(self.run.checkpoint(name), trainer, self.about, with_optimizer)
        self._saved = time.monotonic()

    def _forget_old_snapshots(self) -> None:
        snapshots = sorted(self.run.checkpoints.glob("epoch-*.safetensors"))
        for old in snapshots[: -self.keep] if self.keep else []:
            old.unlink()
            self.run.say(f"deleted {old.name} (--keep {self.keep})")

    def _raise_if_stopped(self) -> None:
        if self._stop:
            raise StopRequested


class Records(Callback):
    """After every epoch: metrics.csv, figures/history.png and one line on the screen."""

    def __init__(self, run: Run, title: str) -> None:
        self.run, self.title = run, title

    def on_epoch(self, trainer: Trainer) -> None:
        from minidl.visual.figures import save_history  # matplotlib is slow to import

        history = trainer.state.history
        self.run.write_metrics(history)
        save_history(self.run.path / "figures" / "history.png", history, self.title)
        self.run.say(epoch_line(history[-1], trainer.epochs))


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
            print(f"  {title} {done}/{total}, {tqdm.format_interval(left)} left in it", file=sys.stderr, flush=True)
