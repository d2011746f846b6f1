"""Parts of a model by name: what leads from the pixels to a layer, and the gradient on its way back to one."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, NamedTuple

from minidl.backend.arrays import Array
from minidl.errors import UsageError
from minidl.layers.base import Layer, Shape
from minidl.layers.containers import Concat, Sequential
from minidl.text.calls import call

_LISTED = 12  # names written out in an error

Keys = tuple[str, ...]  # a layer's name in parts: ("inception2", "b3")


class LayerInfo(NamedTuple):
    """A layer whose output can be looked at; its units are the channels of its map, or its features."""

    name: str
    layer: str
    shape: Shape  # of one image: (H, W, C) or (K,)

    @property
    def units(self) -> int:
        return self.shape[-1]


def truncate(model: Layer, name: str) -> Layer:
    """The part of `model` from the pixels to the layer `name`: a new Sequential over the same layers.

    Only what `name` depends on is in it: of a Concat the one branch that leads to it. Its forward pass gives the
    layer's output, `project` leads from there back to the pixels, and it may be fused like any model (of a model
    that is fused already, only whole composites have a name). `model` stays as it is, and the layers keep their
    names. "" is the whole model, itself. Raises UsageError with the nearest names if there is no such layer.
    """
    return model if name == "" else _chain(model, _find(model, name))


def layer_table(model: Layer, image_shape: Shape, leaves: bool = False) -> list[LayerInfo]:
    """The layers of `model` in forward order, for images (H, W, C); without the parts (convolution, BN, ReLU) of a
    block unless `leaves`."""
    infos = []
    for keys, parent, layer in _walk(model):
        if leaves or len(keys) == 1 or isinstance(parent, Concat):
            shape = _chain(model, keys).out_shape((1, *image_shape))[1:]
            infos.append(LayerInfo(_name(model, keys), repr(layer), shape))
    return infos


def gradient_at(model: Layer, dy: Array, cache: Any, name: str) -> Array:
    """The gradient of the output of layer `name`, from that of the model's output, dy, and a PROBE cache.

        d(layer's output) = (d output / d layer's output)' dy

    Raises UsageError as `truncate`.
    """
    return dy if name == "" else _back_to(model, dy, cache, _find(model, name))


def _chain(model: Layer, keys: Keys) -> Sequential:
    """The layers that lead to the one at `keys` below `model`, itself included."""
    key, below = keys[0], keys[1:]
    layers = model.branches[_branch(model, key)].layers if isinstance(model, Concat) else model.layers
    before = list(layers)[: list(layers).index(key)]
    chain = Sequential({})  # filled here, as the constructor would rename the layers
    chain.layers = {k: layers[k] for k in before} | {key: _chain(layers[key], below) if below else layers[key]}
    chain.path = model.path
    return chain


def _back_to(layer: Layer, dy: Array, cache: Any, keys: Keys) -> Array:
    if not keys:
        return dy
    if isinstance(layer, Concat):
        caches, channels = cache
        i = _branch(layer, keys[0])
        start = sum(channels[:i])
        return _back_to(layer.branches[i], dy[..., start : start + channels[i]], caches[i], keys)
    layers = list(layer.layers.values())
    i = list(layer.layers).index(keys[0])
    for behind, c in zip(layers[:i:-1], cache[:i:-1], strict=True):
        dy = behind.input_grad(dy, c)
    return _back_to(layers[i], dy, cache[i], keys[1:])


def _branch(layer: Concat, key: str) -> int:
    """Which branch has a layer `key`."""
    return next(i for i, branch in enumerate(layer.branches) if key in branch.layers)


def _walk(layer: Layer, keys: Keys = ()) -> Iterator[tuple[Keys, Layer, Layer]]:
    """(keys, parent, layer) of all layers below `layer`, each behind those in it, as it is complete when they are."""
    if isinstance(layer, Sequential | Concat):  # of other layers nobody knows what runs in them after what
        for key, child in layer.children().items():
            yield from _walk(child, (*keys, key))
            yield (*keys, key), layer, child


def _name(model: Layer, keys: Keys) -> str:
    return ".".join((model.path, *keys) if model.path else keys)


def _find(model: Layer, name: str) -> Keys:
    """The keys of the layer `name`; of a layer in two places, those of the place asked for."""
    found = {_name(model, keys): keys for keys, _, _ in _walk(model)}
    if name in found:
        return found[name]
    near = difflib.get_close_matches(name, found, n=3)
    hint = f"did you mean {' or '.join([', '.join(near[:-1]), near[-1]] if near[1:] else near)}? " if near else ""
    first = [n for n, keys in found.items() if len(keys) == 1]
    listed = ", ".join(first[:_LISTED]) + (", ..." if len(first) > _LISTED else "")
    raise UsageError(
        f"no layer {name!r}: {hint}choose {listed} or a layer in one of them (`{call('layers')} RUN` lists all)"
    )
