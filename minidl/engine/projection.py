"""Projections back to the pixels, tile by tile: a few (image, unit) pairs go up the chain and down again in cache.

The plain layers do it for a batch: a PROBE pass, then `project` from layer to layer. Two things make it cheaper here.
BN has its running statistics, so nothing couples the images: each task takes its pairs all the way, with BN folded
into the filters in both directions. And the pairs of one image share its way up: what the rule needs of it, where
the pools' maxima stood and which ReLUs were open, is kept once (`Step.forward`) and used by each of them
(`Step.back`, whose `of` says which image a signal belongs to).

The maxima are those after the ReLU, as in the plain layers: windows without a positive value tie at 0, their first
pixel wins, and a deconvnet may send a signal through it. Where an image is flat, pixels of a window tie that are not
zero; the plain layers compute them alike and take the first, here rounding may tell them apart by the last digit, and
the signal goes to a neighbour. All else is equal to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from minidl.engine.blocks.conv_bn_relu import FusedConvBNReLU
from minidl.engine.blocks.inception import FusedInception
from minidl.engine.blocks.projection import ConvStep, InceptionStep
from minidl.engine.prepare import FusedSequential
from minidl.engine.stem.block import FusedStem
from minidl.engine.stem.projection import StemStep
from minidl.engine.tiles.runner import Scratch, tile_slices
from minidl.layers.base import PROBE, Layer, Rule, as_rule

Array = np.ndarray

TASK_PAIRS = 4  # 8 and 16 are about as fast and take more working memory


class Step(Protocol):
    """A layer on the way of some images up and of some signals down; holds what is the same for all tiles."""

    def forward(self, x: Array, scratch: Scratch) -> tuple[Array, Any]:
        """(y, cache) in PROBE mode, in scratch memory of this layer that lasts to the end of the task."""
        ...

    def back(self, s: Array, cache: Any, of: Array, scratch: Scratch) -> Array:
        """The signals s one layer down; s may be overwritten. Signal j belongs to image of[j] of the cache."""
        ...


class PlainStep:
    """Any layer without a faster form, image by image."""

    def __init__(self, layer: Layer, rule: Rule) -> None:
        self.layer, self.rule = layer, rule

    def forward(self, x: Array, scratch: Scratch) -> tuple[Array, list]:
        ys, caches = zip(*(self.layer.forward(x[i : i + 1], PROBE) for i in range(len(x))), strict=True)
        return np.concatenate(ys), list(caches)

    def back(self, s: Array, cache: list, of: Array, scratch: Scratch) -> Array:
        return np.concatenate([self.layer.project(s[j : j + 1], cache[i], self.rule) for j, i in enumerate(of)])


def project_pairs(
    model: FusedSequential, x: Array, image: Array, seed: Callable[[Array, slice], Array], rule: Rule | str
) -> Array:
    """The signals of some (image, unit) pairs at the pixels, (P, H, W, C): `forward` in PROBE mode, then `project`.

    x       (N, H, W, C) images
    image   int (P,) the position in x of each pair's image; pairs of one image should be neighbours
    seed    seed(a, pairs) gives the signals at the model's output for a slice of the pairs, from the outputs a of
            their images; called by several threads
    """
    model.runner.begin(x.shape)
    with model.runner.lock:
        steps = list(_steps(model, x, as_rule(rule)))
    out, tiles = np.empty((len(image), *x.shape[1:]), x.dtype), tile_slices(len(image), TASK_PAIRS)

    def task(i: int, accumulator: int, scratch: Scratch) -> None:
        images, of = np.unique(image[tiles[i]], return_inverse=True)
        a, caches = x[images], []
        for step in steps:
            a, cache = step.forward(a, scratch)
            caches.append(cache)
        s = seed(a[of], tiles[i])
        for step, cache in zip(reversed(steps), reversed(caches), strict=True):
            s = step.back(s, cache, of, scratch)
        out[tiles[i]] = s

    model.runner.run(task, len(tiles))
    return out


def _steps(model: FusedSequential, x: Array, rule: Rule) -> Iterator[Step]:
    """The steps of a chain for images like x."""
    for layer in model.layers.values():
        if isinstance(layer, FusedSequential):
            yield from _steps(layer, x, rule)
        else:
            yield _step(layer, x, rule)
        x = np.broadcast_to(x.dtype.type(0), layer.out_shape(x.shape))  # a shape and a dtype, no memory


def _step(layer: Layer, x: Array, rule: Rule) -> Step:
    if isinstance(layer, FusedStem) and StemStep.fits(x, rule):
        return StemStep(layer, x, rule)
    if isinstance(layer, FusedInception):
        return InceptionStep(layer, x, rule)
    if isinstance(layer, FusedConvBNReLU):
        return ConvStep(layer, x, rule)
    return PlainStep(layer, rule)
