"""A chain of layers for INFER mode, which takes a few images at a time through all of its layers.

If the layers run one after the other, every map of the whole batch is written to memory and read again, and the
threads wait for each other at every layer. In INFER mode no image depends on another (BN uses its running
statistics). So each task takes some images from the first layer to the last: no thread waits, and the maps stay in
the cache. Early maps are large and late ones small, so the images of a task go through the early layers a few at a
time, and through later layers together (`_stages`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import copy, deepcopy
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from minidl import layers
from minidl.backend.arrays import Array
from minidl.engine.blocks.fused import Fused
from minidl.engine.recordings.recorder import Recorder
from minidl.engine.recordings.recording import Recordings
from minidl.engine.tile_layer import TileLayer
from minidl.engine.tiles.grid import cut
from minidl.engine.tiles.runner import ONE_BLAS_THREAD, Scratch, TileRunner
from minidl.errors import within
from minidl.kernels.shapes import require_float
from minidl.layers import Sequential
from minidl.layers.base import INFER, Context, Layer, Mode
from minidl.layers.containers import require_pass
from minidl.layers.heads import spine

TASK_IMAGES = 16
FEW = 16  # images, of which there are only two tasks
STAGE_NUMBERS = 1 << 18  # numbers at a layer's input or output that are worked on at once, at most
IMAGE_BY_IMAGE = (
    *(layers.LeakyReLU, layers.ReLU, layers.SiLU, layers.AvgPool2D, layers.BatchNorm2D, layers.Dropout),
    *(layers.Flatten, layers.GlobalAvgPool, layers.Linear, layers.MaxPool2D),
    *(layers.GeneralConv2D, layers.GeneralMaxPool2D, layers.GeneralAvgPool2D, layers.AdaptiveAvgPool2D),
    *(layers.Sigmoid, layers.Tanh),
)


class Step(NamedTuple):
    """One layer of the chain, for images of one size."""

    layer: Layer
    folded: Any  # what its `fold` returned
    images: int  # how many at once
    shape: tuple[int, ...]  # of its output for one image


class Folded:
    """What a chain needs of its weights, and the recordings that were made with it."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps, self.recordings = steps, Recordings()


