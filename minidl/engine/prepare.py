"""Inference without preparing the weights anew: a model that keeps what its composites make of them.

In INFER mode a composite multiplies BN's factor into its filters and transforms them for Winograd (`fold`). At batch
size 1 this takes half of the time, and comes out the same every time. A prepared model does it once for each size of
image, and again when a weight or a running statistic has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from copy import copy
from typing import Any

import numpy as np

from minidl.engine.blocks.fused import Fused
from minidl.engine.chain import IMAGE_BY_IMAGE, FusedSequential
from minidl.engine.fuse import fuse
from minidl.engine.tiles.runner import TileRunner
from minidl.layers.base import Layer
from minidl.layers.parameter import Snapshot

Array = np.ndarray

SIZES = 2  # of images, of which the folded weights are kept: those of training and evaluation, for example


def prepare(model: Layer, threads: int = 0, runner: TileRunner | None = None) -> Layer:
    """`model` for inference with the same weights again and again: `fuse(model, threads, runner)`, or a fused model
    itself.

    It keeps the folded weights of the last two sizes of images until its next training pass. They take about four
    times the memory of the weights. From the third pass with images and batches of one size on, it also keeps the
    arrays of that pass (see `recordings/`): as much as a pass takes anyway, for the last three sizes of tiles.

    The results don't change, bit for bit. A weight may change between any two passes: by an optimizer's step, by
    `load`, by `p.value[...] = `, or through a view of it. The next pass notices and folds anew. That nothing has
    changed takes some microseconds to see. Only where others refer to a weight, such as a variable of yours, its
    numbers are compared with a copy.
    """
    return keep(fuse(model, threads, runner))


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
        self._made: dict[Hashable, Any] = {}  # by size of image and dtype, the last used at the end

    def __reduce__(self) -> tuple:
        return Kept, ()  # a copy of a model has weights of its own

    def drop(self) -> None:
        self._made, self._seen = {}, None

    def of(self, layer: Fused | FusedSequential, x: Array) -> Any:
        """layer.fold(x), perhaps from an earlier call. One thread at a time."""
        return self.get(layer, (x.shape[1:], x.dtype), lambda: layer.fold(x))

    def get(self, layer: Fused | FusedSequential, key: Hashable, make: Callable[[], Any]) -> Any:
        """make(), perhaps from an earlier call with this key. One thread at a time."""
        if self._seen is None or not self._seen.holds():
            self.drop()
            self._seen = Seen(layer)  # before weights are read: what is written from now on is noticed
        made = self._made.pop(key) if key in self._made else make()
        self._made[key] = made
        while len(self._made) > SIZES:
            del self._made[next(iter(self._made))]
        return made


class Seen:
    """The weights, running statistics and settings at or below a layer as they are now, but in a user's own layers.

    Raises UsageError if a part of a composite was replaced.
    """

    def __init__(self, layer: Layer) -> None:
        below = [at for _, at in layer.places()]
        composites = [at for at in below if isinstance(at, Fused)]
        for composite in composites:
            composite.require_own_parts()
        alone = [at for at in below if type(at) in IMAGE_BY_IMAGE]
        leaves = {id(leaf): leaf for at in (*alone, *(c.plain for c in composites)) for leaf in at.leaves()}.values()
        parts = [at.layers for at in below if isinstance(at, FusedSequential)] + [leaf.params for leaf in alone]
        parts += [part for composite in composites for part in composite.parts]
        parts += [now for now in map(vars, leaves) if len(now) > 2]  # with settings beside params and buffers
        self._parts = list({id(part): part for part in parts if part}.values())
        self._were = [copy(part) for part in self._parts]
        self._weights = Snapshot(p for leaf in leaves for p in leaf.params.values())
        self._statistics = [(leaf.buffers, name) for leaf in leaves for name in leaf.buffers]
        self._numbers = self._statistics_now()

    def holds(self) -> bool:
        """Whether these are the same layers, with the same settings and, bit for bit, the same numbers."""
        return self._parts == self._were and self._weights.hold() and self._numbers == self._statistics_now()

    def _statistics_now(self) -> bytes:
        return np.concatenate([of[name] for of, name in self._statistics] or [[]], axis=None).tobytes()
