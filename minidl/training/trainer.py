"""The training loop. It knows nothing of files, screens and signals; callbacks do that."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from minidl.backend.arrays import Array, on_device
from minidl.data.loader import Loader
from minidl.errors import DivergedError, UsageError, require_whole
from minidl.layers.base import Context, Layer, Mode
from minidl.losses import label_ranks, main_head, softmax_cross_entropy, top_k_correct
from minidl.losses.protocol import Loss, call_loss
from minidl.optim import Optimizer
from minidl.parallel.communicator import ALONE
from minidl.parallel.step import DataParallel
from minidl.schedules import Schedule
from minidl.storage.weights import model_arrays
from minidl.training.arguments import check, check_batches, check_rest
from minidl.training.averaging import WeightAverage
from minidl.training.evaluation import evaluate

READ_EVERY = 20  # how many steps pass before the loss is read: on a GPU each reading waits for the device


@dataclass
class TrainState:
    """Where a run is. With the weights and the optimizer's arrays, this is all that a resumed run needs."""

    epoch: int = 0  # whole epochs done
    batch: int = 0  # batches done in this epoch
    step: int = 0  # batches done in all
    loss_sum: float = 0.0  # sum of the batch losses of this epoch
    correct: int = 0  # images of this epoch whose label came first
    best_epoch: int = 0
    best_top1: float = -1.0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)  # the rows of metrics.csv


class Callback:
    """Is called after every step and every epoch; each method is optional."""

    def on_step(self, trainer: Trainer) -> None: ...

    def on_evaluation_batch(self, trainer: Trainer, images: int) -> None: ...

    def on_epoch(self, trainer: Trainer) -> None: ...


