"""How good a model is on a split: loss, top-k, and which classes it confuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from minidl.backend.arrays import Array, on_device, to_device, to_host
from minidl.data.loader import Loader
from minidl.engine.prepare import keep
from minidl.errors import UsageError, require_whole
from minidl.layers.base import INFER, Layer
from minidl.losses import label_ranks, softmax_cross_entropy
from minidl.parallel.communicator import ALONE, Communicator
from minidl.parallel.deal import collect, dealt
from minidl.training.metrics import ClassScores, class_scores


@dataclass
class Evaluation:
    """The figures of one pass over a split; accuracies are fractions of its images."""

    images: int
    loss: float  # mean cross-entropy without label smoothing
    ranks: np.ndarray  # int64 (K + 1,): [classes that are likelier than the true one] -> images; K: logits with a NaN
    confusion: np.ndarray  # int64 (K, K): [true class, predicted class] -> images

    def top_k(self, k: int) -> float:
        """The share of images whose class is among the k likeliest."""
        require_whole("k", k, 1)
        return int(self.ranks[: min(k, len(self.ranks) - 1)].sum()) / self.images

    @property
    def top1(self) -> float:
        return self.top_k(1)

    @property
    def top5(self) -> float:
        return self.top_k(5)

    @property
    def class_accuracy(self) -> np.ndarray:
        """Top-1 per class, (K,); NaN for a class without images."""
        with np.errstate(invalid="ignore"):
            return self.confusion.diagonal() / self.confusion.sum(axis=1)

    @property
    def classes(self) -> ClassScores:
        """Precision, recall and F1 of each class; `.macro()` has their means."""
        return class_scores(self.confusion)

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
    loss, true, predicted, ranks = 0, [], [], []
    for logits, y in predict(model, loader, xp, comm):
        loss = loss + softmax_cross_entropy(logits, y)[0].astype(np.float64) * len(y)
        true.append(y)
        ranks.append(label_ranks(logits, y))
        predicted.append(logits.argmax(axis=1))
        on_batch(len(y))
    if not true:
        raise UsageError("the loader gave no batch: its epoch(...) must begin anew each time")
    true, predicted, ranks = (to_host(xp.concatenate(part)) for part in (true, predicted, ranks))
    classes, n = logits.shape[1], len(true)
    pairs = true.astype(np.int64) * classes + predicted  # a loader of one's own may give uint8, and 2 * 200 is 144
    confusion = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    return Evaluation(n, float(loss) / n, np.bincount(ranks, minlength=classes + 1), confusion)
