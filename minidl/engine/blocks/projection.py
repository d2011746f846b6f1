"""Projection through convolution + BN + ReLU and through inception modules, each with its 2x2 max pool if it has one.

On the way down a block unpools, applies the ReLU's rule, scales (unless the deconvnet skips BN) and filters. The
windows of a 2x2 pool don't overlap, so the ReLU's rule may come first, on a quarter of the numbers. The scale is in
the filters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minidl.engine.blocks import batchnorm as bn
from minidl.engine.blocks.box import box_sum
from minidl.engine.blocks.conv_bn_relu import FusedConvBNReLU
from minidl.engine.blocks.epilogue import Epilogue
from minidl.engine.blocks.inception import FusedInception, conv_of
from minidl.engine.convolutions.choice import tile_conv
from minidl.engine.tiles.products import product
from minidl.engine.tiles.recycler import aligned_copy
from minidl.engine.tiles.runner import Scratch
from minidl.layers.base import Rule

Array = np.ndarray


def way_back(scale: Array, rule: Rule) -> Array:
    """BN's factor on the way down."""
    return np.ones_like(scale) if rule.name == "deconv" and rule.bn == "skip" else scale


def rectify(s: Array, y: Array, of: Array, rule: Rule) -> None:
    """The ReLU's rule, in place: s of any strides, y (n, ...) the ReLU's output."""
    if rule.name != "gradient":
        np.maximum(s, 0, out=s)
    if rule.name != "deconv":
        s *= (y > 0)[of]


class Output(NamedTuple):
    y: Array  # after ReLU, and the pool
    index: Array | None  # the pool's winners


class ProjectedEpilogue:
    """The epilogue of a block's convolutions: BN's shift, ReLU and perhaps the pool."""

    def __init__(self, epilogue: Epilogue, z_shape: tuple[int, ...], shift: Array, key: int) -> None:
        self.epilogue, self.key, self.z_shape = epilogue, key, z_shape
        self.shift = bn.per_row(shift, z_shape[2])

    def forward(self, z: Array, scratch: Scratch) -> tuple[Array, Output]:
        """From z, into which BN's scale is multiplied; z is overwritten."""
        bn.shift_relu(z, self.shift)
        if self.epilogue.pool is None:
            return z, Output(z, None)
        y = scratch(f"y of {self.key}", self.epilogue.pool.out_shape(z.shape), z.dtype)
        index = scratch(f"winners of {self.key}", y.shape, np.uint8)
        self.epilogue.pairs.forward(z, y, index, scratch)
        return y, Output(y, index)

    def back(self, s: Array, out: Output, of: Array, rule: Rule, scratch: Scratch) -> Array:
        rectify(s, out.y, of, rule)
        if out.index is None:
            return s
        wide = scratch(f"unpooled {self.key}", (len(s), *self.z_shape[1:]), s.dtype)
        wide[...] = 0
        self.epilogue.pairs.add_backward(s, out.index[of], wide, scratch)
        return wide


class ConvStep:
    """See `projection.Step`."""

    def __init__(self, layer: FusedConvBNReLU, x: Array, rules: Sequence[Rule]) -> None:
        self.layer, self.x_shape, self.z_shape = layer, x.shape, layer.conv.out_shape(x.shape)
        scale, shift = layer.epilogue.bn.folded()
        if layer.bias is not None:
            shift = shift + layer.bias.value * scale
        self.epilogue = ProjectedEpilogue(layer.epilogue, self.z_shape, shift, layer.key)
        conv, w = self._conv(x), layer.weight.value
        self.filters = conv.filters(w * scale)
        self.turned = {rule: conv.turned_filters(w * way_back(scale, rule)) for rule in rules}

    def forward(self, x: Array, scratch: Scratch) -> tuple[Array, Output]:
        z = scratch(f"z of {self.layer.key}", (len(x), *self.z_shape[1:]), x.dtype)
        self._conv(x).forward(x, self.filters, z, scratch)
        return self.epilogue.forward(z, scratch)

    def back(self, s: Array, cache: Output, of: Array, rule: Rule, scratch: Scratch) -> Array:
        s = self.epilogue.back(s, cache, of, rule, scratch)
        out = scratch(f"signal below {self.layer.key}", (len(s), *self.x_shape[1:]), s.dtype)
        self._conv(out).input_grad(s, self.turned[rule], out, scratch)
        return out

    def _conv(self, x: Array):
        conv = self.layer.conv
        return tile_conv(self.layer.weight.shape, conv.stride, conv.padding, x.shape, x.dtype)


class InceptionStep:
    """See `projection.Step`; `inception.py` for the products that the branches share."""

    def __init__(self, layer: FusedInception, x: Array, rules: Sequence[Rule]) -> None:
        self.layer, self.x_shape = layer, x.shape
        (reduce_scale, reduce_shift), (scale, shift) = layer.reduce_bn.folded(), layer.epilogue.bn.folded()
        self.z_shape = (*x.shape[:3], len(scale))
        self.epilogue = ProjectedEpilogue(layer.epilogue, self.z_shape, shift, layer.key)
        self.w1 = layer.split(layer.w1() * layer.inner(reduce_scale, scale))
        self.filters = [conv_of(b, x).filters(b.conv.value * scale[b.out]) for b in layer.convs]
        self.reduce_shift = bn.per_row(reduce_shift, x.shape[2])
        self.w1_back, self.turned = {}, {}
        for rule in rules:
            reduce_back, back = way_back(reduce_scale, rule), way_back(scale, rule)
            self.w1_back[rule] = aligned_copy((layer.w1() * layer.inner(reduce_back, back)).T)
            self.turned[rule] = [conv_of(b, x).turned_filters(b.conv.value * back[b.out]) for b in layer.convs]

    def forward(self, x: Array, scratch: Scratch) -> tuple[Array, tuple[Array, Output]]:
        hidden = scratch(f"hidden of {self.layer.key}", (*x.shape[:3], self.layer.reduce_bn.channels), x.dtype)
        z = scratch(f"z of {self.layer.key}", (len(x), *self.z_shape[1:]), x.dtype)
        self.layer.points(x, self.w1, hidden, z, scratch)
        bn.shift_relu(hidden, self.reduce_shift)
        self.layer.windows(hidden, self.filters, z, scratch)
        y, out = self.epilogue.forward(z, scratch)
        return y, (hidden, out)

    def back(self, s: Array, cache: tuple[Array, Output], of: Array, rule: Rule, scratch: Scratch) -> Array:
        hidden, out = cache
        s = self.epilogue.back(s, out, of, rule, scratch)
        inner = scratch("signal inside", (*s.shape[:3], self.layer.w1_shape[1]), s.dtype)
        dhidden = scratch("dhidden", (*s.shape[:3], hidden.shape[3]), s.dtype)
        for b in self.layer.direct:
            box_sum(s[..., b.out], b.pool, inner[..., b.inner], scratch)
        for b, turned in zip(self.layer.convs, self.turned[rule], strict=True):
            part = dhidden[..., b.inner]
            conv_of(b, part).input_grad(s[..., b.out], turned, part, scratch)
        rectify(dhidden, hidden, of, rule)
        inner[..., : hidden.shape[3]] = dhidden
        below = scratch(f"signal below {self.layer.key}", (len(s), *self.x_shape[1:]), s.dtype)
        rows = inner.reshape(-1, inner.shape[3])  # (p, H, W, C1) -> (P, C1)
        product(rows, self.w1_back[rule], below.reshape(len(rows), -1))
        return below
