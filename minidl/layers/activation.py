"""Activations: ReLU, and two smoother relatives that also let something of negative numbers through."""

from __future__ import annotations

from collections.abc import Callable

from minidl.backend.arrays import Array
from minidl.kernels import kernels_for
from minidl.kernels.shapes import require_float, require_numbers
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


class LeakyReLU(Layer):
    """y = x where x > 0 and a x elsewhere, element by element; any shape. a is `negative_slope`.

    With a > 0 a unit whose inputs are all negative still has a gradient, so it can't die as with ReLU (a = 0).

    Backward:  dx = dy g(x),  g(x) = 1 where x > 0 and a elsewhere      (at x = 0 the slope counts as a, as in torch)
    Projection of a signal s, as ReLU's, with the leaky function in place of max(s, 0):
        gradient  s g(x)            guided  s g(x) g(s)            deconv  s g(s)

    Raises UsageError if a is not a finite number.
    Source: Maas, Hannun & Ng, Rectifier nonlinearities improve neural network acoustic models, 2013, section 2.
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        require_numbers("LeakyReLU", negative_slope=negative_slope)
        self.negative_slope = float(negative_slope)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Array | None]:
        require_float("LeakyReLU", x)
        y, mask = kernels_for(x).leaky_relu(x, self.negative_slope)
        return y, (mask if ctx.keeps_cache else None)

    def input_grad(self, dy: Array, cache: Array) -> Array:
        return kernels_for(dy).leaky_relu_dx(dy, cache, self.negative_slope)

    def project(self, s: Array, cache: Array, rule: Rule | str) -> Array:
        rule = as_rule(rule)
        if rule.name == "gradient":
            return self.input_grad(s, cache)
        rectified, _ = kernels_for(s).leaky_relu(s, self.negative_slope)
        return rectified if rule.name == "deconv" else self.input_grad(rectified, cache)

    def __repr__(self) -> str:
        return f"LeakyReLU({self.negative_slope:g})"


class SiLU(Layer):
    """y = x sigmoid(x), element by element; any shape. Also called swish.

    It is smooth, close to x for large x and close to 0 for very negative x. In between it falls to -0.278, at x =
    -1.278.

    Backward:  with s = sigmoid(x) = 1 / (1 + exp(-x)) and s' = s (1 - s),
        dx = dy (s + x s') = dy s (1 + x (1 - s))
    Projection: a deconvnet or guided backpropagation lets only positive signals pass, as at a ReLU. The slope of SiLU
    takes the place of ReLU's mask, and may be negative:
        gradient  s dy/dx            guided  s dy/dx [s > 0]            deconv  s [s > 0]
    (silu(s) would depend on the signal's scale, which means nothing; silu(c s) / c becomes s [s > 0] for large c.)

    Source: Elfwing, Uchibe & Doya, Sigmoid-weighted linear units, 2018, equations 8 and 9.
    """

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Array | None]:
        require_float("SiLU", x)
        return kernels_for(x).silu(x), (x if ctx.keeps_cache else None)

    def input_grad(self, dy: Array, cache: Array) -> Array:
        return kernels_for(dy).silu_dx(dy, cache)

    project = ReLU.project  # its input_grad has SiLU's slope


ACTIVATIONS: dict[str, Callable[[], Layer]] = {"relu": ReLU, "leaky-relu": LeakyReLU, "silu": SiLU}  # of networks
