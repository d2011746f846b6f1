"""How good a model is on a split: loss, top-1, top-5, and which classes it confuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from minidl.backend.arrays import Array, on_device, to_device, to_host
from minidl.data.loader import Loader
from minidl.engine.prepare import keep
from minidl.errors import UsageError
from minidl.layers.base import INFER, Layer
from minidl.losses import softmax_cross_entropy, top_k_correct
from minidl.parallel.communicator import ALONE, Communicator
from minidl.parallel.deal import collect, dealt


@dataclass
class Evaluation:
    """The figures of one pass over a split; accuracies are fractions of its images."""

    images: int
    loss: float  # mean cross-entropy without label smoothing
    top1: float
    top5: float
    confusion: np.ndarray  # int64 (K, K): [true class, predicted class] -> images

    @property
    def class_accuracy(self) -> np.ndarray:
        """Top-1 per class, (K,); NaN for a class without images."""
        with np.errstate(invalid="ignore"):
            return self.confusion.diagonal() / self.confusion.sum(axis=1)

    def worst_confusions(self, most: int = 10) -> list[tuple[int, int, int]]:
        """(true class, predicted class, images), the most frequent mistakes first."""
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
        return [(int(t), int(p), int(wrong[t, p])) for t, p in pairs if wrong[t, p]]


def predict(
    model: Layer, loader: Loader, xp: ModuleType = np, comm: Communicator = ALONE
) -> Iterator[tuple[Array, Array]]:
    """(logits, labels) of every batch, on the device. The ranks of `comm` share the work, and each gets all of it."""
    if not hasattr(loader, "epoch"):
        raise UsageError(f"got a {type(loader).__name__}: give a Loader, of arrays Loader((images, labels), 32, ...)")
    keep(model)
    own = on_device(dealt(loader, comm), xp)
    for logits, y in collect(((model.forward(x, INFER)[0], y) for x, y in own), loader, comm):
        yield to_device(logits, xp), to_device(y, xp)


def evaluate(
    model: Layer,
    loader: Loader,
    xp: ModuleType = np,
    on_batch: Callable[[int], None] = lambda images: None,
    comm: Communicator = ALONE,
) -> Evaluation:
    """Runs `model` on the images of `loader`, with running statistics.

    `on_batch` is called with the number of images after each batch. The ranks of `comm` share the batches; each gets
    the figures of all images, with the bits that one process gets.
    """
    loss = top1 = top5 = 0
    true, predicted = [], []
    for logits, y in predict(model, loader, xp, comm):
        loss = loss + softmax_cross_entropy(logits, y)[0].astype(np.float64) * len(y)
        top1 = top1 + top_k_correct(logits, y, 1)
        top5 = top5 + top_k_correct(logits, y, 5)
        true.append(y)
        predicted.append(logits.argmax(axis=1))
        on_batch(len(y))
    true, predicted = (to_host(xp.concatenate(part)) for part in (true, predicted))
    classes, n = logits.shape[1], len(true)
    confusion = np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)
    return Evaluation(n, float(loss) / n, int(top1) / n, int(top5) / n, confusion)
