"""The numbers of a training for a logger: TensorBoard's, or any other object that takes `log(values, step)`."""

from __future__ import annotations

import time
from typing import Any, Protocol

from minidl.clipping import gradient_norm
from minidl.errors import UsageError, require_whole
from minidl.text.console import warn
from minidl.training.callbacks import Harmless
from minidl.training.trainer import READ_EVERY, Callback, Trainer


class Logger(Protocol):
    """What takes the numbers, such as a run of Weights & Biases: run = wandb.init(...)."""

    def log(self, values: dict[str, float], *, step: int) -> Any:
        """Takes some values by name, and the number of the step after which they were measured."""
        ...


class Logging(Harmless):
    """A callback of the Trainer that gives its numbers to `logger`: Trainer(..., callbacks=[Logging(logger)]).

        step/loss             mean over the epoch's steps since the last value        every `every` steps
        step/lr               learning rate of the step
        step/images_per_s     since the last such value, without evaluation and the first batch of an epoch
        step/gradient_norm    of all learning parameters, before it is clipped
        train/loss, train/top1, val/loss, val/top1, val/top5, epoch               after every epoch

    `step` is the number of steps so far. Reading the loss waits for a GPU, which the Trainer does every 20 steps
    anyway. A logger that fails never stops the training: `say` gets one line (by default it goes to the screen), and
    the logger is not called again. Raises UsageError for an object without `log`.
    """

    def __init__(self, logger: Logger, every: int = READ_EVERY, say: Any = warn) -> None:
        if isinstance(logger, type) or not callable(getattr(logger, "log", None)):
            raise UsageError(f"Logging: the logger is {logger!r:.60}: give an object with log(values, step=...)")
        require_whole("Logging: every", every, 1)
        super().__init__(_Numbers(logger, every), say, type(logger).__name__)


class _Numbers(Callback):
    def __init__(self, logger: Logger, every: int) -> None:
        self.logger, self.every = logger, every
        self._since: tuple[int, float] | None = None  # batches of this epoch and loss_sum at the last look
        self._timed: tuple[int, float] = (0, 0.0)  # batches of this epoch, and when they were done

    def on_step(self, trainer: Trainer) -> None:
        s = trainer.state
        if s.batch == 1:
            self._since, self._timed = (0, 0.0), (1, time.monotonic())
        if self._since is not None and s.step % self.every:
            return
        trainer.read_sums()
        before, self._since = self._since, (s.batch, s.loss_sum)
        (timed, then), self._timed = self._timed, (s.batch, time.monotonic())
        if before is None:  # amid a resumed epoch there was no look before
            return
        optimizer = trainer.optimizer
        norm = gradient_norm(optimizer.params.values()) if optimizer.norm is None else optimizer.norm
        values = {
            "loss": (s.loss_sum - before[1]) / (s.batch - before[0]),
            "lr": trainer.schedule(s.step - 1),
            "gradient_norm": norm,
        }
        if s.batch > timed:
            values["images_per_s"] = (s.batch - timed) * trainer.train.batch_size / max(self._timed[1] - then, 1e-9)
        self.logger.log({f"step/{name}": float(value) for name, value in values.items()}, step=s.step)

    def on_epoch(self, trainer: Trainer) -> None:
        self._since = None
        row = trainer.state.history[-1]
        self.logger.log(epoch_values(row), step=trainer.state.step)


def epoch_values(row: dict[str, Any]) -> dict[str, float]:
    """The numbers of an epoch by the names that loggers get, from its row in metrics.csv."""
    names = ("train_loss", "train_top1", "val_loss", "val_top1", "val_top5")
    return {name.replace("_", "/"): row[name] for name in names} | {"epoch": row["epoch"]}
