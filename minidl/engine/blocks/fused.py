"""What all composites share: the plain layers whose work they do, and the runner that runs them."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

import numpy as np

from minidl.backend.arrays import Array
from minidl.engine.tile_layer import TileLayer
from minidl.engine.tiles.grid import Grid
from minidl.engine.tiles.runner import Scratch, TileRunner
from minidl.errors import UsageError
from minidl.kernels.shapes import require_float
from minidl.layers.base import Context, Layer, Mode, Rule, Shape
from minidl.layers.containers import require_cache, require_pass

GEOMETRY = ("kernel", "stride", "padding")  # settings on which it depends which composite fits


class Fused(TileLayer):
    """The fast form of several plain layers in a row, `plain`, with the same Parameters and buffers.

    A subclass implements `train` (TRAIN: batch statistics, with a cache) and `train_backward`; for INFER also
    `tiles`, `fold` and `infer_tile`. PROBE and `project` use the plain layers, so that every inner map exists. The
    names are those of the plain layers.
    """

    _fits: Shape = ()  # the last input shape that the plain layers accepted

    def __init__(self, plain: Layer, runner: TileRunner) -> None:
        self.plain, self.runner = plain, runner
        held = [(name, part) for _, layer in plain.places() for name, part in vars(layer).items()]
        self.parts = [part for name, part in held if isinstance(part, dict | list) and name != "buffers"]
        self._were = list(map(copy, self.parts))
        settings = [(vars(layer), name) for _, layer in plain.places() for name in GEOMETRY if name in vars(layer)]
        self._settings = [(of, name, of[name]) for of, name in settings]

    __setattr__ = object.__setattr__  # its Parameters are those of the plain layers

    @property
    def key(self) -> int:
        """A name that distinguishes its arrays from those of other layers in the same scratch memory."""
        return id(self)

    @property
    def unnamed(self) -> frozenset[str]:
        return self.plain.unnamed

    def children(self) -> dict[str, Layer]:
        return self.plain.children()

    def with_children(self, children: Mapping[str, Layer]) -> Layer:
        """The plain layers with other children; fused if these are of the same kinds, with NumPy arrays."""
        plain = self.plain.with_children(children) if children else self.plain
        kinds, others = ([type(below) for _, below in layer.places()] for layer in (self.plain, plain))
        numpy = all(isinstance(p.value, np.ndarray) for p in plain.named_parameters().values())
        return type(self)(plain, self.runner) if kinds == others and numpy else plain

    def out_shape(self, in_shape: Shape) -> Shape:
        return self.plain.out_shape(in_shape)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Any]:
        require_pass(self, x, ctx)
        self.require_own_parts()
        if x.shape != self._fits:  # asking all plain layers would take a tenth of a step's serial time
            self.out_shape(x.shape)
            self._fits = x.shape
        require_float(self.label, x)
        if ctx.mode is Mode.PROBE:
            return self.plain.forward(x, ctx)
        self.runner.begin(x.shape)
        if ctx.mode is Mode.INFER:
            return self.infer(x), None
        with self.runner.whole_pass():
            if self.kept:
                self.kept.drop()
            y, cache = self.train(x)
        return y, FusedCache(cache, y.dtype)

    def require_own_parts(self) -> None:
        """Raises UsageError if a layer or Parameter in it was replaced: the composite would use the old one. Also if
        a geometry was changed, for which another composite might be right.
        """
        if any(of[name] != then for of, name, then in self._settings):
            raise UsageError(
                f"{self.label}: a kernel, stride or padding in it was changed: fuse the plain model again"
            )
        if self.parts != self._were:
            raise UsageError(
                f"{self.label}: a layer or Parameter in it was replaced: write `p.value[...] = array`, or fuse the "
                "plain model again"
            )

    def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> Array | None:
        with self.runner.whole_pass():
            if cache is None or (isinstance(cache, FusedCache) and cache.spent):
                require_cache(self, cache, 1)
            if isinstance(cache, FusedCache):
                # A loss of the user's own may give float64.
                return self.train_backward(dy.astype(cache.dtype, copy=False), cache.take(), need_dx)
            return self.plain.backward(dy, cache, need_dx)

    def input_grad(self, dy: Array, cache: Any) -> Array:
        if cache is None:
            require_cache(self, cache, 1)
        if isinstance(cache, FusedCache):
            raise UsageError(f"{self.label}: input_grad needs a PROBE pass; after a TRAIN pass call backward")
        return self.plain.input_grad(dy, cache)

    def project(self, s: Array, cache: Any, rule: Rule) -> Array:
        return self.plain.project(s, cache, rule)

    @staticmethod
    def match(layers: list[Layer], first: bool) -> int:
        """How many of the first of these layers, one after the other, it can do the work of; 0: it can't.

        `first`: whether a network begins with them.
        """
        raise NotImplementedError

    def train(self, x: Array) -> tuple[Array, Any]:
        """(y, cache) with batch statistics; updates the running ones."""
        raise NotImplementedError

    def train_backward(self, dy: Array, cache: Any, need_dx: bool) -> Array | None:
        """Adds the parameters' gradients and returns dx. It may overwrite the cache, but never dy."""
        raise NotImplementedError

    def infer(self, x: Array) -> Array:
        """y with running statistics."""
        with self.runner.lock:  # not in the middle of a training pass
            tiles, folded = self.tiles(x), self.folded(x)
        y = self.runner.empty(self.out_shape(x.shape), x.dtype)

        def task(i: int, lane: int, scratch: Scratch) -> None:
            y[tiles[i]] = self.infer_tile(x[tiles[i]], folded, scratch)

        self.runner.run(task, tiles)
        return y

    def tiles(self, x: Array) -> Grid:
        """The batch in tiles."""
        raise NotImplementedError


class FusedCache:
    """A TRAIN cache. Its type tells it from a plain one, and it can be used only once. `dtype` is that of y."""

    def __init__(self, value: Any, dtype: np.dtype) -> None:
        self._value, self.dtype = value, dtype

    @property
    def spent(self) -> bool:
        return self._value is None

    def take(self) -> Any:
        value, self._value = self._value, None
        return value
