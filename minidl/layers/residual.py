"""The residual block: a shortcut around some layers. It is also the shortest example of a container."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minidl.backend.arrays import Array
from minidl.errors import ShapeError, within
from minidl.layers.base import Context, Layer, Rule, Shape, as_rule
from minidl.layers.containers import Sequential, require_cache, require_dx, require_layer, require_pass


class Residual(Layer):
    """Adds to the output of `body` its input, or a `shortcut` of it if the body changes the shape.

    Shapes: x any; y that of body(x) and of shortcut(x), which must be the same.

    Forward:   y = f(x) + g(x),   f the body,  g the shortcut or g(x) = x
    Backward:  x reaches y in two ways, so dx is the sum of the dx of both. Without a shortcut that is dy plus the dx
               of the body: the gradient reaches the layers below undiminished, however deep the network is.
    Projection: the signal goes back both ways, each with its own rules, and the results add up.

    Names: "body" and "shortcut"; as a dict of named layers, applied in order, they add no level to the names, like
    the branches of a Concat. Raises ShapeError if their outputs differ in shape.
    Source: He et al., Deep residual learning for image recognition, 2015, section 3.
    """

    wiring = "parallel"

    def __init__(
        self, body: Layer | Mapping[str, Layer], shortcut: Layer | Mapping[str, Layer] | None = None
    ) -> None:
        ways = {"body": body, "shortcut": shortcut}
        self.unnamed = frozenset(name for name, way in ways.items() if isinstance(way, Mapping))
        self.body, self.shortcut = (Sequential(way) if isinstance(way, Mapping) else way for way in ways.values())
        require_layer("Residual: body", self.body)
        if self.shortcut is not None:
            require_layer("Residual: shortcut", self.shortcut)

    def out_shape(self, in_shape: Shape) -> Shape:
        with within(self.level("body")):
            out = self.body.out_shape(in_shape)
        with within(self.level("shortcut")):
            around = self.shortcut.out_shape(in_shape) if self.shortcut else tuple(in_shape)
        if out != around:
            raise ShapeError(
                f"{self.label}: for an input {in_shape} the body makes {out} and the shortcut {around}: they can't "
                "be added; give a shortcut that changes the shape in the same way, such as a 1x1 convolution"
            )
        return out

    def forward(self, x: Array, ctx: Context) -> tuple[Array, list | None]:
        require_pass(self, x, ctx)
        self.out_shape(x.shape)
        y, cache = ctx.run(self.level("body"), self.body, x)
        around, shortcut_cache = ctx.run(self.level("shortcut"), self.shortcut, x) if self.shortcut else (x, None)
        return y + around, ([cache, shortcut_cache] if ctx.keeps_cache else None)

    def backward(self, dy: Array, cache: list, need_dx: bool = True) -> Array | None:
        require_cache(self, cache, 2)
        dx, around_cache = dy, cache.pop()
        if self.shortcut:
            with within(self.level("shortcut")):
                dx = require_dx(self.shortcut, self.shortcut.backward(dy, around_cache, need_dx), need_dx)
        with within(self.level("body")):
            through = require_dx(self.body, self.body.backward(dy, cache.pop(), need_dx), need_dx)
        return through + dx if need_dx else None

    def input_grad(self, dy: Array, cache: list) -> Array:
        return self._both_ways(dy, cache, lambda layer, c: layer.input_grad(dy, c))

    def project(self, s: Array, cache: list, rule: Rule | str) -> Array:
        rule = as_rule(rule)
        return self._both_ways(s, cache, lambda layer, c: layer.project(s, c, rule))

    def _both_ways(self, s: Array, cache: list, back: Callable[[Layer, Any], Array]) -> Array:
        require_cache(self, cache, 2)
        with within(self.level("shortcut")):
            around = require_dx(self.shortcut, back(self.shortcut, cache[1])) if self.shortcut else s
        with within(self.level("body")):
            return require_dx(self.body, back(self.body, cache[0])) + around
