"""Rectified linear unit."""

from __future__ import annotations

from minidl.backend.arrays import Array
from minidl.kernels import kernels_for
from minidl.layers.base import Context, Layer, Rule


class ReLU(Layer):
    """y = max(x, 0); any shape.

    Backward:  dx = dy [x > 0]          (at x = 0 the subgradient 0, as torch)
    Projection of a signal R:  gradient R [x > 0],   guided R [x > 0] [R > 0],   deconv R [R > 0].

    Sources: Nair & Hinton 2010; for the projections Zeiler & Fergus 2013 section 2.1 and Springenberg et al.
    2015 section 3.4.
    """

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Array | None]:
        y, mask = kernels_for(x).relu(x)
        return y, (mask if ctx.keeps_cache else None)

    def input_grad(self, dy: Array, cache: Array) -> Array:
        return kernels_for(dy).relu_dx(dy, cache)

    def project(self, s: Array, cache: Array, rule: Rule) -> Array:
        if rule.name == "gradient":
            return self.input_grad(s, cache)
        rectified = s * (s > 0)
        return rectified if rule.name == "deconv" else self.input_grad(rectified, cache)
