"""Parts of a split: chosen images, a share of every class, a held-out share."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from minidl.data.arrays import as_split
from minidl.data.base import Dataset, Split, positions
from minidl.data.classes import find_classes
from minidl.errors import UsageError, require_whole


class Subset:
    """The images of `split` at `indices`, in that order, as a Split; with `gray` and `sums` if the split has them."""

    def __init__(self, split: Split | tuple[ArrayLike, ArrayLike | None], indices: ArrayLike) -> None:
        self.split = as_split(split)
        self.indices = positions(indices, len(self.split))
        self.labels, self.gray, self.sums = (
            None if (values := getattr(self.split, name, None)) is None else values[self.indices]
            for name in ("labels", "gray", "sums")
        )

    @property
    def names(self) -> list[str]:
        return [self.split.names[i] for i in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def images(self, indices: np.ndarray) -> np.ndarray:
        return self.split.images(self.indices[positions(indices, len(self))])


def subset(split: Split | tuple[ArrayLike, ArrayLike | None], fraction: float, seed: int) -> Subset:
    """`fraction` (0, 1] of every class of `split`, at least one image each; depends on `seed` only.

    The images of a smaller fraction are among those of a larger one.
    """
    if not 0 < fraction <= 1:
        raise UsageError(f"a subset of {fraction}: choose a fraction above 0, up to 1")
    split = as_split(split)
    return Subset(split, _share(split, fraction, seed, "subset"))


def split_off(
    split: Split | tuple[ArrayLike, ArrayLike | None],
    fraction: float,
    seed: int,
    classes: Sequence[str] | None = None,
) -> tuple[Subset, Subset]:
    """(rest, held out): `fraction` (0, 1) of every class of `split` is held out, at least one image each.

    Raises UsageError naming a class (by its number, or by its id in `classes`) that would have no image left.
    """
    if not 0 < fraction < 1:
        raise UsageError(f"{fraction} held out: choose a fraction between 0 and 1")
    split = as_split(split)
    out = _share(split, fraction, seed, "split_off")
    rest = np.setdiff1d(np.arange(len(split)), out)
    lost = np.setdiff1d(split.labels[split.labels >= 0], split.labels[rest])
    if len(lost):
        name = lost[0] if classes is None else classes[lost[0]]
        raise UsageError(
            f"{100 * fraction:g} % held out for validation leaves no training image of class {name}: "
            "hold out less, or add images to train/ or a folder val/"
        )
    return Subset(split, rest), Subset(split, out)


def only_classes(dataset: Dataset, text: str) -> Dataset:
    """`dataset` with only the classes in the list `text` (see `find_classes`), renumbered in that order.

    A split without labels stays whole; of others, images whose label is unknown (-1) are left out.
    Raises UsageError for a class that isn't there, or if there are fewer than two.
    """
    chosen = find_classes(text, dataset.classes, dataset.words)
    return choose_classes(dataset, chosen, text)


def choose_classes(dataset: Dataset, chosen: list[int], said: str) -> Dataset:
    """`dataset` with only the classes at the positions `chosen`, renumbered; `said` is what the user typed."""
    if len(chosen) < 2:
        raise UsageError(f"classes {said!r}: a classifier needs at least 2")
    number = np.full(len(dataset.classes), -1)
    number[chosen] = np.arange(len(chosen))

    def part(split: Split | None) -> Split | None:
        if split is None or split.labels is None:
            return split
        those = Subset(split, np.flatnonzero((split.labels >= 0) & (number[split.labels] >= 0)))
        those.labels = number[those.labels]
        return those

    return replace(
        dataset,
        name=f"{dataset.name} (classes {said})",
        classes=[dataset.classes[c] for c in chosen],
        words=[dataset.words[c] for c in chosen],
        **{name: part(getattr(dataset, name)) for name in ("train", "val", "test")},
    )


def _share(split: Split, fraction: float, seed: int, purpose: str) -> np.ndarray:
    """Positions, sorted: all images are put into one random order, and the first part of each class is taken."""
    if split.labels is None:
        raise UsageError("these images have no labels: a part of every class can't be taken")
    require_whole("seed", seed)
    order = np.random.default_rng([seed, zlib.crc32(purpose.encode())]).permutation(len(split))
    by_class = order[np.argsort(split.labels[order], kind="stable")]
    bounds = np.flatnonzero(np.diff(split.labels[by_class])) + 1
    parts = np.split(by_class, bounds)
    return np.sort(np.concatenate([part[: max(1, round(fraction * len(part)))] for part in parts]))
