"""Projections back to the pixels, tile by tile: a few (image, unit) pairs go up the chain and down again in the
cache.

The plain layers do this for a batch: a PROBE pass, then `project` from layer to layer. Two things make it cheaper
here. BN uses its running statistics, so no image depends on another: each task takes its pairs the whole way, with BN
folded into the filters in both directions. And all pairs of one image share its way up: what the rules need from it
(where the pools' maxima were, and which ReLUs were open) is computed once (`Step.forward`) and used by each of them
(`Step.back`, whose `of` says which image a signal belongs to). Several rules share it as well: a task goes up once,
and down once for each rule.

The maxima are those after the ReLU, as in the plain layers. In a window without a positive value all pixels are 0,
the first one wins, and a deconvnet may send a signal through it. In flat parts of an image the pixels of a window
have equal positive values. The plain layers compute them in the same way and take the first; here rounding may make
the last digit differ, and the signal then goes to a neighbour. Everything else is equal to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from minidl.engine.blocks.block import Block
from minidl.engine.blocks.projection import BlockStep
from minidl.engine.chain import FusedSequential
from minidl.engine.stem.block import FusedStem
from minidl.engine.stem.projection import StemStep
from minidl.engine.tiles.grid import cut
from minidl.engine.tiles.runner import Scratch
from minidl.layers.base import PROBE, Layer, Rule, as_rule

Array = np.ndarray
Seed = Callable[[Array, slice], Array]  # see `project_pairs`

LEAST_TASKS = 4  # with more the threads share evenly, with fewer the products are larger
TASK_PAIRS = 4  # 8 and 16 are about as fast and take more working memory


class Step(Protocol):
    """A layer on the way of images up and of signals down; it holds what is the same for all tiles."""

    def forward(self, x: Array, scratch: Scratch) -> tuple[Array, Any]:
        """(y, cache) in PROBE mode, in scratch memory of this layer that lasts until the end of the task."""
        ...

    def back(self, s: Array, cache: Any, of: Array, rule: Rule, scratch: Scratch) -> Array:
        """The signals s one layer down; s may be overwritten. Signal j belongs to image of[j] of the cache, which
        doesn't change.
        """
        ...


class PlainStep:
    """Any layer without a faster form, one image at a time."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer

    def forward(self, x: Array, scratch: Scratch) -> tuple[Array, list]:
        ys, caches = zip(*(self.layer.forward(x[i : i + 1], PROBE) for i in range(len(x))), strict=True)
        return np.concatenate(ys), list(caches)

    def back(self, s: Array, cache: list, of: Array, rule: Rule, scratch: Scratch) -> Array:
        return np.concatenate([self.layer.project(s[j : j + 1], cache[i], rule) for j, i in enumerate(of)])


def project_pairs(model: FusedSequential, x: Array, image: Array, seed: Seed, rule: Rule | str) -> Array:
    """The signals of some (image, unit) pairs at the pixels, (P, H, W, C): `forward` in PROBE mode, then `project`.

    x       (N, H, W, C) images
    image   int (P,) the position in x of each pair's image; pairs of one image should be neighbours
    seed    seed(a, pairs) gives the signals at the model's output for a slice of the pairs, from the outputs a of
            their images; called by several threads
    """
    return project_pairs_by(model, x, image, [(as_rule(rule), seed)])[0]


def project_pairs_by(model: FusedSequential, x: Array, image: Array, ways: Sequence[tuple[Rule, Seed]]) -> Array:
    """`project_pairs` by several rules, each with its seed: (ways, P, H, W, C), from one forward pass."""
    model.runner.begin(x.shape)
    with model.runner.lock:
        rules = tuple(rule for rule, _ in ways)
        key = x.shape[1:], x.dtype, rules
        steps = (
            model.kept.get(model, key, lambda: list(_steps(model, x, rules)))
            if model.kept
            else list(_steps(model, x, rules))
        )
    out = np.empty((len(ways), len(image), *x.shape[1:]), x.dtype)
    tiles = cut(0, len(image), max(1, min(len(image), LEAST_TASKS), -(-len(image) // TASK_PAIRS)))

    def task(i: int, lane: int, scratch: Scratch) -> None:
        images, of = np.unique(image[tiles[i]], return_inverse=True)
        a, caches = x[images], []
        for step in steps:
            a, cache = step.forward(a, scratch)
            caches.append(cache)
        for signals, (rule, seed) in zip(out, ways, strict=True):
            s = seed(a[of], tiles[i])
            for step, cache in zip(reversed(steps), reversed(caches), strict=True):
                s = step.back(s, cache, of, rule, scratch)
            signals[tiles[i]] = s

    model.runner.run(task, len(tiles))
    return out


def _steps(model: FusedSequential, x: Array, rules: Sequence[Rule]) -> Iterator[Step]:
    """The steps of a chain for images like x."""
    for layer in model.layers.values():
        if isinstance(layer, FusedSequential):
            yield from _steps(layer, x, rules)
        else:
            yield _step(layer, x, rules)
        x = np.broadcast_to(x.dtype.type(0), layer.out_shape(x.shape))  # a shape and a dtype, no memory


def _step(layer: Layer, x: Array, rules: Sequence[Rule]) -> Step:
    if isinstance(layer, FusedStem) and StemStep.fits(x, rules):
        return StemStep(layer, x, rules)
    if isinstance(layer, Block):
        return BlockStep(layer, x, rules)
    return PlainStep(layer)
