"""Frozen layers: the first part of a trained network, kept unchanged under a part that learns something new."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from minidl.backend.arrays import Array, array_module
from minidl.errors import UsageError
from minidl.layers.base import Context, Layer, Mode, Rule, Shape
from minidl.layers.containers import require_layer
from minidl.layers.heads import main_line
from minidl.layers.parameter import FROZEN
from minidl.layers.tree import rebuilt


class _Shape(NamedTuple):
    """Of an input whose gradient nobody needs."""

    shape: Shape


class Frozen(Layer):
    """The layer `inner` without training: in TRAIN mode it uses its running statistics and doesn't change them.

    Forward:   y = inner(x), BN with running statistics, dropout off
    Backward:  its parameters get no gradient, and the tag "frozen", with which every optimizer leaves them as they
               are. No layer below it learns, so dx isn't needed either.
               After a PROBE pass, dx and projections are those of `inner`.

    Names are those of `inner`. Raises UsageError if dx is asked for after a TRAIN pass. Where other frozen layers
    come before it (`above`), a container in between may ask for it all the same, and gets zeros.
    Source: Yosinski et al., How transferable are features in deep neural networks?, 2014, section 2.
    """

    wiring = "chain"
    unnamed = frozenset({"inner"})

    def __init__(self, inner: Layer, above: bool = False) -> None:
        require_layer("Frozen: inner", inner)
        self.inner, self.above = inner, above
        for p in inner.named_parameters().values():
            p.tags |= {FROZEN}  # a gradient of 0 would not keep an optimizer with weight decay from changing it

    def out_shape(self, in_shape: Shape) -> Shape:
        return self.inner.out_shape(in_shape)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Any]:
        y, cache = (replace(ctx, mode=Mode.INFER) if ctx.training else ctx).run("", self.inner, x)
        return y, (_Shape(x.shape) if ctx.training and self.above else cache)

    def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> Array | None:
        return self.input_grad(dy, cache) if need_dx else None

    def input_grad(self, dy: Array, cache: Any) -> Array:
        if cache is None:
            raise UsageError(
                f"{self.label}: frozen layers keep nothing in training for a gradient of their input: call "
                "model.backward(dy, cache, need_dx=False), and put all layers below into the same Frozen"
            )
        if isinstance(cache, _Shape):
            return array_module(dy).zeros(cache.shape, dy.dtype)
        return self.inner.input_grad(dy, cache)

    def project(self, s: Array, cache: Any, rule: Rule) -> Array:
        return self.inner.project(s, cache, rule)


def freeze(model: Layer, last: str) -> Layer:
    """`model` with all layers up to the one named `last` frozen: a new chain of the same layers and Parameters.

    The frozen Parameters get the tag "frozen", and every optimizer leaves them as they are, also in `model`. In
    training call `backward(dlogits, cache, need_dx=False)`: nothing goes back through frozen layers.

    Heads that only help in training (`SideHead`) go on learning, by frozen maps if they stand that low.

    Raises UsageError if `last` is not one of the chain's own layers, if nothing would be left to learn, or if `model`
    is not a chain of layers.
    """
    line = {name: keys for name, keys, _ in main_line(model)}
    names = list(line)[:-1]
    if last not in names:
        choice = f"choose one of {', '.join(names)}" if names else f"{model.label} is not a chain of layers"
        raise UsageError(f"can't freeze up to {last!r}: {choice}")
    return _frozen(model, line[last])


def _frozen(layer: Layer, keys: tuple[str, ...], above: bool = False) -> Layer:
    """`layer` with all layers up to the one at `keys` frozen; a head beside them goes on learning."""
    children, key, below = layer.children(), keys[0], keys[1:]
    if layer.training_only:
        return rebuilt(layer, {**children, key: _frozen(children[key], below, above)})
    names = list(children)
    count = names.index(key) + (not below)
    rest = {name: children[name] for name in names[count:]}
    if below:
        rest[key] = _frozen(children[key], below, above or count > 0)
    if not count:
        return rebuilt(layer, rest)
    inner = rebuilt(layer, {name: children[name] for name in names[:count]})
    joined = "+".join(names[:count])
    frozen = rebuilt(layer, {joined: Frozen(inner, above), **rest})
    frozen.unnamed |= {joined}  # the names of the layers in it stay what they were
    return frozen


def thawed(layer: Layer) -> Layer:
    """The layers that `freeze` made `layer` of. Their Parameters keep the tag "frozen"."""
    children: dict[str, Layer] = {}
    for name, child in layer.children().items():
        run = isinstance(child, Frozen) and name in layer.unnamed  # it stands for several layers of the chain
        children |= thawed(child).children() if run else {name: thawed(child)}
    if isinstance(layer, Frozen):
        return children["inner"]
    return rebuilt(layer, children) if children else layer
