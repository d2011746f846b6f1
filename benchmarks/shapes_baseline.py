"""How well a linear model classifies `shapes`: multinomial logistic regression on standardized pixels (scikit-learn).

    python -m benchmarks.shapes_baseline [--train N] [--val N] [--seed S]

A class that a linear function of the pixels can recognise needs no network. Compare a network with the figure printed
here: most of what the network adds is learned features.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from minidl.data.base import Dataset
from minidl.data.shapes import TRAIN_IMAGES, VAL_IMAGES, load_shapes

INVERSE_REGULARIZATION = (1e-6, 1e-5, 1e-4, 1e-3)  # scikit-learn's C
ITERATIONS = 100


def linear_predictions(dataset: Dataset) -> Iterator[tuple[float, np.ndarray]]:
    """For each C: (C, the predicted labels of `dataset.val`)."""
    train, val = (
        split.images(np.arange(len(split))).reshape(len(split), -1).astype(np.float32)  # (n, 64 * 64 * 3)
        for split in (dataset.train, dataset.val)
    )
    scaler = StandardScaler().fit(train)
    train, val = scaler.transform(train), scaler.transform(val)
    for c in INVERSE_REGULARIZATION:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the last C fits the training set long before
            model = LogisticRegression(C=c, max_iter=ITERATIONS).fit(train, dataset.train.labels)
        yield c, model.predict(val)


def main() -> None:
    parser = argparse.ArgumentParser(description="Logistic regression on the raw pixels of shapes.")
    parser.add_argument("--train", type=int, default=TRAIN_IMAGES)
    parser.add_argument("--val", type=int, default=VAL_IMAGES)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    start = time.perf_counter()
    dataset = load_shapes(args.train, args.val, args.seed)
    labels = dataset.val.labels
    best = 0.0
    for c, predictions in linear_predictions(dataset):
        right = predictions == labels
        print(f"C = {c:g}: validation accuracy {right.mean():.1%}")
        if right.mean() > best:
            best, best_right = right.mean(), right
    print(f"best: {best:.1%} of {len(labels)} images (chance: {1 / len(dataset.classes):.1%}), by class:")
    for label in np.unique(labels):
        print(f"  {dataset.words[label]:24s}{best_right[labels == label].mean():6.0%}")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