class FusedSequential(TileLayer, Sequential):
    """A Sequential that, in INFER mode, takes tiles of images through all of its layers if all of them can."""

    wiring = "chain"

    def __init__(
        self, layers: Mapping[str, Layer], runner: TileRunner, unnamed: frozenset[str] = frozenset()
    ) -> None:
        super().__init__(layers)
        self.runner, self.unnamed = runner, unnamed
        self.attributes: dict[str, Any] = {}  # of the Sequential that it was made from, if they are its own

    def with_children(self, children: Mapping[str, Layer]) -> FusedSequential:
        new = super().with_children(children)
        new.kept = copy(self.kept)
        return new

    def forward(self, x: Array, ctx: Context) -> tuple[Array, list | None]:
        require_pass(self, x, ctx)
        if ctx.mode is not Mode.PROBE:
            self.runner.begin(x.shape)
        return ONE_BLAS_THREAD.during(lambda: self._forward(x, ctx))

    def _forward(self, x: Array, ctx: Context) -> tuple[Array, list | None]:
        if ctx.mode is Mode.INFER and _tiled(self):
            require_float(self.label, x)
            return self._infer(x), None
        with self.runner.whole_pass():
            if self.kept and ctx.training:
                self.kept.drop()
            return super().forward(x, ctx)

    def backward(self, dy: Array, cache: list, need_dx: bool = True) -> Array | None:
        gradient = [dy]
        del dy  # see Sequential.backward
        return ONE_BLAS_THREAD.during(lambda: self._backward(gradient, cache, need_dx))

    def _backward(self, gradient: list[Array], cache: list, need_dx: bool) -> Array | None:
        with self.runner.whole_pass():
            return super().backward(gradient.pop(), cache, need_dx)

    def _infer(self, x: Array) -> Array:
        tiles = _tiles(len(x))
        with self.runner.lock:  # not in the middle of a training pass
            folded = self.folded(x)
            shelves = {images: folded.recordings.shelf(x[:images]) for images in {t.stop - t.start for t in tiles}}
        y = np.empty((len(x), *folded.steps[-1].shape) if folded.steps else x.shape, x.dtype)
        if not len(x):
            return y

        def infer(part: Array, scratch: Scratch) -> Array:
            return self.infer_tile(part, folded, scratch)

        def task(i: int, lane: int, scratch: Scratch) -> None:
            part = x[tiles[i]]
            if shelf := shelves[len(part)]:
                shelf.infer(infer, part, y[tiles[i]])
            else:
                y[tiles[i]] = infer(part, scratch)

        if len(tiles) == 1 and shelves[len(x)]:
            shelves[len(x)].infer(infer, x, y)  # the runner alone would take a fiftieth of the time of one image
        else:
            self.runner.run(task, len(tiles))
        return y

    def fold(self, x: Array) -> Folded:
        """Every layer's folded weights, and how many images it takes at once."""
        steps = []
        for name, layer in self.layers.items():
            layer = _used(layer)
            with within(self.level(name)):
                y = np.broadcast_to(x.dtype.type(0), layer.out_shape(x.shape))  # a shape and a dtype, no memory
            images = max(1, STAGE_NUMBERS // max(1, math.prod(x.shape[1:]), math.prod(y.shape[1:])))
            if isinstance(layer, Fused):
                layer.require_own_parts()
            folded = layer.fold(x) if isinstance(layer, TileLayer) else None
            steps.append(Step(layer, folded, images, y.shape[1:]))
            x = y
        # A layer takes no more images than the layers after it, so images are only ever joined, never split.
        for i in range(len(steps) - 2, -1, -1):
            steps[i] = steps[i]._replace(images=min(steps[i].images, steps[i + 1].images))
        return Folded(steps)

    def infer_tile(self, x: Array, folded: Folded, scratch: Scratch) -> Array:
        """y of some images, in scratch memory."""
        for number, (images, stage) in enumerate(groupby(folded.steps, key=lambda step: min(step.images, len(x)))):
            stage, parts, joined = list(stage), range(0, len(x), max(1, images)), None
            for start in parts:
                part = x[start : start + images]
                for step in stage:
                    part = _infer(step, part, scratch)
                if len(parts) == 1:
                    joined = part
                    break
                if joined is None:
                    joined = scratch(f"stage {number} of {id(self)}", (len(x), *part.shape[1:]), part.dtype)
                joined[start : start + images] = part
            if joined is not None:
                x = joined
        return x


def _infer(step: Step, x: Array, scratch: Scratch) -> Array:
    if isinstance(scratch, Recorder):
        if plain := type(step.layer) in IMAGE_BY_IMAGE:  # its calls hold its arrays, which others may ask for
            step = step._replace(layer=deepcopy(step.layer))
        return scratch.layer(partial(_by_layer, step), x, plain or isinstance(step.layer, Fused | FusedSequential))
    return _by_layer(step, x, scratch)


def _by_layer(step: Step, x: Array, scratch: Scratch) -> Array:
    if isinstance(step.layer, TileLayer):
        return step.layer.infer_tile(x, step.folded, scratch)
    return step.layer.forward(x, INFER)[0]


def _tiled(layer: Layer) -> bool:
    """Whether the layer can take the images of a batch a few at a time; for a user's own layer this isn't known."""
    layer = _used(layer)
    if isinstance(layer, FusedSequential):
        return all(_tiled(child) for child in layer.layers.values())
    return isinstance(layer, TileLayer) or type(layer) in IMAGE_BY_IMAGE


def _used(layer: Layer) -> Layer:
    """What INFER mode runs of the layer: of one with a head that only helps in training, the rest."""
    while layer.training_only and (names := spine(layer)):
        layer = layer.children()[names[0]]
    return layer


def _tiles(images: int) -> list[slice]:
    """The batch in tiles. One image is a tile alone; small batches are two tiles, because few images make small
    products.
    """
    return cut(0, images, max(1, -(-images // TASK_IMAGES), min(images, 2 if images < FEW else 4)))
