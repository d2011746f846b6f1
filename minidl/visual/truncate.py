"""Parts of a model by name: the layers from the pixels to a layer, and the gradient on its way back to one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from minidl.backend.arrays import Array, array_module
from minidl.errors import UsageError
from minidl.layers.base import INFER, Context, Layer, Rule, Shape
from minidl.layers.containers import Sequential
from minidl.layers.context import join
from minidl.layers.naming import no_such_layer
from minidl.layers.tree import rebuilt
from minidl.text.calls import call

Keys = tuple[str, ...]  # the way down to a layer: the key of a child, of a child of that one, ...


class LayerInfo(NamedTuple):
    """A layer whose output can be looked at; its units are the channels of its map, or its features."""

    name: str
    layer: str
    shape: Shape  # of one image: (H, W, C) or (K,)

    @property
    def units(self) -> int:
        return self.shape[-1]


class Place(NamedTuple):
    """A layer and where it stands."""

    name: str
    keys: Keys
    parent: Layer
    layer: Layer
    helps: bool = False  # it is in a part that only training runs

    @property
    def named(self) -> bool:
        return self.keys[-1] not in self.parent.unnamed


def truncate(model: Layer, name: str) -> Layer:
    """The part of `model` from the pixels to the layer `name`, over the same layers.

    It contains only what `name` depends on, as far as the containers say (`Layer.wiring`): of a Concat, only the
    branch that leads to it. Its forward pass returns the layer's output, `project` leads from there to the pixels,
    and it may be fused like any model. `model` doesn't change, and the layers keep their names. "" means the whole
    model. Raises UsageError with the nearest names if there is no such layer, and for a layer in a side head, which
    only training runs.
    """
    if name == "":
        return model
    place = _find(model, name)
    return part(model, place.keys, place.layer)


def part(model: Layer, keys: Keys, end: Layer) -> Layer:
    """The layers from the pixels to the layer at `keys` below `model`, which is replaced by `end`."""
    key, below, children = keys[0], keys[1:], model.children()
    last = part(children[key], below, end) if below else end
    if model.wiring == "chain":
        before = list(children)[: list(children).index(key)]
        return rebuilt(model, {**{k: children[k] for k in before}, key: last})
    if model.wiring == "parallel":
        chain = Sequential({key: last})
        chain.unnamed = model.unnamed & {key}
        return chain
    return Upto(rebuilt(model, {**children, key: last}), key, None if last is children[key] else children[key])


class NotRun(UsageError):
    """A layer that its container doesn't run, as one that only helps in training."""


class Upto(Layer):
    """A container of which only this is known: it runs the child `key`. y is the child's last output.

    The whole container runs. On the way back its output gets a signal of zero, and the child's last run gets the
    whole signal. Every rule turns zero into zero, so the signal that arrives at the input is that of this run alone.

    child    what the container runs as `key`, if `whole` has only the beginning of it there. The container may do
             anything with the output, so it gets that of the complete child; the beginning then runs once more, on
             the last input
    """

    def __init__(self, whole: Layer, key: str, child: Layer | None = None) -> None:
        self.whole, self.key, self.child = whole, key, child

    def children(self) -> dict[str, Layer]:
        return self.whole.children()

    def with_children(self, children: dict[str, Layer]) -> Layer:
        return Upto(rebuilt(self.whole, children), self.key, self.child)

    @property
    def unnamed(self) -> frozenset[str]:
        return self.whole.unnamed

    @property
    def end(self) -> Layer:
        return self.children()[self.key]

    @property
    def complete(self) -> Layer:
        return self.end if self.child is None else self.child

    def out_shape(self, in_shape: Shape) -> Shape:
        tap = _Tap(self.complete)
        self._with(tap).out_shape(in_shape)
        return self.end.out_shape(tap.in_shape) if tap.in_shape else self._shape_of_a_run(in_shape)

    def _shape_of_a_run(self, in_shape: Shape) -> Shape:
        """For a container that computes its own shape without asking the child."""
        weights = [p.value for p in self.named_parameters().values()]
        x = array_module(weights[0]).zeros(in_shape, weights[0].dtype) if weights else np.zeros(in_shape, np.float32)
        return self.forward(x, INFER)[0].shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Any]:
        tap = _Tap(self.complete)
        whole, cache = self._with(tap).forward(x, ctx)
        if tap.run is None:
            raise NotRun(f"{self.key}: {self.whole.label} doesn't run it in {ctx.mode.name} mode")
        y, inner = (tap.y, tap.run[0]) if self.child is None else self.end.forward(tap.x, tap.ctx)
        return y, ((whole.shape, cache, tap.run, inner) if ctx.keeps_cache else None)

    def input_grad(self, dy: Array, cache: Any) -> Array:
        return self.project(dy, cache, Rule())

    def project(self, s: Array, cache: Any, rule: Rule) -> Array:
        shape, whole, run, inner = cache
        tap = _Tap(self.complete, run, self.end.project(s, inner, rule))
        return self._with(tap).project(array_module(s).zeros(shape, s.dtype), whole, rule)

    def _with(self, tap: Layer) -> Layer:
        return rebuilt(self.whole, {**self.children(), self.key: tap})


