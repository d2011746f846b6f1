"""One pass over a data set: finds the images that excite every unit most, and how well it separates classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType

import numpy as np

from minidl.backend.arrays import to_device, to_host
from minidl.data.loader import Loader
from minidl.errors import DivergedError, UsageError
from minidl.layers.base import Layer, Shape
from minidl.parallel.communicator import ALONE, Communicator
from minidl.parallel.deal import Result, collect, dealt
from minidl.visual.taps import NORMS, Taps

TOP = 9
MAPS = 32  # images whose maps are in memory at a time


@dataclass
class LayerProbe:
    """The results for one layer."""

    layer: str
    shape: Shape  # of one image's output: (H, W, C) or (K,)
    images: dict[
        str, np.ndarray
    ]  # by norm, int64 (units, TOP): positions in the split, best first; -1: no more images
    values: dict[str, np.ndarray]  # by norm, float32 (units, TOP): the norms of their maps; 0 where there is no image
    class_mean: np.ndarray  # float64 (units, classes): mean |a| over a class's maps; NaN for a class without images

    @property
    def units(self) -> int:
        return self.shape[-1]

    @cached_property
    def dead(self) -> np.ndarray:
        """Whether a unit is zero on every image, bool (units,)."""
        return np.all([values[:, 0] == 0 for values in self.values.values()], axis=0)

    @cached_property
    def best_class(self) -> np.ndarray:
        """The class with the largest mean, int64 (units,); -1 if no label is known."""
        known = ~np.isnan(self.class_mean)
        means = np.where(known, self.class_mean, -np.inf)
        return np.where(known.any(axis=1), means.argmax(axis=1), -1)

    @cached_property
    def selectivity(self) -> np.ndarray:
        """How much the best class stands out, float64 (units,) in [0, 1].

        0 for a dead unit, and if fewer than two classes have images.
        Source: Morcos et al., On the importance of single directions for generalization, 2018, section 2.3.
        """
        return self.class_selectivity.max(axis=1, initial=0)

    @cached_property
    def class_selectivity(self) -> np.ndarray:
        """How much each class c stands out, float64 (units, classes) in [-1, 1].

            (mu_c - mu_rest) / (|mu_c| + |mu_rest|),    mu_rest = mean over the other classes

        Classes without images don't count, and have 0 themselves. Only the means of single numbers, such as scores,
        can be below zero.
        """
        known = ~np.isnan(self.class_mean)
        mean, others = np.where(known, self.class_mean, 0), known.sum(axis=1, keepdims=True) - 1
        rest = (mean.sum(axis=1, keepdims=True) - mean) / np.maximum(others, 1)
        total = np.abs(mean) + np.abs(rest)
        defined = known & (total > 0) & (others > 0)
        return np.where(defined, (mean - rest) / np.where(defined, total, 1), 0)


def probe(
    model: Layer,
    layers: Sequence[str],
    loader: Loader,
    classes: int,
    *,
    norms: Sequence[str] = NORMS,
    xp: ModuleType = np,
    engine: str = "fused",
    threads: int = 0,
    on_batch: Callable[[int], None] = lambda images: None,
    on_norms: Callable[[str, int, np.ndarray], None] = lambda layer, first, norms: None,
    comm: Communicator = ALONE,
) -> dict[str, LayerProbe]:
    """For every unit of the `layers`: the TOP images by each of the `norms` of its map, and its mean activation per
    class.

        inf: max |a|,    l2: sqrt(sum a^2),    over the unit's map a: one number per image and unit
        both: a, if a is a single number, as the score of a class

    Equal images keep the order of the split, so the loader must not shuffle. `model` is a plain model with arrays of
    module `xp`; on NumPy it may run on the "fused" `engine`, with `threads` threads (0: all cores). `on_batch` is
    called with the number of images after each batch, and `on_norms` with a layer, a position, and the MapNorms
    (n, 3, units) of the images from there on. Memory: TOP numbers per unit and norm, one number per unit and class,
    the MapNorms of a batch and the maps of a few images. The ranks of `comm` share the batches; each gets the results
    for all images, with the bits that one process gets.

    Raises UsageError for an unknown layer or norm and for a loader that shuffles, DivergedError for an activation
    that is not a finite number.
    """
    for norm in norms:
        if norm not in NORMS:
            raise UsageError(f"unknown norm {norm!r}: choose {' or '.join(NORMS)}")
    require_order(loader)
    image_shape = loader.split.images(np.arange(1)).shape[1:]
    taps = Taps(model, layers, image_shape, engine if xp is np else "plain", threads)
    scans = {name: _Scan(shape[-1], classes, norms) for name, shape in taps.shapes.items()}

    def passed() -> Iterator[Result]:
        """Of each batch: the labels (n,) and the MapNorms (n, 3, units) of each layer."""
        for x, labels in dealt(loader, comm):
            parts = [dict(taps(to_device(x[i : i + MAPS], xp))) for i in range(0, len(x), MAPS)]
            yield labels, *(np.concatenate([to_host(part[name]) for part in parts]) for name in scans)

    seen = 0
    for labels, *found in collect(passed(), loader, comm):
        for (name, scan), sizes in zip(scans.items(), found, strict=True):
            if not np.isfinite(sizes).all():
                raise DivergedError(f"{name}: its activations are not finite numbers, so the network has diverged")
            scan.add(sizes.astype(np.float64), labels, seen)
            on_norms(name, seen, sizes)
        seen += len(labels)
        on_batch(len(labels))
    return {name: scans[name].result(name, shape) for name, shape in taps.shapes.items()}


def require_order(loader: Loader) -> None:
    """Raises UsageError if the loader shuffles: no result could be told which image of the split it belongs to."""
    if getattr(loader, "shuffle", False):
        raise UsageError("the loader shuffles, and the results are in the order of the split: give shuffle=False")


class _Scan:
    """The results of one layer so far."""

    def __init__(self, units: int, classes: int, norms: Sequence[str]) -> None:
        self.images = {norm: np.full((units, TOP), -1) for norm in norms}
        self.values = {norm: np.full((units, TOP), -np.inf) for norm in norms}
        self.sums, self.counts = np.zeros((units, classes)), np.zeros(classes)

    def add(self, sizes: np.ndarray, labels: np.ndarray, first: int) -> None:
        """Adds the MapNorms (n, 3, units) of the images from position `first` on."""
        for norm in self.images:
            new = sizes[:, NORMS.index(norm)].T  # (n, units) -> (units, n)
            values = np.hstack([self.values[norm], new])
            positions = np.broadcast_to(np.arange(first, first + len(sizes)), new.shape)
            # The sort is stable and earlier images come first, so equal values keep the order of the split.
            order = np.argsort(-values, axis=1, kind="stable")[:, :TOP]
            self.images[norm] = np.take_along_axis(np.hstack([self.images[norm], positions]), order, axis=1)
            self.values[norm] = np.take_along_axis(values, order, axis=1)
        members = (labels[:, None] == np.arange(len(self.counts))).astype(np.float64)  # (n, classes)
        self.sums += sizes[:, -1].T @ members
        self.counts += members.sum(axis=0)

    def result(self, layer: str, shape: Shape) -> LayerProbe:
        values = {norm: np.where(self.images[norm] < 0, 0, v).astype(np.float32) for norm, v in self.values.items()}
        with np.errstate(invalid="ignore"):
            return LayerProbe(layer, shape, self.images, values, self.sums / self.counts)
