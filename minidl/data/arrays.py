"""A user's own arrays as a split of a data set."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from minidl.data.base import Split, positions
from minidl.errors import DataError, ShapeError

_CHANNELS = (1, 3, 4)  # gray, RGB, RGB with transparency


class ArraySplit:
    """Images (N, H, W, C), uint8 or floats, and their labels (N,), whole numbers from 0; None if unknown.

    The images are not copied; each batch is a new array. Raises ShapeError or DataError that says what is expected.
    """

    def __init__(self, images: ArrayLike, labels: ArrayLike | None = None) -> None:
        try:
            self._images = _checked_images(np.asarray(images))
        except ValueError as error:  # NumPy's, of a list of images that make no array
            if isinstance(error, ShapeError):
                raise
            raise ShapeError("images differ in shape: bring them all to one height and width") from error
        self.labels = None if labels is None else _checked_labels(np.asarray(labels), len(self._images))

    def __len__(self) -> int:
        return len(self._images)

    def images(self, indices: np.ndarray) -> np.ndarray:
        """The images at `indices`, in their own dtype."""
        return self._images[positions(indices, len(self))]


def as_split(data: Any) -> Split:
    """`data` itself if it is a split, or else the split of the arrays (images, labels)."""
    if hasattr(data, "images") and hasattr(data, "labels"):
        return data
    if hasattr(data, "train") and hasattr(data, "val"):
        raise DataError("a whole data set: take one of its splits, .train or .val")
    if isinstance(data, tuple) and len(data) == 2:
        return ArraySplit(*data)
    raise DataError(f"{type(data).__name__}: give a split of a data set, or the arrays (images, labels) as a tuple")


def _checked_images(images: np.ndarray) -> np.ndarray:
    shape, meant = images.shape, "images must be (N, H, W, C), channels last"
    if images.ndim and not len(images):
        raise ShapeError(f"there are no images: the array has the shape {shape}, and {meant}")
    if images.ndim == 3:
        raise ShapeError(f"images have the shape {shape}: {meant}. Give gray ones a channel: x[..., None]")
    if images.ndim != 4 or not images.size:
        raise ShapeError(f"images have the shape {shape}: {meant}")
    if shape[1] in _CHANNELS and shape[3] not in _CHANNELS:
        raise ShapeError(f"images have the shape {shape}, channels first: {meant}. Write x.transpose(0, 2, 3, 1)")
    require_pixels(images)
    return images


def require_pixels(images: np.ndarray) -> None:
    """Raises DataError unless they are uint8 or floats: other whole numbers would be taken for floats."""
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise DataError(
            f"images are {images.dtype}: give pixels 0 to 255 as uint8, x.astype(np.uint8), or floats as they are"
        )


def _checked_labels(labels: np.ndarray, images: int) -> np.ndarray:
    if labels.ndim == 2 and labels.shape[0] == images:
        table = "from a table with a column for each class, y.argmax(axis=1)"
        meant = "y[:, 0]" if labels.shape[1] == 1 else table
        raise ShapeError(
            f"labels have the shape {labels.shape}: give the number of its class for each image; {meant}"
        )
    if labels.shape != (images,):
        raise ShapeError(f"labels have the shape {labels.shape}: give one for each of the {images:,} images")
    if labels.dtype.kind not in "biuf":
        raise DataError(
            f"labels are {labels.dtype}, and must be whole numbers: classes, y = np.unique(y, return_inverse=True)"
        )
    whole = labels.astype(np.int64) if labels.dtype.kind != "f" or np.isfinite(labels).all() else None
    if whole is None or (wrong := np.flatnonzero((whole != labels) | (whole < -1))).size:
        value = labels[wrong[0]] if whole is not None else "NaN or infinite"
        raise DataError(f"a label is {value}: labels are whole numbers from 0, and -1 where it is unknown")
    return whole
