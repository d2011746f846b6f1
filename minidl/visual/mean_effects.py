"""First-order effects as means: for every class that images are taken for, and for every mistake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from minidl.engine.tiles.runner import available_cores
from minidl.layers.base import Layer
from minidl.training.execution import one_blas_thread
from minidl.visual.effects import BATCH, first_order

Mistake = tuple[int, int]  # (true class, predicted class)


@dataclass
class MeanEffects:
    """First-order effects as means over many images.

    images      how many
    counts      int (classes,) how many are taken for each class
    predicted   by layer, float32 (classes, units): how the score of a class changes without the unit, over the images
                that are taken for the class; NaN without images
    mistakes    by (true class, predicted class), and then by layer, float32 (units,): by how much the unit raises
                the predicted class's score above the true one's, over the images with this mistake
    mistaken    by (true class, predicted class): how many images
    """

    images: int
    counts: np.ndarray
    predicted: dict[str, np.ndarray]
    mistakes: dict[Mistake, dict[str, np.ndarray]]
    mistaken: dict[Mistake, int]


def mean_effects(
    model: Layer,
    layers: Sequence[str],
    images: Callable[[np.ndarray], np.ndarray],
    predicted: np.ndarray,
    labels: np.ndarray,
    classes: int,
    *,
    mistaken_in: Sequence[str] | None = None,
    xp: ModuleType = np,
    threads: int = 0,
    on_batch: Callable[[int], None] = lambda images: None,
) -> MeanEffects:
    """The means of `first_order` over the images of a split.

    images      gives the normalized images (n, H, W, C) at some positions, in any thread
    predicted   int (N,) the class that each image is taken for
    labels      int (N,) its true class; -1 if it is unknown, and then it counts as rightly recognised
    mistaken_in    layers for whose units `mistakes` are wanted; None: all
    threads     that share the images (0: all cores; 1 with arrays other than NumPy's)

    `on_batch` is called with the number of images after each batch. The sums are made in the order of the images, so
    they don't depend on the threads.
    """
    predicted, labels = np.asarray(predicted), np.asarray(labels)
    wrong = (labels >= 0) & (labels != predicted)
    batches = [
        part[i : i + BATCH]
        for part in (np.flatnonzero(wrong), np.flatnonzero(~wrong))  # a mistake needs a second way back
        for i in range(0, len(part), BATCH)
    ]
    scores = np.eye(classes, dtype=np.float32)

    def effects(part: np.ndarray) -> dict[str, np.ndarray]:
        signals = [scores[predicted[part]]]
        if wrong[part[0]]:
            signals.append(signals[0] - scores[labels[part]])
        return first_order(model, layers, images(part), signals, xp=xp)

    by_class: dict[str, np.ndarray] = {}
    mistakes: dict[Mistake, dict[str, np.ndarray]] = {}
    pool = ThreadPoolExecutor((threads or available_cores()) if xp is np else 1)
    try:
        with one_blas_thread():
            for part, found in zip(batches, pool.map(effects, batches), strict=True):
                pairs = list(zip(labels[part].tolist(), predicted[part].tolist(), strict=True))
                for name, (own, *others) in found.items():
                    np.add.at(by_class.setdefault(name, np.zeros((classes, own.shape[1]))), predicted[part], own)
                    wanted = others and (mistaken_in is None or name in mistaken_in)
                    for pair, change in zip(pairs, *others, strict=True) if wanted else ():
                        mistakes.setdefault(pair, {}).setdefault(name, np.zeros(len(change)))[...] -= change
                on_batch(len(part))
    finally:
        pool.shutdown(cancel_futures=True)
    counts = np.bincount(predicted, minlength=classes)
    mistaken = Counter(zip(labels[wrong].tolist(), predicted[wrong].tolist(), strict=True))
    some = np.where(counts, counts, np.nan)[:, None]
    return MeanEffects(
        len(predicted),
        counts,
        {name: (total / some).astype(np.float32) for name, total in by_class.items()},
        {pair: {n: (a / mistaken[pair]).astype(np.float32) for n, a in m.items()} for pair, m in mistakes.items()},
        dict(mistaken),
    )
