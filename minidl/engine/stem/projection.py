"""Projection through a network's first layers: like `block.py` and `parity.py`, but without the statistics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minidl.engine.blocks.projection import way_back
from minidl.engine.stem.block import FusedStem, is_even
from minidl.engine.stem.parity import Maxima, add_patches, fill_patches, pool_blocks, to_winners
from minidl.engine.tiles.recycler import aligned_copy
from minidl.engine.tiles.runner import Scratch
from minidl.layers.base import Rule

Array = np.ndarray


class StemStep:
    """See `projection.Step`. Signals of windows that share a maximum add up before the ReLU's rule."""

    def __init__(self, layer: FusedStem, x: Array, rules: Sequence[Rule]) -> None:
        self.layer, self.x_shape = layer, x.shape
        self.filters = layer.fold(x)
        scale, _ = layer.bn.folded()
        w = layer.weight.value.reshape(-1, len(scale))  # (3, 3, C, F) -> (K, F)
        self.back_filters = {rule: aligned_copy(w * way_back(scale, rule)) for rule in rules}

    @staticmethod
    def fits(x: Array, rules: Sequence[Rule]) -> bool:
        return is_even(x.shape) and all(rule.name != "deconv" or rule.unpool == "sum" for rule in rules)

    def forward(self, x: Array, scratch: Scratch) -> tuple[Array, Maxima]:
        n, height, width, c = x.shape
        pixels = (height // 2 - 1) * (width // 2)
        y = scratch(f"y of {self.layer.key}", self.layer.plain.out_shape(x.shape), x.dtype)
        patches = scratch("stem patches", (n, 9 * c + 1, 4, pixels), x.dtype)
        names = iter(Maxima._fields)
        maxima = Maxima.new(y.shape, pixels, lambda shape, dtype: scratch(f"stem {next(names)}", shape, dtype))
        fill_patches(x, np.zeros(c, x.dtype), patches, scratch)
        for i in range(n):
            pool_blocks(patches[i], self.filters, y[i], maxima.of(i), scratch, relu=True)
        np.greater(y, 0, out=maxima.positive)
        return y, maxima

    def back(self, s: Array, cache: Maxima, of: Array, rule: Rule, scratch: Scratch) -> Array:
        filters = self.back_filters[rule]
        shape = len(s), len(filters), 4, cache.lower.shape[1]  # (p, K, 4, h w)
        dpatches = scratch("stem dpatches", shape, s.dtype)
        for j, i in enumerate(of):
            maxima = cache.of(i)
            positive = None if rule.name == "deconv" else maxima.positive
            for a, dz in enumerate(to_winners(s[j], maxima, positive, scratch)):
                if rule.name != "gradient":
                    np.maximum(dz, 0, out=dz)
                out = dpatches[j, :, 2 * a : 2 * a + 2].swapaxes(0, 1)  # (2, K, h w)
                np.matmul(filters, dz.swapaxes(1, 2), out=out)  # (K, F) @ (F, h w)
        below = scratch("signal below the stem", (len(s), *self.x_shape[1:]), s.dtype)
        add_patches(dpatches, below, scratch)
        return below
