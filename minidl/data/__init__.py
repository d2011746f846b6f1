"""Data sets, from the file to the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minidl.data.arrays import ArraySplit
from minidl.data.augment import OnlineAugment, PaperAugment
from minidl.data.base import Dataset, Split
from minidl.data.check import Report, check_data
from minidl.data.crops import ResizedCrops
from minidl.data.download import download
from minidl.data.loader import Loader, channel_statistics, denormalise, normalise
from minidl.data.naming import SHAPES, portable, resolve
from minidl.data.packed import default_cache, open_packed
from minidl.data.shapes import SIZE, load_shapes
from minidl.data.subset import Subset, only_classes, split_off, subset
from minidl.errors import UsageError, require_whole

__all__ = [
    "ArraySplit",
    "Dataset",
    "Loader",
    "OnlineAugment",
    "PaperAugment",
    "Report",
    "ResizedCrops",
    "Split",
    "Subset",
    "channel_statistics",
    "check_data",
    "default_cache",
    "denormalise",
    "download",
    "load_dataset",
    "load_shapes",
    "normalise",
    "only_classes",
    "open_packed",
    "portable",
    "resolve",
    "split_off",
    "subset",
]

HELD_OUT = 0.1  # of every class, where a folder of images has no val
NO_VAL = "train images held out for validation, there being no val"  # the note of such a data set


def load_dataset(
    name_or_path: str | Path,
    *,
    gray: str = "convert",
    image_size: int = 64,
    cache: str | Path | None = None,
    seed: int = 0,
    held_out: float = HELD_OUT,
    progress: bool = True,
) -> Dataset:
    """The embedded data set, or the one at a path: Tiny ImageNet or train/<class>/ folders, as a folder or an
    archive.

    The string "shapes" always means the embedded one; a Path, "./shapes" and "shapes/" are paths.

    gray          "convert" gray images to RGB, or "skip" those of the training set
    image_size    height and width to which images are resized; Tiny ImageNet and "shapes" have 64
    cache         folder for the packed form; None: `default_cache`
    seed          chooses the images of `shapes`, and the images that are held out if there is no val
    held_out      the share of every class of train that is held out then

    Raises DataError for data that can't be read, and UsageError for arguments that make no sense.
    """
    if gray not in ("convert", "skip"):
        raise UsageError(f"gray is {gray!r}: choose convert or skip")
    require_whole("image_size", image_size, 1)
    require_whole("seed", seed)
    if name_or_path == SHAPES:  # a string: a Path is never equal to one
        if image_size != SIZE:
            raise UsageError(f"image size {image_size}: the images of {SHAPES} are drawn in {SIZE}x{SIZE}, no other")
        return load_shapes(seed=seed)
    data = open_packed(name_or_path, image_size=image_size, cache=cache, progress=progress)
    if data.val is None:
        data.train, data.val = split_off(data.train, held_out, seed, data.classes)
        data.notes[NO_VAL] = len(data.val)
    if gray == "skip":
        data.train = Subset(data.train, np.flatnonzero(~data.train.gray))
        if len(data.train) == 0:
            raise UsageError(f"{name_or_path}: all training images are gray, nothing is left with --gray skip")
    return data
