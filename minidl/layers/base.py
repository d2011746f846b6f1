"""What a layer is. Everything else in minidl builds on this file.

A layer is a function y = f(x) with learned parameters. Training changes the parameters so that a number, the loss L,
becomes smaller. For that it needs the gradient of L with respect to every parameter. In minidl, dy means dL/dy, an
array of y's shape: if y[i] grows by a small amount, L grows by dy[i] times this amount. `backward` takes dy and
computes dx = dL/dx, which is the dy of the layer before, and the gradients of the parameters.

`forward` returns the output *and* a cache: the values that the backward pass will need. The caller keeps the cache;
the layer stores nothing. So one layer can process two inputs, and the second forward pass doesn't change the first
one's cache. A cache may be x or y itself, not a copy: nobody may write into them before the backward pass.

A layer doesn't know its name either. Names are computed by walking down from the model, so a layer may be in two
models, or twice in one.
"""

from __future__ import annotations

from typing import Any

from minidl.backend.arrays import Array, array_module
from minidl.errors import UsageError
from minidl.layers.context import INFER, PROBE, TRAIN, Context, Mode, Rule, as_rule
from minidl.layers.naming import Named
from minidl.layers.parameter import Parameter

__all__ = ["INFER", "PROBE", "TRAIN", "Context", "Layer", "Mode", "Parameter", "Rule", "Shape", "as_rule"]

Shape = tuple[int, ...]


class Layer(Named):
    """Base class of all layers.

    There are three ways back through a layer:

        input_grad(dy, cache)         returns dx and changes nothing
        backward(dy, cache)           returns dx and adds the parameters' gradients; training uses it
        project(s, cache, rule)       returns a signal for pictures: dx, or what a deconvnet makes instead

    A leaf layer implements `forward` and `input_grad`; also `out_shape` if y has another shape than x, and `backward`
    if it has parameters. Shapes include the batch axis: activations are (N, H, W, C) or (N, C). An example:

        class Scale(Layer):
            '''y = x w, with one number w for each channel.'''

            def __init__(self, channels, dtype=np.float32):
                self.w = Parameter(np.ones(channels, dtype))

            def forward(self, x, ctx):
                return x * self.w.value, (x if ctx.keeps_cache else None)

            def backward(self, dy, cache, need_dx=True):
                self.w.grad += (dy * cache).sum(axis=tuple(range(dy.ndim - 1)))  # dw = sum of dy x
                return self.input_grad(dy, cache) if need_dx else None

            def input_grad(self, dy, cache):
                return dy * self.w.value

    A layer that contains other layers, a container, implements all of these methods and `project`. Its children are
    the layers in its attributes, unless it defines `children` and `with_children`. `residual.py` is an example.
    """

    def out_shape(self, in_shape: Shape) -> Shape:
        """The output's shape, computed from integers only. Raises ShapeError if `in_shape` doesn't fit.

        (In training a network with side heads has several outputs of this shape: see `SideHead`.)
        """
        if self.children():
            raise UsageError(f"{self.label}: a container needs an out_shape of its own")
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Any]:
        """Returns (y, cache); the cache is None in INFER mode."""
        raise UsageError(f"{self.label}: has no forward(self, x, ctx), which returns (y, cache)")

    def input_grad(self, dy: Array, cache: Any) -> Array:
        """Returns dx. Changes neither the cache nor the gradients of the parameters."""
        raise UsageError(f"{self.label}: has no input_grad(self, dy, cache), which returns dx")

    def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> Array | None:
        """Adds the parameters' gradients to every `params[...].grad`, and returns dx (None if it isn't needed).

        It adds (`+=`), because a layer may be used twice, and because gradients may come from several batches. Call
        it once for each forward pass, in TRAIN or PROBE mode: it may use up the cache.
        """
        if self.params or self.children():
            raise UsageError(f"{self.label}: needs a backward of its own, which adds to its parameters' gradients")
        return self.input_grad(dy, cache) if need_dx else None

    def project(self, s: Array, cache: Any, rule: Rule | str) -> Array:
        """Takes the signal `s` at the output one layer back towards the pixels. For PROBE caches only, which it
        doesn't change.

        By default this is the input gradient. The activations, BatchNorm2D and max pools do something else if `rule`
        says so. A container calls `project` of its children.
        """
        rule = as_rule(rule)
        if rule.name != "gradient" and self.children():
            raise UsageError(
                f"{self.label}: a container needs a project of its own for {rule.name}: input_grad, with the "
                "children's project(s, cache, rule) in place of their input_grad"
            )
        return self.input_grad(s, cache)

    def __call__(self, x: Array) -> Array:
        """y for the input x: a forward pass in INFER mode."""
        array_module(x)  # or it says what it is instead
        return INFER.run("", self, x)[0]
