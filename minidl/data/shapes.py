"""The embedded data set `shapes`: 20 classes of coloured forms and textures, drawn when they are first asked for.

It needs no download and trains to over 90 % in minutes on a CPU. It has the features that the paper looks for in its
network: colour blobs, oriented edges, poles, stripes, flags. Image i of a split depends on (seed, split, i) only: not
on the images drawn before it, nor on the thread, nor on the number of images.
"""

from __future__ import annotations

import numpy as np

from minidl.data.base import Dataset, positions
from minidl.data.shapes_draw import SIZE, draw_kind
from minidl.data.shapes_figures import KINDS
from minidl.errors import UsageError

TRAIN_IMAGES = 4000
VAL_IMAGES = 1000
SPLITS = ("train", "val")  # the position is part of the random seed: append only


def draw(seed: int, split: str, index: int) -> np.ndarray:
    """Image `index` of `split` ("train" or "val") as uint8 (64, 64, 3); its label is index % 20."""
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    return draw_kind(KINDS[index % len(KINDS)], rng)


class ShapesSplit:
    """`count` images, each drawn when it is first used, and then kept (12 KiB each)."""

    def __init__(self, seed: int, split: str, count: int) -> None:
        self.seed, self.split = seed, split
        self.labels = np.arange(count, dtype=np.int64) % len(KINDS)
        self._drawn = np.zeros(count, dtype=bool)
        self._pixels = np.empty((count, SIZE, SIZE, 3), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, indices: np.ndarray) -> np.ndarray:
        """The images at `indices` as uint8 (len(indices), 64, 64, 3), a new array; thread-safe."""
        # No lock: threads that meet at one image write the same bytes, and its mark follows its pixels.
        indices = positions(indices, len(self))
        for i in indices[~self._drawn[indices]].tolist():
            self._pixels[i] = draw(self.seed, self.split, i)
            self._drawn[i] = True
        return self._pixels[indices]


def load_shapes(train: int = TRAIN_IMAGES, val: int = VAL_IMAGES, seed: int = 0) -> Dataset:
    """The data set with `train` and `val` images. Image i has class i mod 20.

    Raises UsageError for a split without images or a negative seed.
    """
    if train < 1 or val < 1:
        raise UsageError(f"shapes with {train} train and {val} val images: each must be at least 1")
    if seed < 0:
        raise UsageError(f"shapes with seed {seed}: it must be 0 or more")
    return Dataset(
        name="shapes",
        classes=[f"s{k:02d}" for k in range(len(KINDS))],
        words=[kind.words for kind in KINDS],
        image_shape=(SIZE, SIZE, 3),
        train=ShapesSplit(seed, "train", train),
        val=ShapesSplit(seed, "val", val),
    )
