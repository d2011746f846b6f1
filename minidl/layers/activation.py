"""Rectified linear unit."""

from __future__ import annotations

from minidl.backend.arrays import Array
from minidl.kernels import kernels_for
from minidl.layers.base import Context, Layer, Rule, as_rule


class ReLU(Layer):
    """y = max(x, 0), element by element; any shape.

    [condition] is 1 where the condition holds and 0 elsewhere.

    Backward:  dx = dy [x > 0]      (at x = 0, where the slope jumps, it counts as 0, as in torch)
    Projection, which makes the pictures of docs/visualization.md: a signal s of y's shape goes back to x as
        gradient  s [x > 0]            guided  s [x > 0] [s > 0]            deconv  s [s > 0]

    Sources: Nair & Hinton 2010; for the projections Zeiler & Fergus 2013 section 2.1 and Springenberg et al.
    2015 section 3.4.
    """

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Array | None]:
        y, mask = kernels_for(x).relu(x)
        return y, (mask if ctx.keeps_cache else None)

    def input_grad(self, dy: Array, cache: Array) -> Array:
        return kernels_for(dy).relu_dx(dy, cache)

    def project(self, s: Array, cache: Array, rule: Rule | str) -> Array:
        rule = as_rule(rule)
        if rule.name == "gradient":
            return self.input_grad(s, cache)
        rectified = s * (s > 0)
        return rectified if rule.name == "deconv" else self.input_grad(rectified, cache)
