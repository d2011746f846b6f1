"""What a table of confusions says of each class: precision, recall and F1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall and F1 of each class, (K,) each, as fractions; and the number of its images.

    With the table C of confusions, C[t, p] images of class t taken for p:

        precision_c = C[c, c] / sum_t C[t, c]     of the images that were taken for c, those that are c
        recall_c    = C[c, c] / sum_p C[c, p]     of the images of c, those that were taken for it: its accuracy
        F1_c        = 2 C[c, c] / (sum_t C[t, c] + sum_p C[c, p])                  the harmonic mean of the two

    Where nothing is divided by nothing, the value is 0, as in scikit-learn's classification_report.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    images: np.ndarray
    predicted: np.ndarray  # images that were taken for the class

    def macro(self) -> dict[str, float]:
        """The means over classes of precision, recall and F1, in which all classes count alike. As in scikit-learn,
        a class that has no images, and that no image was taken for, is left out.
        """
        there = self.images + self.predicted > 0
        columns = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return {name: float(column[there].mean()) for name, column in columns.items()}


def class_scores(confusion: np.ndarray) -> ClassScores:
    """The scores of a table of confusions, (K, K) counts: [true class, predicted class]."""
    right, images, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall, f1 = (
        _share(part, whole) for part, whole in ((right, predicted), (right, images), (2 * right, images + predicted))
    )
    return ClassScores(precision, recall, f1, images, predicted)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return part / np.maximum(whole, 1)  # of no images no part is right: 0 / 1
