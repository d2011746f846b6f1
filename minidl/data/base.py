"""What the rest of minidl knows of a data set: two or three splits of uint8 images, class ids and words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from minidl.errors import UsageError


class Split(Protocol):
    """The images of one part of a data set (train, val or test)."""

    labels: np.ndarray | None  # int64 (n,), positions in Dataset.classes; None where the labels are unknown

    def __len__(self) -> int: ...

    def images(self, indices: np.ndarray) -> np.ndarray:
        """The images at `indices` as uint8 (len(indices), H, W, 3), a new array; thread-safe.

        A user's own arrays may be floats, and have other channels.
        """
        ...


def positions(indices: ArrayLike, count: int) -> np.ndarray:
    """`indices` of some of `count` images as whole numbers; a mask, bool (count,), stands for those where it is True.

    Raises UsageError for other numbers, and for those of images that there aren't.
    """
    found = np.asarray(indices)
    if found.dtype == bool and found.shape == (count,):
        return np.flatnonzero(found)
    if found.size == 0 and found.dtype.kind == "f":  # an empty list
        found = found.astype(np.intp)
    if found.dtype.kind not in "iu":
        raise UsageError(
            f"indices are {found.dtype} of the shape {found.shape}: give positions, or a mask of {count} bools"
        )
    if found.size and not -count <= found.min() <= found.max() < count:
        raise UsageError(f"indices from {found.min()} to {found.max()}: there are {count} images")
    return found


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
