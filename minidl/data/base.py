"""What the rest of minidl knows of a data set: two or three splits of uint8 images, class ids and words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


class Split(Protocol):
    """The images of one part of a data set (train, val or test)."""

    labels: np.ndarray | None  # int64 (n,), positions in Dataset.classes; None where the labels are unknown

    def __len__(self) -> int: ...

    def images(self, indices: np.ndarray) -> np.ndarray:
        """The images at `indices` as uint8 (len(indices), H, W, 3), a new array; thread-safe.

        A user's own arrays may be floats, and have other channels.
        """
        ...


@dataclass
class Dataset:
    """A classification data set.

    `classes` are ids in the order of the labels, `words` their readable names.
    """

    name: str
    classes: list[str]
    words: list[str]
    image_shape: tuple[int, int, int]
    train: Split
    val: Split
    test: Split | None = None
    notes: dict[str, int] = field(default_factory=dict)  # counts worth printing, e.g. {"gray train images": 1821}
