"""The activations whose output stays between two limits: the sigmoid and the hyperbolic tangent."""

from __future__ import annotations

from minidl.backend.arrays import Array
from minidl.kernels import kernels_for
from minidl.kernels.shapes import require_float
from minidl.layers.activation import ReLU
from minidl.layers.base import Context, Layer, Rule, as_rule


class Sigmoid(Layer):
    """y = 1 / (1 + exp(-x)), element by element, between 0 and 1; any shape. It makes a probability of a logit.

    Backward:  the slope is a function of y, so y is kept in place of x:  dx = dy y (1 - y)
    Projection: y is never negative, as after a ReLU, so a deconvnet's signal should not be either. The slope takes
    the place of ReLU's mask, as in SiLU:
        gradient  s y (1 - y)            guided  s y (1 - y) [s > 0]            deconv  s [s > 0]

    Source: Rumelhart, Hinton & Williams, Learning representations by back-propagating errors, 1986, equation 2.
    """

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Array | None]:
        require_float(self.label, x)
        y = kernels_for(x).sigmoid(x)
        return y, (y if ctx.keeps_cache else None)

    def input_grad(self, dy: Array, cache: Array) -> Array:
        return kernels_for(dy).sigmoid_dx(dy, cache)

    project = ReLU.project  # its input_grad has the sigmoid's slope


class Tanh(Layer):
    """y = tanh(x) = (exp(x) - exp(-x)) / (exp(x) + exp(-x)), element by element, between -1 and 1; any shape.

    Backward:  the slope is a function of y, so y is kept in place of x:  dx = dy (1 - y^2)
    Projection: a deconvnet rectifies its signal because maps after a ReLU have no negative values. Those after a tanh
    have both signs, and so has the signal:
        gradient  s (1 - y^2)            guided  s (1 - y^2)            deconv  s

    Source: LeCun et al., Efficient backprop, 1998, section 4.4.
    """

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Array | None]:
        require_float(self.label, x)
        y = kernels_for(x).tanh(x)
        return y, (y if ctx.keeps_cache else None)

    def input_grad(self, dy: Array, cache: Array) -> Array:
        return kernels_for(dy).tanh_dx(dy, cache)

    def project(self, s: Array, cache: Array, rule: Rule | str) -> Array:
        return s if as_rule(rule).name == "deconv" else self.input_grad(s, cache)