class Trainer:
    """Trains `model` on `train`, evaluates it on `val` after every epoch, and calls the `callbacks`.

    One step, for the batch (x, y) at rate schedule(step):

        logits, cache = model.forward(x)          loss, dlogits = softmax_cross_entropy(logits, y)
        model.backward(dlogits, cache)            optimizer.step(rate)

    A `loss` (logits, labels) -> (loss, dlogits) takes the place of softmax_cross_entropy; minidl.losses has some.
    Logits are those of one head (N, K), or of several (N, heads, K) with the main one first, and dlogits has their
    shape. Images whose label is below 0 have none: they count neither as right nor as wrong. Evaluation takes the
    cross-entropy, whatever the loss.

    With an `average`, the averaged weights are the ones that are evaluated, and saved for use. With `parallel`, each
    of several processes computes a part of every batch, and all of them have the same weights and state.

    Everything random depends on (seed, epoch, step) only, so a run that continues from a saved `state` ends in the
    same bits. Raises DivergedError if a loss isn't finite, of the training or the validation, or the dlogits of
    a `loss`; UsageError for an argument that is another thing, for an optimizer without the model's parameters (those
    tagged "frozen" aside), for side heads without a loss over them, and for images to validate without labels.
    """

    def __init__(
        self,
        model: Layer,
        optimizer: Optimizer,
        schedule: Schedule,
        train: Loader,
        val: Loader,
        *,
        epochs: int,
        loss: Loss | None = None,
        label_smoothing: float = 0.0,
        patience: int = 0,
        seed: int = 0,
        xp: ModuleType = np,
        average: WeightAverage | None = None,
        parallel: DataParallel | None = None,
        state: TrainState | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        check(model, optimizer, schedule, train, val, epochs, loss, callbacks)
        check_rest(model, label_smoothing, xp, average, parallel, state)
        require_whole("patience", patience)
        require_whole("seed", seed)
        if loss is not None and label_smoothing:
            raise UsageError(
                "Trainer: label_smoothing is that of softmax_cross_entropy: give it to the loss, such as "
                f"loss=CrossEntropy(label_smoothing={label_smoothing})"
            )
        if parallel is not None:
            check_batches(parallel, train)
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.train, self.val, self.epochs = train, val, epochs
        self.loss, self.label_smoothing = loss, label_smoothing
        self.patience, self.seed, self.xp = patience, seed, xp
        self.average, self.parallel = average, parallel
        self.state = state or TrainState()
        self.callbacks = list(callbacks)
        self._started = time.monotonic() - self.state.seconds
        self._load_sums()

    def fit(self) -> TrainState:
        """Runs the epochs that are left; returns the state."""
        self._started = time.monotonic() - self.state.seconds  # not since it was made: that may be hours ago
        try:
            while not self.done:
                self.run_epoch()
        finally:
            self.elapsed()
        return self.state

    @property
    def done(self) -> bool:
        return self.state.epoch >= self.epochs or self.out_of_patience

    @property
    def out_of_patience(self) -> bool:
        return bool(self.patience) and self.state.epoch - self.state.best_epoch >= self.patience

    def run_epoch(self) -> None:
        """The rest of the current epoch, and its evaluation."""
        state, first, begun = self.state, self.state.batch, time.monotonic()
        part = {} if self.parallel is None else {"part": self.parallel.comm.share}
        for x, y in on_device(self.train.epoch(state.epoch, start=first, **part), self.xp):
            loss, correct = self.step(x, y)
            self._loss_sum += loss
            self._correct += correct
            state.batch += 1
            state.step += 1
            if self.average is not None:
                self.average.update(state.step)
            if state.step % READ_EVERY == 0:
                self.read_sums()
            self._tell("on_step")
        if state.batch == first < len(self.train):
            raise UsageError("Trainer: train gave no batch: its epoch(...) must begin anew each time")
        speed = (state.batch - first) * self.train.batch_size / max(time.monotonic() - begun, 1e-9)
        self.read_sums()
        self._finish_epoch(speed)

    def step(self, x: Array, y: Array) -> tuple[Array, Array]:
        """`train_step`, or what this trainer needs in its place."""
        if self.parallel is not None:
            return self.shared_step(x, y)
        return self.train_step(x, y) if self.loss is None else self.loss_step(x, y)

    def train_step(self, x: Array, y: Array) -> tuple[Array, Array]:
        """One update of the weights; returns the batch's loss and its number of right answers, on the device."""
        context = Context(Mode.TRAIN, self.seed, self.state.step)
        logits, cache = self.model.forward(x, context)
        loss, dlogits = softmax_cross_entropy(logits, y, self.label_smoothing)
        self.model.zero_grad()
        self.model.backward(dlogits, cache, need_dx=False)
        self.optimizer.step(self.schedule(self.state.step))
        return loss, top_k_correct(logits, y, 1)

    def loss_step(self, x: Array, y: Array) -> tuple[Array, Array]:
        """The same with a loss of one's own."""
        logits, cache = self.model.forward(x, Context(Mode.TRAIN, self.seed, self.state.step))
        loss, dlogits = call_loss(self.loss, logits, y)
        self.model.zero_grad()
        self.model.backward(dlogits, cache, need_dx=False)
        self.optimizer.step(self.schedule(self.state.step))
        return loss, (label_ranks(main_head(logits), y) == 0).sum()

    def shared_step(self, x: Array, y: Array) -> tuple[Array, Array]:
        """The same if x and y are this process's part of the batch, with either loss."""
        context = Context(Mode.TRAIN, self.seed, self.state.step)
        images = self.train.images_of(self.state.batch)
        numbers = self.parallel.gradients(x, y, images, context, self.label_smoothing, self.loss)
        self.optimizer.step(self.schedule(self.state.step))
        return numbers

    def _finish_epoch(self, images_per_s: float) -> None:
        state = self.state
        if self.parallel is not None:
            self.parallel.agree(self._statistics())
        with nullcontext() if self.average is None else self.average.used():
            comm = self.parallel.comm if self.parallel else ALONE
            result = evaluate(self.model, self.val, self.xp, lambda n: self._tell("on_evaluation_batch", n), comm)
        lr, top1 = self.schedule(state.step - 1), state.correct / max(self._labelled(), 1)
        if not math.isfinite(result.loss):  # NaN weights, after the last step too: nothing is saved of them
            raise DivergedError(
                f"the validation loss is {result.loss} after epoch {state.epoch + 1}: try a smaller "
                "learning rate (--lr)"
            )
        state.epoch += 1
        if result.top1 > state.best_top1:
            state.best_epoch, state.best_top1 = state.epoch, result.top1
        state.history.append(
            {
                "epoch": state.epoch,
                "train_loss": state.loss_sum / len(self.train),
                "train_top1": top1,
                "val_loss": result.loss,
                "val_top1": result.top1,
                "val_top5": result.top5,
                "lr": lr,
                "images_per_s": round(images_per_s, 1),
                "seconds": round(self.elapsed(), 1),
            }
        )
        state.batch, state.loss_sum, state.correct = 0, 0.0, 0
        self._load_sums()
        self._tell("on_epoch")

    def _statistics(self) -> list[Array]:
        """The running statistics of the model, and their averages."""
        parameters, arrays = self.model.named_parameters(), model_arrays(self.model)
        places = [arrays] if self.average is None else [arrays, self.average.averaged]
        running = [name for name, a in arrays.items() if name not in parameters and a.dtype.kind == "f"]
        return [place[name] for place in places for name in running]

    def elapsed(self) -> float:
        """Seconds that this run has taken, before interruptions too."""
        self.state.seconds = time.monotonic() - self._started
        return self.state.seconds

    def _labelled(self) -> int:
        """The images of this epoch that have a label."""
        if hasattr(self.train, "labelled"):
            return self.train.labelled(self.state.epoch)
        return len(self.train) * self.train.batch_size

    def read_sums(self) -> None:
        """Copies the running sums from the device into `state`; raises DivergedError if the loss isn't finite."""
        self.state.loss_sum, self.state.correct = float(self._loss_sum), int(self._correct)
        if not math.isfinite(self.state.loss_sum):
            what = "the loss is" if self.loss is None else "the loss or its gradient is"
            raise DivergedError(
                f"{what} not a number in epoch {self.state.epoch + 1}, within {READ_EVERY} steps before "
                f"step {self.state.step}: try a smaller learning rate (--lr)"
            )

    def _load_sums(self) -> None:
        self._loss_sum = self.xp.asarray(self.state.loss_sum, dtype=self.xp.float64)
        self._correct = self.xp.asarray(self.state.correct, dtype=self.xp.int64)

    def _tell(self, event: str, *details: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *details)
