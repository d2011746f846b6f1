"""Projection through a block: images go up through its stages, and signals down again.

On the way down a block unpools, applies the activation's rule, scales (unless the deconvnet skips BN) and filters,
stage by stage. The scale is in the filters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minidl.engine.blocks.activation import Activation
from minidl.engine.blocks.block import Block
from minidl.engine.tiles.runner import Scratch
from minidl.layers.base import Rule

Array = np.ndarray


def way_back(scale: Array, rule: Rule) -> Array:
    """BN's factor on the way down."""
    return np.ones_like(scale) if rule.name == "deconv" and rule.bn == "skip" else scale


def through(activation: Activation, s: Array, slope: Array, of: Array, rule: Rule) -> None:
    """The activation's rule, in place; s (p, ...) may be a channel slice, slope (n, ...) is f' of the images."""
    if rule.name != "gradient" and activation.gate:
        activation.gate(s)
    if rule.name != "deconv" or activation.gate is None:
        s *= slope[of]


class Up(NamedTuple):
    """What the way down needs of the images."""

    slopes: list[Array]  # of every stage's activation
    index: Array | None  # the pool's winners


class BlockStep:
    """See `projection.Step`."""

    def __init__(self, block: Block, x: Array, rules: Sequence[Rule]) -> None:
        self.block, self.x_shape, self.folded = block, x.shape, block.fold(x, pool_first=False)
        scales = [stage.folded()[0] for stage in (*block.stages, *block.around)]
        self.turned = {rule: block.weights([way_back(s, rule) for s in scales], True, x) for rule in rules}

    def forward(self, x: Array, scratch: Scratch) -> tuple[Array, Up]:
        slopes: list[Array] = []
        for stage, shape in zip(self.block.stages, self.folded.shapes, strict=True):
            name, activation = f"slope {len(slopes)} of {self.block.key}", stage.activation
            normed = len(x), *shape[:2], stage.bn.channels
            slopes.append(scratch(name, normed, activation.slope_dtype or x.dtype))
        y, index = self.block.up(x, self.folded, slopes, scratch)
        return y, Up(slopes, index)

    def back(self, s: Array, cache: Up, of: Array, rule: Rule, scratch: Scratch) -> Array:
        stages, key = self.block.stages, self.block.key
        if cache.index is not None:
            s, signal = scratch(f"unpooled {key}", (len(s), *self.folded.shapes[-1]), s.dtype), s
            s[...] = 0
            self.block.pool.add_gradient(signal, cache.index[of], s, scratch)
        through(stages[-1].activation, s, cache.slopes[-1], of, rule)
        around = s
        for i in reversed(range(len(stages))):
            shape = self.folded.shapes[i - 1] if i else self.x_shape[1:]
            below = scratch(f"signal below stage {i} of {key}", (len(s), *shape), s.dtype)
            stages[i].input_grad(s, self.turned[rule][i], below, scratch)
            if i:
                through(stages[i - 1].activation, below[..., stages[i - 1].normed], cache.slopes[i - 1], of, rule)
            s = below
        for stage in self.block.around:
            signal, around = around, scratch("signal around", s.shape, s.dtype)
            stage.input_grad(signal, self.turned[rule][-1], around, scratch)
        if self.block.shortcut:
            s += around
        return s
