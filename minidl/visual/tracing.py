"""Follows every channel through a network: which unit it is, and with which weights new units read others.

A unit stays the same unit through batch normalization, activations, pools and whatever else treats every channel on
its own, and when containers pass it on or put it beside others. A convolution or a linear layer makes new units from
those that it reads; so does a sum, as in a residual block.

A container says this by itself. Its children are replaced by stand-ins that give random numbers, and it runs once:
what another child receives, or what the container returns, is recognised by its values. So containers that a user
wrote are followed like those that come along. What can't be recognised counts as new units of which nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minidl.layers import BatchNorm2D, Conv2D, Flatten, GeneralConv2D, Layer, Linear
from minidl.layers.base import INFER, Context, Shape
from minidl.layers.context import join
from minidl.layers.tree import rebuilt

Matrices = dict[str, np.ndarray]  # by the layer whose units are read: (its units, units that read them)

IMAGES = 8  # of random numbers: more than arrays that a container may add up


class Units(NamedTuple):
    """Which unit every channel of an array is."""

    layers: tuple[str, ...]  # (C,) where it was made; "": a channel of the image, or not known
    numbers: np.ndarray  # int (C,)
    scale: np.ndarray  # (C,) what batch normalizations have multiplied it by since then
    own: bool  # they are all units of one layer, in their order, after nothing but their activation

    def take(self, channels: np.ndarray) -> Units:
        """The units of some of the channels, as another layer passes them on."""
        layers = tuple(self.layers[c] for c in channels)
        return Units(layers, self.numbers[channels], self.scale[channels], False)


class Walk:
    """One walk through a model.

    keep       layers that have their units for good, whatever layers of the same units follow
    among      layers that may have units; None: all
    matrices   by layer, the weights with which it reads the units of others
    units      of the output of each layer
    replaced   layers whose units have become those of a later layer
    """

    def __init__(
        self, model: Layer, image_shape: Shape, keep: Sequence[str], among: Sequence[str] | None = None
    ) -> None:
        self.keep, self.among = set(keep), None if among is None else set(among)
        self.matrices: dict[str, Matrices] = {}
        self.units: dict[str, Units] = {}
        self.replaced: set[str] = set()
        self.rng = np.random.default_rng(0)
        types = {p.dtype for p in model.named_parameters().values()}
        self.dtype = types.pop() if len(types) == 1 else np.dtype(np.float64)
        x, channels = self.random((IMAGES, *image_shape)), image_shape[-1]
        self.visit("", "", model, x, Units(("",) * channels, np.arange(channels), np.ones(channels), False))

    def random(self, shape: Shape) -> np.ndarray:
        return self.rng.standard_normal(shape).astype(self.dtype)

    def visit(self, name: str, path: str, layer: Layer, x: np.ndarray, units: Units) -> tuple[np.ndarray, Units]:
        """(random numbers in place of the output, their units) of `layer` for the input x with `units`.

        path    with which the names of what is in the layer begin
        """
        inside = self.container if layer.children() else self.leaf
        y, units = inside(name, path, layer, x, units)
        if name != path and layer.children():  # it adds no level to the names, so it has none itself
            return y, units
        if units.own and name != units.layers[0] and units.layers[0] not in self.keep and self.may_have(name):
            units = self.replace(name, units)
        self.units[name] = units
        return y, units

    def may_have(self, name: str) -> bool:
        return name != "" and (self.among is None or name in self.among)

    def replace(self, name: str, units: Units) -> Units:
        """The same units, as those of the layer `name`."""
        before = units.layers[0]
        self.matrices[name] = {read: w * units.scale for read, w in self.matrices[before].items()}
        self.replaced.add(before)
        return self.new(name, len(units.layers))

    @staticmethod
    def new(name: str, count: int) -> Units:
        return Units((name,) * count, np.arange(count), np.ones(count), True)

    # ----------------------------------------------------------------- containers

    def container(self, name: str, path: str, layer: Layer, x: np.ndarray, units: Units) -> tuple[np.ndarray, Units]:
        known = [(x, units)]

        def child_of(key: str, child: Layer) -> Callable[[np.ndarray], np.ndarray]:
            def run(x: np.ndarray) -> np.ndarray:
                units = self.recognise(join(path, key) + " (input)", x, known)
                known.append(self.visit(join(path, key), join(path, layer.level(key)), child, x, units))
                return known[-1][0]

            return run

        children = {key: _StandIn(child, child_of(key, child)) for key, child in layer.children().items()}
        y, _ = rebuilt(layer, children).forward(x, INFER)
        return y, self.recognise(name, y, known)

    def recognise(self, name: str, a: np.ndarray, known: list[tuple[np.ndarray, Units]]) -> Units:
        """The units of an array that a container has made of the `known` ones; new units of `name` if it added them
        up, or if it did something else.
        """
        for values, units in reversed(known):
            if values.shape == a.shape and np.array_equal(values, a):
                return units
        places = {_key(values, c): (units, c) for values, units in known for c in range(values.shape[-1])}
        found = [places.get(_key(a, c)) for c in range(a.shape[-1])]
        if None not in found:
            parts = [units.take(np.array([c])) for units, c in found]
            joined = (np.concatenate([getattr(p, field) for p in parts]) for field in ("numbers", "scale"))
            return Units(tuple(p.layers[0] for p in parts), *joined, False)
        self.matrices[name] = self.terms(a, [pair for pair in known if pair[0].shape == a.shape])
        return self.new(name, a.shape[-1])

    def terms(self, y: np.ndarray, known: list[tuple[np.ndarray, Units]]) -> Matrices:
        """y = sum of factors[i] known[i], with a factor for each channel; empty if y is no such sum."""
        sums = _channels(y)[..., None]  # (C, P, 1)
        if not known or sums.shape[1] <= len(known):
            return {}
        rows = np.stack([_channels(values) for values, _ in known], axis=-1)  # (C, P, M)
        factors = np.linalg.pinv(rows) @ sums  # (C, M, 1)
        if not np.allclose(rows @ factors, sums, rtol=1e-4, atol=1e-4):
            return {}
        found: Matrices = {}
        for i, (_, units) in enumerate(known):
            factor = np.round(factors[:, i, 0], 6)  # of single precision; what is not there is 0
            for read, w in self.matrix(units, np.diag(factor)[None]).items():
                found[read] = found.get(read, 0) + w
        return found

    # --------------------------------------------------------------------- leaves

    def leaf(self, name: str, path: str, layer: Layer, x: np.ndarray, units: Units) -> tuple[np.ndarray, Units]:
        y = self.random(layer.out_shape(x.shape))
        if type(layer).forward in (Conv2D.forward, GeneralConv2D.forward, Linear.forward):
            grouped = type(layer).forward is GeneralConv2D.forward
            w = (layer.full_weight() if grouped else layer.params["weight"].value).astype(np.float64)
            self.matrices[name] = self.matrix(units, w.reshape(-1, *w.shape[-2:]))  # (KH, KW, C, F) -> (KH KW, C, F)
            return y, self.new(name, w.shape[-1])
        if type(layer).forward is BatchNorm2D.forward:
            var, gamma = layer.buffers["running_var"], layer.params["gamma"].value
            return y, units._replace(scale=units.scale * (gamma / np.sqrt(var.astype(np.float64) + layer.eps)))
        return y, self.other(name, layer, x[:1], units)

    def other(self, name: str, layer: Layer, x: np.ndarray, units: Units) -> Units:
        """The units after a layer of any kind, found by changing its input."""
        y = layer.forward(x, INFER)[0]
        if isinstance(layer, Flatten) and layer.channels_first:  # all pixels of a channel, then those of the next
            return units.take(np.arange(y.shape[-1]) // (y[0].size // x.shape[-1]))
        if np.array_equal(y.reshape(-1), x.reshape(-1)):  # a dropout, or a Flatten: the channels in turn
            return units.take(np.arange(y.shape[-1]) % x.shape[-1])
        if not _each_on_its_own(layer, x, y, self.random(x.shape)):
            self.matrices[name] = {}
            return self.new(name, y.shape[-1])
        if y.shape == x.shape and _same_place(layer, x, y):  # an activation
            return units
        return units.take(np.arange(y.shape[-1]))  # a pool

    @staticmethod
    def matrix(units: Units, w: np.ndarray) -> Matrices:
        """The weights w (taps, C, F) of channels with these units, by the layers of the units."""
        w = w * units.scale[:, None]
        squares, sums = (w**2).sum(axis=0), w.sum(axis=0)  # (C, F)
        layers, found = np.array(units.layers), {}
        for read in dict.fromkeys(units.layers):
            if read:
                here = layers == read
                square, total = np.zeros((2, units.numbers[here].max() + 1, w.shape[-1]))
                np.add.at(square, units.numbers[here], squares[here])
                np.add.at(total, units.numbers[here], sums[here])
                found[read] = np.where(total < 0, -1, 1) * np.sqrt(square)
        return found


def _key(a: np.ndarray, channel: int) -> bytes:
    """What a channel of random numbers is recognised by: the first pixels of every image."""
    return a.reshape(len(a), -1, a.shape[-1])[:, :2, channel].tobytes()  # (N, ..., C) -> (N, pixels, C)


def _channels(a: np.ndarray) -> np.ndarray:
    """(N, ..., C) -> (C, P), not more than a few pixels of every image."""
    return np.ascontiguousarray(a.reshape(len(a), -1, a.shape[-1])[:, :4].reshape(-1, a.shape[-1]).T, np.float64)


def _each_on_its_own(layer: Layer, x: np.ndarray, y: np.ndarray, other: np.ndarray) -> bool:
    """Whether channel c of the output y depends on no other channel of the input x than c.

    The channels whose numbers have a certain bit are replaced by `other`: those without it must not change. If that
    is so for each bit, and the other way round, no two channels meet.
    """
    channels = np.arange(x.shape[-1])
    if y.shape[-1] != len(channels):
        return False
    for bit in range(len(channels).bit_length()):
        for value in (0, 1):
            changed = (channels >> bit) & 1 == value
            new = layer.forward(np.where(changed, other, x), INFER)[0]
            if not np.array_equal(new[..., ~changed], y[..., ~changed], equal_nan=True):
                return False
    return True


def _same_place(layer: Layer, x: np.ndarray, y: np.ndarray) -> bool:
    """Whether a pixel of the output depends on no other pixel of the input: it is tried with the first one."""
    other = x.reshape(-1, x.shape[-1]).copy()  # (1, ..., C) -> (P, C)
    other[0] += 10
    new = layer.forward(other.reshape(x.shape), INFER)[0]
    return np.array_equal(new.reshape(other.shape)[1:], y.reshape(other.shape)[1:], equal_nan=True)


class _StandIn(Layer):
    """Takes the place of a child for one pass: what it receives goes to `run`, which says what it gives."""

    def __init__(self, child: Layer, run: Callable[[np.ndarray], np.ndarray]) -> None:
        self.child, self.run = child, run

    def children(self) -> dict[str, Layer]:
        return {}

    def out_shape(self, in_shape: Shape) -> Shape:
        return self.child.out_shape(in_shape)

    def forward(self, x: np.ndarray, ctx: Context) -> tuple[np.ndarray, Any]:
        return self.run(x), None
