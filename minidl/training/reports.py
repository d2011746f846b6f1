"""What a training shows and writes while it runs: a bar, lines, metrics and a figure. None of it is essential."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from minidl.text.progress import Progress
from minidl.training.callbacks import attempt
from minidl.training.runs import Run
from minidl.training.trainer import Callback, Trainer


class Records(Callback):
    """After every epoch: one line on the screen, metrics.csv and figures/history.png. If one fails, training
    continues.

    draw    (path, history, title) -> None, draws the figure
    """

    def __init__(self, run: Run, title: str, draw: Callable[[Path, list[dict[str, Any]], str], None]) -> None:
        self.run, self.title, self.draw = run, title, draw

    def on_epoch(self, trainer: Trainer) -> None:
        self.run.say(epoch_line(trainer.state.history[-1], trainer.epochs))
        self.write(trainer.state.history)

    def write(self, history: list[dict[str, Any]]) -> None:
        """Rewrites the files from `history`, which every checkpoint contains too."""
        attempt(self.run.say, "metrics.csv", lambda: self.run.write_metrics(history))
        attempt(self.run.say, "history.png", lambda: self._draw(history))

    def _draw(self, history: list[dict[str, Any]]) -> None:
        self.draw(self.run.folder("figures") / "history.png", history, self.title)


def epoch_line(row: dict[str, Any], epochs: int) -> str:
    """One epoch in one line; the time left assumes that the epochs to come take as long as those before."""
    left = row["seconds"] / row["epoch"] * (epochs - row["epoch"])
    return (
        f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}"
        f"  train loss {row['train_loss']:.3f} top-1 {100 * row['train_top1']:.1f} %"
        f"  val loss {row['val_loss']:.3f} top-1 {100 * row['val_top1']:.1f} % top-5 {100 * row['val_top5']:.1f} %"
        f"  lr {row['lr']:.2g}  {row['images_per_s']:.0f} img/s  {tqdm.format_interval(left)} left"
    )


class ProgressBar(Callback):
    """The progress of the epoch: of its training, then of its evaluation; `Progress` shows it."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._phase: tuple[int, str] | None = None

    def on_step(self, trainer: Trainer) -> None:
        s = trainer.state
        progress = self._at(trainer, "train", s.batch, len(trainer.train))
        if progress.live and s.step % 10 == 0:
            trainer.read_sums()
            progress.note(f"loss {s.loss_sum / s.batch:.3f}")

    def on_evaluation_batch(self, trainer: Trainer, images: int) -> None:
        begun = self._progress is not None and self._phase == (trainer.state.epoch, "val")
        self._at(trainer, "val", self._progress.done + 1 if begun else 1, len(trainer.val))

    def on_epoch(self, trainer: Trainer) -> None:
        self.close()

    def close(self) -> None:
        if self._progress is not None:
            self._progress.close()
        self._progress = self._phase = None

    def _at(self, trainer: Trainer, name: str, batch: int, batches: int) -> Progress:
        """The progress of this phase of the epoch, moved on to `batch`."""
        phase = (trainer.state.epoch, name)
        if self._progress is None or phase != self._phase:
            self.close()
            title = f"epoch {trainer.state.epoch + 1}/{trainer.epochs} {name}"
            self._phase, self._progress = phase, Progress(title, batches, "step", batch - 1, leave=False)
        self._progress.add(batch - self._progress.done)
        return self._progress
