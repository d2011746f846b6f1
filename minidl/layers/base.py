"""The layer contract. Everything else in minidl stands on this file.

A layer is a function with learned parameters. `forward` returns the output *and* a cache, the values its
backward pass will need. The cache is a value handed back to the caller, never hidden state: one layer can
serve two inputs, and a second forward does not spoil the first one's cache.

A layer doesn't know its name either. Names are computed by walking down from the model, so that a layer may stand
in two models, and twice in one.
"""

from __future__ import annotations

from typing import Any

from minidl.backend.arrays import Array
from minidl.errors import UsageError
from minidl.layers.context import INFER, PROBE, TRAIN, Context, Mode, Rule, as_rule
from minidl.layers.naming import Named
from minidl.layers.parameter import Parameter

__all__ = ["INFER", "PROBE", "TRAIN", "Context", "Layer", "Mode", "Parameter", "Rule", "Shape", "as_rule"]

Shape = tuple[int, ...]


class Layer(Named):
    """Base class of all layers.

    A leaf layer implements `out_shape`, `forward` and `input_grad`; one with parameters also `backward`.
    Shapes include the batch axis: activations are (N, H, W, C) or (N, C).

    A layer around other layers, a container, implements all four and `project`. Its children are the layers in its
    attributes, unless it says otherwise in `children` and `with_children`. See `residual.py` for one.
    """

    def out_shape(self, in_shape: Shape) -> Shape:
        """The output's shape, computed with integers only; raises ShapeError if `in_shape` does not fit."""
        if self.children():
            raise UsageError(f"{self.label}: a container needs an out_shape of its own")
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Any]:
        """Returns (y, cache); the cache is None in INFER mode."""
        raise UsageError(f"{self.label}: has no forward(self, x, ctx), which returns (y, cache)")

    def input_grad(self, dy: Array, cache: Any) -> Array:
        """dx from dy: a pure function that changes neither the cache nor the parameters' gradients."""
        raise UsageError(f"{self.label}: has no input_grad(self, dy, cache), which returns dx")

    def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> Array | None:
        """Adds into every `params[...].grad` and returns dx (None if not needed); may consume the cache.

        Right for TRAIN and for PROBE caches.
        """
        if self.params or self.children():
            raise UsageError(f"{self.label}: needs a backward of its own, which adds to its parameters' gradients")
        return self.input_grad(dy, cache) if need_dx else None

    def project(self, s: Array, cache: Any, rule: Rule | str) -> Array:
        """The signal `s` one layer back towards the pixels; PROBE caches only, which it never changes.

        The default is the input gradient. ReLU, BatchNorm2D and MaxPool2D differ, as `rule` says; a container asks
        its children, each of which may.
        """
        rule = as_rule(rule)
        if rule.name != "gradient" and self.children():
            raise UsageError(
                f"{self.label}: a container needs a project of its own for {rule.name}: input_grad, with the "
                "children's project(s, cache, rule) in place of their input_grad"
            )
        return self.input_grad(s, cache)

    def __call__(self, x: Array) -> Array:
        """The answer to x: a forward pass in INFER mode."""
        return self.forward(x, INFER)[0]
