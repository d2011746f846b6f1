"""Inference without preparing the weights anew: a model that keeps what its composites make of them.

In INFER mode a composite multiplies BN's factor into its filters and transforms them for Winograd (`fold`). At batch
size 1 this takes half of the time, and comes out the same every time. A prepared model does it once for each size of
image, and again when a weight or a running statistic has changed.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import numpy as np

from minidl.engine.blocks.fused import Fused
from minidl.engine.chain import FusedSequential
from minidl.engine.fuse import fuse
from minidl.layers.base import Layer
from minidl.layers.parameter import Snapshot

Array = np.ndarray

SIZES = 2  # of images, of which the folded weights are kept: those of training and evaluation, for example


def prepare(model: Layer, threads: int = 0) -> Layer:
    """`model` for inference with the same weights again and again: `fuse(model, threads)`, or a fused model itself.

    It keeps the folded weights of the last two sizes of images until its next training pass. They take about four
    times the memory of the weights. The results don't change, and a weight may change between any two passes: by an
    optimizer's step, by `load`, by `p.value[...] = `, or through a view of it. The next pass notices and folds anew.
    That nothing has changed takes some microseconds to see. Only where others refer to a weight, such as a variable
    of yours, its numbers are compared with a copy.
    """
    return keep(fuse(model, threads))


def keep(model: Layer) -> Layer:
    """`model`, whose fused parts keep their folded weights from now on; a plain model has none."""
    for _, layer in model.places():
        if isinstance(layer, Fused | FusedSequential) and layer.kept is None:
            layer.kept = Kept()
    return model


class Kept:
    """What one layer's `fold` returned, as long as the weights in it stay the same."""

    def __init__(self) -> None:
        self._seen: Seen | None = None
        self._folded: dict[tuple, Any] = {}  # by size of image and dtype, the last used at the end

    def __reduce__(self) -> tuple:
        return Kept, ()  # a copy of a model has weights of its own

    def drop(self) -> None:
        self._folded, self._seen = {}, None

    def of(self, layer: Fused | FusedSequential, x: Array) -> Any:
        """layer.fold(x), perhaps from an earlier call. One thread at a time."""
        if self._seen is None or not self._seen.holds(layer):
            self.drop()
            self._seen = Seen(layer)  # before `fold` reads them: what is written from now on is noticed
        key = x.shape[1:], x.dtype
        folded = self._folded.pop(key) if key in self._folded else layer.fold(x)
        self._folded[key] = folded
        while len(self._folded) > SIZES:
            del self._folded[next(iter(self._folded))]
        return folded


class Seen:
    """The weights, running statistics and settings in the composites at or below a layer, as they are now."""

    def __init__(self, layer: Layer) -> None:
        self._children = list(layer)
        composites = [at for _, at in layer.places() if isinstance(at, Fused)]
        leaves = {id(leaf): leaf for composite in composites for leaf in composite.plain.leaves()}.values()
        self._weights = [Snapshot(p) for leaf in leaves for p in leaf.params.values()]
        self._settings = [(vars(leaf), dict(vars(leaf))) for leaf in leaves]
        self._statistics = [(leaf.buffers, name, b.tobytes()) for leaf in leaves for name, b in leaf.buffers.items()]

    def holds(self, layer: Layer) -> bool:
        """Whether `layer` has the same layers, and these the same settings and, bit for bit, the same numbers."""
        return (
            all(a is b for a, b in zip_longest(layer, self._children))
            and all(now == then for now, then in self._settings)
            and all(weight.holds() for weight in self._weights)
            and all(buffers[name].tobytes() == seen for buffers, name, seen in self._statistics)
        )
