"""A pass there and back in which every layer's arrays are kept."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.layers.base import Context, Layer, Shape
from minidl.layers.context import join
from minidl.layers.tree import rebuilt
from minidl.visual.truncate import Keys


@dataclass
class Seen:
    """What a layer received and gave; dy and dx are None where the way back didn't come through it."""

    name: str
    keys: Keys
    layer: Layer
    x: np.ndarray
    y: np.ndarray
    cache: Any
    dy: np.ndarray | None = None
    dx: np.ndarray | None = None


class Pass:
    """A forward pass of `model`, and then a way back.

    seen    the layers by their keys, in the order in which they were done; the model itself is ()
    keep    only these; None: all
    """

    def __init__(self, model: Layer, x: np.ndarray, ctx: Context, keep: Collection[Keys] | None = None) -> None:
        self.seen: dict[Keys, Seen] = {}
        self.keep = keep
        self._model = self._watched(model, "", "", ())
        self.y, self._cache = self._model.forward(x, ctx)

    def back(self, dy: np.ndarray) -> Pass:
        """Takes dy, of the shape of y, back to the images."""
        self._model.input_grad(dy, self._cache)
        return self

    def _watched(self, layer: Layer, name: str, path: str, keys: Keys) -> Layer:
        """path    with which the names of what is in the layer begin"""
        children = {
            key: self._watched(child, join(path, key), join(path, layer.level(key)), (*keys, key))
            for key, child in layer.children().items()
        }
        new = rebuilt(layer, children) if children else layer
        return _Watched(self.seen, name, keys, layer, new) if self.keep is None or keys in self.keep else new


class _Watched(Layer):
    """Takes the place of a layer and writes down its arrays."""

    def __init__(self, seen: dict[Keys, Seen], name: str, keys: Keys, layer: Layer, running: Layer) -> None:
        self.seen, self.name, self.keys, self.layer, self.running = seen, name, keys, layer, running

    def children(self) -> dict[str, Layer]:
        return {}

    def out_shape(self, in_shape: Shape) -> Shape:
        return self.layer.out_shape(in_shape)

    def forward(self, x: np.ndarray, ctx: Context) -> tuple[np.ndarray, Any]:
        y, cache = self.running.forward(x, ctx)
        self.seen[self.keys] = Seen(self.name, self.keys, self.layer, x, y, cache)
        return y, cache

    def input_grad(self, dy: np.ndarray, cache: Any) -> np.ndarray:
        dx = self.running.input_grad(dy, cache)
        seen = self.seen[self.keys]
        if cache is seen.cache:  # of a layer that its container runs more than once, it is the last run
            seen.dy, seen.dx = dy, dx
        return dx
