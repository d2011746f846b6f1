"""A second head in the middle of a network, which only helps in training."""

from __future__ import annotations

import math
from collections.abc import Mapping

from minidl.backend.arrays import Array, array_module
from minidl.errors import ShapeError, within
from minidl.layers.base import Context, Layer, Rule, Shape, as_rule
from minidl.layers.containers import Sequential, require_cache, require_dx, require_layer, require_pass


class SideHead(Layer):
    """The `rest` of a network, and beside it a `head` that tells the classes apart by the same map x.

    In a deep network little of the gradient reaches the first layers. A head in the middle is nearer to them. It is
    trained with the network, and then nobody asks it.

    Shapes: x any; rest(x) and head(x) (N, K), the scores of K classes; or (N, J, K), if there are heads in them.

    Forward, PROBE and INFER:  y = rest(x),  (N, K). The head is not run.
    Forward, TRAIN:            y = [rest(x), head(x)]  along a new axis 1: (N, 1 + heads, K), the network's own first
    Backward, TRAIN:           dy is split in the same way. Both parts read x, so dx is the sum of their dx.
    Projection:                the signal goes back through the rest.

    The loss adds up the losses of all heads, those of the side heads with a smaller factor (`minidl.losses`).
    Names: "head" and "rest"; as a dict of named layers, applied in order, they add no level to the names. Raises
    ShapeError if the shapes of their outputs differ.
    Source: Szegedy et al., Going deeper with convolutions, 2014, section 5.
    """

    wiring = "parallel"
    training_only = frozenset({"head"})

    def __init__(self, head: Layer | Mapping[str, Layer], rest: Layer | Mapping[str, Layer]) -> None:
        parts = {"head": head, "rest": rest}
        self.unnamed = frozenset(name for name, part in parts.items() if isinstance(part, Mapping))
        self.head, self.rest = (Sequential(part) if isinstance(part, Mapping) else part for part in parts.values())
        require_layer("SideHead: head", self.head)
        require_layer("SideHead: rest", self.rest)

    def outputs(self, in_shape: Shape) -> dict[str, slice]:
        return {"rest": slice(0, None)}

    def out_shape(self, in_shape: Shape) -> Shape:
        shapes = []
        for name in ("rest", "head"):
            with within(self.level(name)):
                shapes.append(self.children()[name].out_shape(in_shape))
        if len({*shapes}) > 1 or any(len(shape) != 2 for shape in shapes):
            raise ShapeError(
                f"{self.label}: for an input {in_shape} the rest makes {shapes[0]} and the head {shapes[1]}: both "
                "must be the same scores (N, K)"
            )
        return shapes[0]

    def forward(self, x: Array, ctx: Context) -> tuple[Array, list | None]:
        require_pass(self, x, ctx)
        self.out_shape(x.shape)
        y, cache = ctx.run(self.level("rest"), self.rest, x)
        if not ctx.training:
            return y, ([cache, None, ()] if ctx.keeps_cache else None)
        z, head_cache = ctx.run(self.level("head"), self.head, x)
        both = array_module(x).concatenate([_rows(y), _rows(z)], axis=1)
        return both, [cache, head_cache, (y.shape, z.shape)]

    def backward(self, dy: Array, cache: list, need_dx: bool = True) -> Array | None:
        require_cache(self, cache, 3)
        shapes, head_cache = cache.pop(), cache.pop()
        d_rest, d_head = _split(dy, shapes)
        with within(self.level("rest")):
            dx = require_dx(self.rest, self.rest.backward(d_rest, cache.pop(), need_dx), need_dx)
        if not shapes:
            return dx
        with within(self.level("head")):
            more = require_dx(self.head, self.head.backward(d_head, head_cache, need_dx), need_dx)
        return dx + more if need_dx else None

    def input_grad(self, dy: Array, cache: list) -> Array:
        require_cache(self, cache, 3)
        rest_cache, head_cache, shapes = cache
        d_rest, d_head = _split(dy, shapes)
        with within(self.level("rest")):
            dx = require_dx(self.rest, self.rest.input_grad(d_rest, rest_cache))
        if not shapes:
            return dx
        with within(self.level("head")):
            return dx + require_dx(self.head, self.head.input_grad(d_head, head_cache))

    def project(self, s: Array, cache: list, rule: Rule | str) -> Array:
        require_cache(self, cache, 3)
        with within(self.level("rest")):
            return require_dx(self.rest, self.rest.project(s, cache[0], as_rule(rule)))


def _rows(y: Array) -> Array:
    """(N, K) or (N, J, K) -> (N, J, K)"""
    return y.reshape(len(y), math.prod(y.shape[1:-1]), y.shape[-1])


def _split(dy: Array, shapes: tuple[Shape, ...]) -> tuple[Array, Array | None]:
    """The gradients of the rest's output and of the head's, from that of both; without shapes there is no head."""
    if not shapes:
        return dy, None
    of_rest, of_head = shapes
    rows = math.prod(of_rest[1:-1])
    return dy[:, :rows].reshape(of_rest), dy[:, rows:].reshape(of_head)  # (N, J, K) -> (N, K) or (N, J, K)
