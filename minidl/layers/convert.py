"""A model on another device or in another precision."""

from __future__ import annotations

import copy
from functools import cache
from types import ModuleType

from numpy.typing import DTypeLike

from minidl.backend.arrays import Array, array_module, to_device, to_host
from minidl.layers.base import Layer, Parameter
from minidl.layers.tree import rebuilt


def convert(model: Layer, *, xp: ModuleType | None = None, dtype: DTypeLike | None = None) -> Layer:
    """A new model with the weights and buffers of `model` as arrays of module `xp` and of type `dtype`.

    xp: numpy or cupy (`backend.get_backend`), dtype: float32 or float64; None keeps what each array has. `model`
    doesn't change, and the new model shares no array with it; its gradients are zero. Tags and all settings of the
    layers are kept. A layer or Parameter that is in two places of the model is one object in the new model too.
    """

    def moved(a: Array) -> Array:
        target = to_device(to_host(a), array_module(a) if xp is None else xp)
        return target.astype(a.dtype if dtype is None else dtype)  # always a copy

    @cache
    def parameter(p: Parameter) -> Parameter:
        return Parameter(moved(p.value), p.tags)

    @cache
    def converted(layer: Layer) -> Layer:
        children = {name: converted(child) for name, child in layer.children().items()}
        new = rebuilt(layer, children) if children else copy.copy(layer)
        new.params = {name: parameter(p) for name, p in layer.params.items()}
        new.buffers = {name: moved(b) for name, b in layer.buffers.items()}
        return new

    return converted(model)
