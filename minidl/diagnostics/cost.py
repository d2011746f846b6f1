"""The memory that a training step will need, found by running the step on arrays without numbers."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.backend.arrays import Array
from minidl.diagnostics.blank import Meter, blank
from minidl.layers.activation import LeakyReLU, ReLU
from minidl.layers.adaptive_pooling import AdaptiveAvgPool2D
from minidl.layers.base import TRAIN, Context, Layer, Parameter, Shape
from minidl.layers.dropout import Dropout
from minidl.layers.general_pooling import GeneralAvgPool2D, GeneralMaxPool2D
from minidl.layers.linear import Flatten
from minidl.layers.parameter import FROZEN
from minidl.layers.pooling import AvgPool2D, GlobalAvgPool, MaxPool2D
from minidl.layers.squashing import Sigmoid, Tanh
from minidl.layers.tree import rebuilt

# Resident over allocated memory, of all but the state, which is made once. Measured with the refined net and Linux's
# allocator, which keeps freed blocks below 32 MB for later: 1.36 at batch 32, 1.52 at 64, 1.48 at 128.
_GAPS = 1.45
# Of the fused engine: its maps over the arrays of the plain one, and bytes of working memory for each thread.
# Measured with the refined net on 2 threads: 102 MB in all at batch 8, 244 at 32, 412 at 64, 742 at 128.
_MAPS, _SCRATCH = 0.82, 30_000_000
_LANES = 7  # arrays beside the gradient of a convolution's weight: the engine adds it up in 8 lanes
_STEP = TRAIN.at_step(0)
_KEEP_NOTHING = AvgPool2D | GeneralAvgPool2D | AdaptiveAvgPool2D | GlobalAvgPool | Flatten  # but a shape


@dataclass(frozen=True)
class TrainingMemory:
    """The bytes of a training step on the CPU with Adam.

    state     parameters, their gradients and Adam's two moments: 4 numbers per parameter
    caches    what the plain layers keep for the backward pass (an array that several layers keep counts once)
    arrays    the state, plus the most bytes of caches, signals and gradients that exist at the same time
    resident  the memory that the process gains: the arrays, and the gaps that the allocator leaves between them
    fused     the same on the fused engine
    filters   the weights of the convolutions, each shape once: the engine recycles arrays of one shape

    Not counted: the input batch, the program itself (some 40 MB), loaded data, working memory of kernels (about 10
    MB).
    """

    state: int
    caches: int
    arrays: int
    filters: int = 0

    @property
    def resident(self) -> int:
        return self.state + round(_GAPS * (self.arrays - self.state))

    def fused(self, threads: int) -> int:
        """The engine keeps fewer maps, without gaps, and working memory for each thread and for weight gradients."""
        maps = round(_MAPS * (self.arrays - self.state))
        return self.state + maps + _SCRATCH * threads + _LANES * self.filters

    def __str__(self) -> str:
        resident, arrays, state, caches = (
            f"{n / 1e6:,.0f} MB" for n in (self.resident, self.arrays, self.state, self.caches)
        )
        return (
            f"about {resident} ({arrays} of arrays at the peak; parameters, gradients and Adam's moments {state}, "
            f"caches after the forward pass {caches})"
        )


def training_memory(model: Layer, input_shape: Shape) -> TrainingMemory:
    """The memory of one training step of `model` on an input (N, H, W, C). No array is allocated.

    A user's own leaf layer runs its own code on the arrays without numbers. If that fails, all such layers are
    assumed to keep their input. Raises ShapeError if the input doesn't fit.
    """
    try:
        return _training_memory(model, input_shape, own_code=True)
    except Exception:  # whatever a user's code raises on arrays that aren't quite NumPy's
        return _training_memory(model, input_shape, own_code=False)


def _training_memory(model: Layer, input_shape: Shape, own_code: bool) -> TrainingMemory:
    values = [p.value for p in model.named_parameters().values()]
    meter = Meter()
    x = meter.array(input_shape, np.result_type(*(v.dtype for v in values)) if values else np.float32)
    x.memory.free()  # the batch is the caller's
    shadow = _stand_in(model, meter, own_code)
    y, cache = shadow.forward(x, _STEP)
    caches = meter.live
    frozen = any(FROZEN in p.tags for p in model.named_parameters().values())
    shadow.backward(y, cache, need_dx=not frozen)  # y stands for its own gradient
    state = 4 * sum(v.nbytes for v in values)
    filters = {v.shape: v.nbytes for v in values if v.ndim == 4}
    return TrainingMemory(state, caches, state + meter.peak, sum(filters.values()))


def input_shapes(layer: Layer, in_shape: Shape) -> dict[str, Shape]:
    """The shapes of the inputs of `layer`'s children in a pass over an input of `in_shape`, by child."""
    meter = Meter()
    children = {name: _StandIn(child, meter) for name, child in layer.children().items()}
    if children:
        _blank(layer, children).forward(meter.array(in_shape, np.float32), _STEP)
    return {name: child.in_shape for name, child in children.items() if child.in_shape}


def _stand_in(layer: Layer, meter: Meter, own_code: bool) -> Layer:
    """A form of `layer` that runs on Blanks: its own containers, with stand-ins for its leaves (with `own_code` only
    for minidl's)."""
    children = layer.children()
    if children or (own_code and not type(layer).__module__.startswith("minidl.")):
        return _blank(layer, {name: _stand_in(child, meter, own_code) for name, child in children.items()})
    return _StandIn(layer, meter)


def _blank(layer: Layer, children: dict[str, Layer]) -> Layer:
    """The layer around these children, without numbers of its own."""
    new = rebuilt(layer, children) if children else copy.copy(layer)
    new.params = {name: Parameter(blank(p.value), p.tags, blank(p.value)) for name, p in layer.params.items()}
    new.buffers = {name: blank(b) for name, b in layer.buffers.items()}
    return new


class _StandIn(Layer):
    """Takes the place of a leaf: makes and keeps arrays of the same sizes as the leaf.

    Its input is any array: the code of a container may make others than Blanks, by np.split for example.
    """

    def __init__(self, leaf: Layer, meter: Meter) -> None:
        self.leaf, self.meter, self.in_shape = leaf, meter, ()

    def children(self) -> dict[str, Layer]:
        return {}

    def out_shape(self, in_shape: Shape) -> Shape:
        return self.leaf.out_shape(in_shape)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Any]:
        self.in_shape, shape = x.shape, self.out_shape(x.shape)
        y = x.reshape(shape) if _is_view(self.leaf) else self.meter.array(shape, x.dtype)
        return y, (self._kept(x, y), x.shape)

    def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> Array | None:
        return self.input_grad(dy, cache) if need_dx else None

    def input_grad(self, dy: Array, cache: Any) -> Array:
        return dy.reshape(cache[1]) if _is_view(self.leaf) else self.meter.array(cache[1], dy.dtype)

    def _kept(self, x: Array, y: Array) -> Array | None:
        """What the leaf's cache contains besides shapes and vectors of channels."""
        if isinstance(self.leaf, ReLU | LeakyReLU | MaxPool2D | GeneralMaxPool2D):
            return self.meter.array(y.shape, np.uint8)  # the mask or the index
        if isinstance(self.leaf, Dropout):
            return self.meter.array(y.shape, x.dtype)  # the mask
        if isinstance(self.leaf, Sigmoid | Tanh):
            return y
        return None if isinstance(self.leaf, _KEEP_NOTHING) else x


def _is_view(leaf: Layer) -> bool:
    """Whether the leaf's y is x in another shape."""
    return isinstance(leaf, Flatten) and not leaf.channels_first
