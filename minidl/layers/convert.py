"""A model on another device or in another precision."""

from __future__ import annotations

import copy
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
    return _Conversion(xp, dtype).layer(model)


class _Conversion:
    """One call of `convert` and what it has made. (A function in here that calls itself would keep that alive.)"""

    def __init__(self, xp: ModuleType | None, dtype: DTypeLike | None) -> None:
        self.xp, self.dtype = xp, dtype
        self.layers: dict[int, tuple[Layer, Layer]] = {}  # old and new by id(old): a dataclass has no hash
        self.parameters: dict[Parameter, Parameter] = {}

    def layer(self, layer: Layer) -> Layer:
        if id(layer) not in self.layers:
            children = {name: self.layer(child) for name, child in layer.children().items()}
            new = rebuilt(layer, children) if children else copy.copy(layer)
            new.params = {name: self.parameter(p) for name, p in layer.params.items()}
            new.buffers = {name: self.array(b) for name, b in layer.buffers.items()}
            self.layers[id(layer)] = layer, new  # the old one is kept, so that no other gets its id
        return self.layers[id(layer)][1]

    def parameter(self, p: Parameter) -> Parameter:
        if p not in self.parameters:
            self.parameters[p] = Parameter(self.array(p.value), p.tags)
        return self.parameters[p]

    def array(self, a: Array) -> Array:
        target = to_device(to_host(a), array_module(a) if self.xp is None else self.xp)
        whole = a.dtype.kind != "f"  # such as positions, which stay what they are
        return target.astype(a.dtype if self.dtype is None or whole else self.dtype)  # always a copy
