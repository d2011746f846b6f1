"""Activations as parts of a block: a function on a tile that brings its own derivative.

To add one, write a class like these and register it for its plain layer (examples/fused_activation.py).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minidl import layers
from minidl.engine.blocks.batchnorm import constant, to_write
from minidl.engine.tiles.runner import Scratch
from minidl.layers import Layer

Array = np.ndarray


class Activation:
    """y = f(u), element by element; by itself no activation, f(u) = u."""

    rises = True  # f never falls: then a max pool may come first
    slope_dtype: type | None = bool  # of f', if not that of u: ReLU's is 0 or 1
    # What a deconvnet and guided backpropagation do to a signal on its way back, in place: the function itself, or
    # ReLU for a function that falls somewhere. None: by all rules the gradient, as `Layer.project` without a rule.
    gate: Callable[[Array], None] | None = None

    def forward(self, u: Array, slope: Array | None, scratch: Scratch) -> None:
        """u = f(u) in place; slope = f'(u) unless None. u may be a channel slice; slope is contiguous."""
        if slope is not None:
            slope[...] = True


class ReLU(Activation):
    """f(u) = max(u, 0),  f'(u) = [u > 0]"""

    def __init__(self, layer: layers.ReLU | None = None) -> None: ...

    def forward(self, u: Array, slope: Array | None, scratch: Scratch) -> None:
        u = to_write(u)
        np.maximum(u, constant(0, u.shape[-1], u.dtype), out=u)  # with a scalar, maximum is up to three times slower
        if slope is not None:
            np.greater(u, 0, out=slope.reshape(u.shape))  # u is y by now: positive exactly where u was

    def gate(self, s: Array) -> None:
        np.maximum(s, 0, out=s)


class LeakyReLU(Activation):
    """f(u) = u where u > 0, and a u elsewhere.  f'(u) = 1 or a"""

    slope_dtype = None

    def __init__(self, layer: layers.LeakyReLU) -> None:
        self._layer = layer

    @property
    def rises(self) -> bool:
        return self._layer.negative_slope >= 0

    def forward(self, u: Array, slope: Array | None, scratch: Scratch) -> None:
        if slope is None:
            slope = scratch("slope", u.shape, u.dtype)
        np.greater(u, 0, out=slope, casting="unsafe")  # 1 or 0
        a = self._layer.negative_slope
        slope *= u.dtype.type(1 - a)
        slope += u.dtype.type(a)
        u *= slope

    def gate(self, s: Array) -> None:
        s[...] = np.where(s > 0, s, s * s.dtype.type(self._layer.negative_slope))


class SiLU(Activation):
    """f(u) = u p,  f'(u) = p (1 + u (1 - p)) = p + f(u) (1 - p),  with p = 1 / (1 + exp(-u))"""

    rises = False
    slope_dtype = None

    def __init__(self, layer: layers.SiLU) -> None: ...

    def forward(self, u: Array, slope: Array | None, scratch: Scratch) -> None:
        p = scratch("sigmoid", u.shape, u.dtype)
        np.multiply(u, 0.5, out=p)
        np.tanh(p, out=p)  # 1 / (1 + exp(-u)) = (1 + tanh(u / 2)) / 2, which never overflows
        p += 1
        p *= 0.5
        u *= p
        if slope is not None:
            np.subtract(1, p, out=slope)
            slope *= u
            slope += p

    gate = ReLU.gate


_PARTS: dict[type[Layer], Callable[[Layer], Activation]] = {}


def register(layer: type[Layer], part: Callable[[Layer], Activation]) -> None:
    """From now on `fuse` uses part(l) in place of a plain layer l of this very class."""
    _PARTS[layer] = part


def is_activation(layer: Layer) -> bool:
    return type(layer) in _PARTS


def activation(layer: Layer | None) -> Activation:
    """The part for a plain layer, or for no activation."""
    return _PARTS[type(layer)](layer) if layer is not None else Activation()


register(layers.ReLU, ReLU)
register(layers.LeakyReLU, LeakyReLU)
register(layers.SiLU, SiLU)