class _Tap(Layer):
    """Takes the place of a child for one pass: records its last run, and inserts a signal there on the way back.

    run    the cache of that run, a list of its own around the child's; signal    what the run sends back
    """

    def __init__(self, child: Layer, run: list | None = None, signal: Array | None = None) -> None:
        self.child, self.run, self.signal, self.in_shape = child, run, signal, ()

    def out_shape(self, in_shape: Shape) -> Shape:
        self.in_shape = in_shape
        return self.child.out_shape(in_shape)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Any]:
        self.x, self.ctx = x, ctx
        self.y, cache = self.child.forward(x, ctx)
        self.run = [cache]
        return self.y, (self.run if ctx.keeps_cache else None)

    def input_grad(self, dy: Array, cache: Any) -> Array:
        return self.signal if cache is self.run else self.child.input_grad(dy, cache[0])

    def project(self, s: Array, cache: Any, rule: Rule) -> Array:
        return self.signal if cache is self.run else self.child.project(s, cache[0], rule)


def layer_table(model: Layer, image_shape: Shape, leaves: bool = False) -> list[LayerInfo]:
    """The layers of `model` in forward order, for images (H, W, C).

    Without `leaves`, the parts of a block (convolution, BN, ReLU) are left out; a block is a container with a name
    and with leaf layers alone, of which one has weights. Layers that their container doesn't run are left out too,
    such as a side head.
    """
    infos, places = [], list(walk(model))
    named = {(): False} | {place.keys: place.named for place in places}
    for place in places:
        block = named[place.keys[:-1]] and _is_block(place.parent)
        if place.named and not place.helps and (leaves or not block):
            with suppress(NotRun):
                shape = part(model, place.keys, place.layer).out_shape((1, *image_shape))[1:]
                infos.append(LayerInfo(place.name, repr(place.layer), shape))
    return infos


def _is_block(layer: Layer) -> bool:
    weighted = sum(any("weight" in p.tags for p in child.params.values()) for child in layer)
    return weighted < 2 and not any(child.children() for child in layer)


def gradient_at(model: Layer, dy: Array, cache: Any, name: str) -> Array:
    """dL/da for the output a of layer `name`, from dy = dL/dy at the model's output and a PROBE cache.

        dL/da_i = sum over j of  dL/dy_j  dy_j/da_i

    Raises UsageError as `truncate`.
    """
    if name == "":
        return dy
    place = _find(model, name)
    try:
        _ending(model, place.keys).input_grad(dy, cache)
    except _Arrived as arrived:
        return arrived.dy
    raise UsageError(f"layer {name!r}: the container around it never goes back through it")


class _Arrived(Exception):
    """The gradient has reached the layer that was asked for."""

    def __init__(self, dy: Array) -> None:
        super().__init__()
        self.dy = dy


class _End(Layer):
    """Takes the place of a layer: the way back ends here."""

    def input_grad(self, dy: Array, cache: Any) -> Array:
        raise _Arrived(dy)


def _ending(model: Layer, keys: Keys) -> Layer:
    """`model` with an _End at `keys`."""
    if not keys:
        return _End()
    children = model.children()
    return rebuilt(model, {**children, keys[0]: _ending(children[keys[0]], keys[1:])})


def walk(layer: Layer, path: str = "", keys: Keys = (), helps: bool = False) -> Iterator[Place]:
    """All places below `layer`. Each comes after the layers inside it, because it is complete when they are."""
    for key, child in layer.children().items():
        only = helps or key in layer.training_only
        yield from walk(child, join(path, layer.level(key)), (*keys, key), only)
        yield Place(join(path, key), (*keys, key), layer, child, only)


def _find(model: Layer, name: str) -> Place:
    """The place with this name; for a layer in two places, the one that was asked for."""
    found = {place.name: place for place in walk(model)}
    if name in found and found[name].helps:
        raise UsageError(f"layer {name!r} is in a side head, which only serves training: no other pass runs it")
    if name in found:
        return found[name]
    names = {n: layer for n, layer in model.named_layers().items() if n not in found or not found[n].helps}
    raise no_such_layer(name, names, f" (`{call('layers')} RUN` lists all)")
