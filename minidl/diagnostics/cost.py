"""The memory a training step will need, found by following the step with stand-ins that hold no numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from minidl.layers.activation import ReLU
from minidl.layers.base import Layer, Shape
from minidl.layers.containers import Concat, Sequential
from minidl.layers.dropout import Dropout
from minidl.layers.linear import Flatten
from minidl.layers.pooling import AvgPool2D, GlobalAvgPool, MaxPool2D

# Resident over allocated memory. Measured with the refined net and Linux's allocator, which keeps freed blocks below
# 32 MB for later: 1.36 at batch 32, 1.52 at 64, 1.48 at 128.
_GAPS = 1.45
# Bytes of working memory for each thread of the fused engine. Measured with the refined net on 2 threads: 39 MB at
# batch 8, 64 at 32, 78 at 64, 59 at 256.
_SCRATCH = 60_000_000


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of a training step on the CPU with Adam.

    state     parameters, their gradients and Adam's two moments: 4 numbers a parameter
    caches    what the plain layers keep for the backward pass (an array that several keep counts once)
    arrays    the state, and the most bytes of caches, signals and gradients of signals that are alive at once
    resident  what the process grows by: the arrays and the gaps the allocator leaves between them
    fused     the same on the fused engine

    Not counted: the input batch, the program itself (some 40 MB), loaded data, kernel workspaces (about 10 MB).
    """

    state: int
    caches: int
    arrays: int

    @property
    def resident(self) -> int:
        return round(_GAPS * self.arrays)

    def fused(self, threads: int) -> int:
        """It keeps other maps but about as many bytes, leaves no gaps, and has working memory for each thread."""
        return self.arrays + _SCRATCH * threads

    def __str__(self) -> str:
        resident, arrays, state, caches = (
            f"{n / 1e6:,.0f} MB" for n in (self.resident, self.arrays, self.state, self.caches)
        )
        return (
            f"about {resident} ({arrays} of arrays at the peak; parameters, gradients and Adam's moments {state}, "
            f"caches after the forward pass {caches})"
        )


def training_memory(model: Layer, input_shape: Shape) -> TrainingMemory:
    """The memory of one training step of `model` on an input (N, H, W, C); no array is allocated.

    A leaf layer of a class unknown here is taken to keep its input. Raises ShapeError if the input does not fit.
    """
    values = [p.value for p in model.named_parameters().values()]
    step = _Step(max((v.itemsize for v in values), default=4))
    y, cache = step.forward(model, _Array(step, 0), input_shape)  # 0 bytes: the batch is the caller's
    caches = step.live
    step.backward(model, y, cache)  # y stands for its own gradient
    state = 4 * sum(v.nbytes for v in values)
    return TrainingMemory(state, caches, state + step.peak)


class _Array:
    """Stands for an array. Python's reference counting drops it when it would drop the array."""

    def __init__(self, step: _Step, nbytes: int) -> None:
        self.step, self.nbytes = step, nbytes
        step.live += nbytes
        step.peak = max(step.peak, step.live)

    def __del__(self) -> None:
        self.step.live -= self.nbytes


class _Step:
    """Sequential's and Concat's forward and backward without the arithmetic, and the bytes alive meanwhile.

    The variables are those of the containers, so that every stand-in lives as long as its array does.
    """

    def __init__(self, itemsize: int) -> None:
        self.itemsize = itemsize
        self.live = self.peak = 0

    def forward(self, layer: Layer, x: _Array, shape: Shape) -> tuple[_Array, Any]:
        if isinstance(layer, Sequential):
            caches = []
            for child in layer.layers.values():
                x, cache = self.forward(child, x, shape)
                shape = child.out_shape(shape)
                caches.append(cache)
            return x, caches
        if isinstance(layer, Concat):
            outputs, caches = zip(*(self.forward(branch, x, shape) for branch in layer.branches), strict=True)
            return self._new(layer.out_shape(shape)), caches
        y = x if isinstance(layer, Flatten) else self._new(layer.out_shape(shape))
        return y, (self._kept(layer, x, shape), shape)

    def backward(self, layer: Layer, dy: _Array, cache: Any) -> _Array:
        if isinstance(layer, Sequential):
            gradient = [dy]
            del dy
            for child in reversed(layer.layers.values()):
                gradient.append(self.backward(child, gradient.pop(), cache.pop()))
            return gradient.pop()
        if isinstance(layer, Concat):
            dx = None
            for branch, c in zip(layer.branches, cache, strict=True):
                d = self.backward(branch, dy, c)
                dx = d if dx is None else _Array(self, d.nbytes)  # dx + d
            return dx
        return dy if isinstance(layer, Flatten) else self._new(cache[1])

    def _new(self, shape: Shape, itemsize: int | None = None) -> _Array:
        return _Array(self, math.prod(shape) * (itemsize or self.itemsize))

    def _kept(self, layer: Layer, x: _Array, shape: Shape) -> _Array | None:
        """What a leaf's cache holds besides shapes and vectors of channels."""
        if isinstance(layer, ReLU):
            return self._new(shape, itemsize=1)  # the mask
        if isinstance(layer, MaxPool2D):
            return self._new(layer.out_shape(shape), itemsize=1)  # the index
        if isinstance(layer, Dropout):
            return self._new(shape)  # the mask
        return None if isinstance(layer, AvgPool2D | GlobalAvgPool | Flatten) else x
