"""One stage of a block: linear maps side by side, and batch normalization and an activation of what they make."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from minidl.engine.blocks import batchnorm as bn
from minidl.engine.blocks.activation import Activation
from minidl.engine.blocks.maps import LinearMap, Shape
from minidl.engine.tiles.recycler import Empty
from minidl.engine.tiles.runner import Job, Scratch
from minidl.layers import BatchNorm2D

Array = np.ndarray


class Part(NamedTuple):
    """One linear map of a stage: the channels of the stage's input that it reads, and those of z that it makes."""

    map: LinearMap
    source: slice
    out: slice


class Input(NamedTuple):
    """The input of a stage on a tile: the activated channels of the stage below, and those that it passed on."""

    active: Array
    below: Array | None = None  # z of the stage below, if it passed channels on
    slope: Array | None = None  # f' of the active channels
    z: Array | None = None  # from which they were made, contiguous

    def channels(self, source: slice) -> Array:
        return (self.active if source.stop <= self.active.shape[3] else self.below)[..., source]


class Weights(list):
    """The weights of every part of a stage times `scale`, in the form for forward, or for the way back if `turn`.

    They are None until the `jobs` are done.
    """

    def __init__(self, parts: list[Part], scale: Array, turn: bool, in_shape: Shape, dtype: np.dtype, empty: Empty):
        super().__init__([None] * len(parts))
        self.scale, self._args = scale, (parts, turn, in_shape, dtype, empty)

    @property
    def jobs(self) -> list[Job]:
        return [partial(self._make, i) for i, part in enumerate(self._args[0]) if part.map.weighted]

    def now(self) -> Weights:
        for job in self.jobs:
            job()
        return self

    def _make(self, i: int) -> None:
        parts, turn, (n, h, w, _), dtype, empty = self._args
        linear, source, out = parts[i]
        self[i] = linear.filters(self.scale[out], turn, (n, h, w, source.stop - source.start), dtype, empty)


class Stage:
    """Parts whose outputs lie side by side in z (N, OH, OW, F), and BN and an activation of its first channels.

    The channels after these, if there are any, are passed on to the maps without weights of the next stage.
    """

    def __init__(self, parts: Sequence[Part], norms: Sequence[BatchNorm2D], activation: Activation) -> None:
        self.parts, self.bn, self.activation = list(parts), bn.BatchNorms(norms), activation
        self.channels = max(part.out.stop for part in parts)
        self.normed = slice(0, self.bn.channels)
        self.passes = self.bn.channels < self.channels

    def out_shape(self, in_shape: Shape) -> Shape:
        linear, source, _ = self.parts[0]
        return *linear.out_shape((*in_shape[:3], source.stop - source.start))[:3], self.channels

    def bias(self) -> Array | None:
        """(F,), or None if no map has one."""
        biases = [part.map.bias() for part in self.parts]
        if all(bias is None for bias in biases):
            return None
        return np.concatenate([np.zeros(p.out.stop - p.out.start) if b is None else b
                               for p, b in zip(self.parts, biases, strict=True)])  # fmt: skip

    def folded(self) -> tuple[Array, Array]:
        """(scale, shift) of the normalized channels in INFER mode, with the maps' bias in the shift."""
        (scale, shift), bias = self.bn.folded(), self.bias()
        return scale, shift if bias is None else shift + bias[self.normed] * scale

    # ---------------------------------------------------------------- on a tile

    def forward(self, a: Input, weights: Weights, z: Array, scratch: Scratch) -> None:
        """z = maps of a"""
        for (linear, source, out), w in zip(self.parts, weights, strict=True):
            linear.forward(a.channels(source), w, z[..., out], scratch)

    def input_grad(self, dz: Array, turned: Weights, da: Array, scratch: Scratch) -> None:
        """da (n, H, W, C) = the gradient at the input."""
        for (linear, source, out), w in zip(self.parts, turned, strict=True):
            linear.input_grad(dz[..., out], w, da[..., source], scratch)

    def dense(self, z: Array, scratch: Scratch) -> Array:
        """The normalized channels of z, contiguous."""
        if not self.passes:
            return z
        dense = scratch("normed", (*z.shape[:3], self.bn.channels), z.dtype)
        dense[...] = z[..., self.normed]
        return dense

    def activated(self, z: Array, line: tuple[Array, Array], slope: bool, scratch: Scratch) -> Input:
        """The input of the next stage, f(z scale + shift), in scratch memory; with f' if `slope`."""
        dense = self.dense(z, scratch)
        a = bn.affine(dense, *line, scratch("a", dense.shape, z.dtype))
        kept = scratch("slope of a", a.shape, self.activation.slope_dtype or a.dtype) if slope else None
        self.activation.forward(a, kept, scratch)
        return Input(a, z if self.passes else None, kept, dense)

    def shifted(self, z: Array, shift: Array, around: Array | None, slope: Array | None, scratch: Scratch) -> Input:
        """The same from z with BN's scale in it: f(z + shift + around), in place if z has no other channels.

        f' is written to `slope` unless None.
        """
        u = scratch("shifted", (*z.shape[:3], self.bn.channels), z.dtype) if self.passes else bn.rows(z)
        np.add(z[..., self.normed] if self.passes else u, shift, out=u)
        u = u.reshape(*z.shape[:3], -1)
        if around is not None:
            u += around
        self.activation.forward(u, slope, scratch)
        return Input(u, z if self.passes else None)
