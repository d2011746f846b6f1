"""Containers: layers made of layers, one after the other or side by side. `residual.py` has a third."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from minidl.backend.arrays import Array, array_module
from minidl.errors import ShapeError, UsageError, within
from minidl.layers.base import Context, Layer, Mode, Rule, Shape, as_rule


class Sequential(Layer):
    """Layers applied one after the other. Its cache is the list of their caches.

    Takes a dict of named layers, a list of layers, or the layers themselves (named "0", "1", ...).

    Forward:   y = f_k(... f_2(f_1(x)))
    Backward:  the chain rule, from the last layer to the first: the dx of each layer is the dy of the one before it

    Raises UsageError if a child is not a layer or has no name, and for a cache that was used already or never made.
    """

    def __init__(self, *layers: Layer | Mapping[str, Layer] | Sequence[Layer]) -> None:
        self.layers = named_children(self.label, layers)

    @property
    def wiring(self) -> str | None:  # a subclass may do something else with its layers
        own = ("forward", "backward", "input_grad", "project", "out_shape", "children", "__call__")
        return "chain" if all(getattr(type(self), f) is getattr(Sequential, f) for f in own) else None

    def children(self) -> dict[str, Layer]:
        self.refuse_others("layers")
        return self.layers

    def with_children(self, children: Mapping[str, Layer]) -> Sequential:
        new = copy.copy(self)
        new.layers = dict(children)
        return new

    def __getitem__(self, name: str | int | slice) -> Layer:
        if isinstance(name, slice):  # some of the layers, as a model
            return self.with_children(dict(list(self.layers.items())[name]))
        return super().__getitem__(name)

    def out_shape(self, in_shape: Shape) -> Shape:
        for name, layer in self.layers.items():
            with within(self.level(name)):
                in_shape = layer.out_shape(in_shape)
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, list | None]:
        require_pass(self, x, ctx)
        caches = []
        for name, layer in self.layers.items():
            x, cache = ctx.run(self.level(name), layer, x)
            caches.append(cache)
        return x, (caches if ctx.keeps_cache else None)

    def backward(self, dy: Array, cache: list, need_dx: bool = True) -> Array | None:
        require_cache(self, cache, len(self.layers))
        # `pop` leaves no other reference, so a cache or gradient that was used gives back its memory at once.
        gradient = [dy]
        del dy
        for i, (name, layer) in reversed(list(enumerate(self.layers.items()))):
            with within(self.level(name)):
                needed = need_dx or i > 0
                gradient.append(require_dx(layer, layer.backward(gradient.pop(), cache.pop(), needed), needed))
        return gradient.pop()

    def input_grad(self, dy: Array, cache: list) -> Array:
        return self._back(dy, cache, lambda layer, d, c: layer.input_grad(d, c))

    def project(self, s: Array, cache: list, rule: Rule | str) -> Array:
        rule = as_rule(rule)
        return self._back(s, cache, lambda layer, d, c: layer.project(d, c, rule))

    def _back(self, dy: Array, cache: list, back: Callable[[Layer, Array, Any], Array]) -> Array:
        require_cache(self, cache, len(self.layers))
        for (name, layer), c in zip(reversed(self.layers.items()), reversed(cache), strict=True):
            with within(self.level(name)):
                dy = require_dx(layer, back(layer, dy, c))
        return dy


class Concat(Layer):
    """Parallel branches with the same input; their outputs are joined on the channel axis.

    Each branch is a dict of named layers, applied in order. A branch adds no level to the names: the layer "b3" of
    any branch of "inception2" is "inception2.b3". If a branch is a layer or a list, its name is its number.

    Forward:   y = [branch_1(x), branch_2(x), ...]  along C
    Backward:  dy is split into the channels of the branches. Every branch reads x, so dx is the sum of their dx.

    Raises ShapeError if the branches' outputs differ in N, H or W, UsageError if two layers have the same name.
    Source: Szegedy et al., Going deeper with convolutions, 2014, section 4.
    """

    wiring = "parallel"

    def __init__(self, *branches: Mapping[str, Layer] | Layer | Sequence) -> None:
        if len(branches) == 1 and isinstance(branches[0], list | tuple | Iterator):
            branches = tuple(branches[0])
        self.branches = [
            Sequential(b if isinstance(b, Mapping) else {str(i): b if isinstance(b, Layer) else Sequential(b)})
            for i, b in enumerate(branches)
        ]
        if not self.branches:
            raise UsageError("Concat: needs at least one branch")
        names = [name for branch in self.branches for name in branch.layers]
        if len(set(names)) < len(names):
            raise UsageError(f"Concat: the layers of all branches need different names, got {', '.join(names)}")

    @property
    def unnamed(self) -> frozenset[str]:
        return frozenset(self.children())

    def children(self) -> dict[str, Layer]:
        self.refuse_others("branches")
        return {str(i): branch for i, branch in enumerate(self.branches)}

    def with_children(self, children: Mapping[str, Layer]) -> Concat:
        new = copy.copy(self)
        new.branches = list(children.values())
        return new

    def outputs(self, in_shape: Shape) -> dict[str, slice]:
        found, start = {}, 0
        for name, branch in self.children().items():
            stop = start + branch.out_shape(in_shape)[-1]
            found[name] = slice(start, stop)
            start = stop
        return found

    def out_shape(self, in_shape: Shape) -> Shape:
        shapes = [branch.out_shape(in_shape) for branch in self.branches]
        if len({shape[:-1] for shape in shapes}) > 1:
            raise ShapeError(f"{self.label}: the branches' outputs {shapes} differ in more than their channels")
        return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))

    def forward(self, x: Array, ctx: Context) -> tuple[Array, tuple[list, list[int]] | None]:
        require_pass(self, x, ctx)
        self.out_shape(x.shape)
        outputs, caches = zip(*(ctx.run("", branch, x) for branch in self.branches), strict=True)
        y = array_module(x).concatenate(outputs, axis=-1)
        return y, ((list(caches), [y.shape[-1] for y in outputs]) if ctx.keeps_cache else None)

    def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> Array | None:
        return self._join(dy, cache, lambda branch, d, c: branch.backward(d, c, need_dx))

    def input_grad(self, dy: Array, cache: Any) -> Array:
        return self._join(dy, cache, lambda branch, d, c: branch.input_grad(d, c))

    def project(self, s: Array, cache: Any, rule: Rule | str) -> Array:
        rule = as_rule(rule)
        return self._join(s, cache, lambda branch, d, c: branch.project(d, c, rule))

    def _join(self, dy: Array, cache: Any, back: Callable[[Layer, Array, Any], Array | None]) -> Array | None:
        require_cache(self, cache, 2)
        caches, channels = cache
        dx, start = None, 0
        for branch, c, width in zip(self.branches, caches, channels, strict=True):
            d = back(branch, dy[..., start : start + width], c)
            dx = d if dx is None else dx + d
            start += width
        return dx

    def __repr__(self) -> str:
        return f"Concat({', '.join(' + '.join(branch.children()) for branch in self.branches)})"


def named_children(label: str, layers: Sequence) -> dict[str, Layer]:
    """The layers in the arguments of `Sequential(...)`, by name: from a dict, from a list, or one by one."""
    if len(layers) == 1 and isinstance(layers[0], Mapping | list | tuple | Iterator):
        layers = layers[0]
    named = dict(layers) if isinstance(layers, Mapping) else {str(i): layer for i, layer in enumerate(layers)}
    for name, layer in named.items():
        if not isinstance(name, str) or not name.strip():
            raise UsageError(f"{label}: {name!r} is not a name for a layer: choose a text that is not empty")
        require_layer(f"{label}: {name!r}", layer)
    return named


def require_layer(what: str, layer: Any) -> None:
    """Raises UsageError if `layer` is not a layer, and says what may be meant."""
    if isinstance(layer, type) and issubclass(layer, Layer):
        raise UsageError(f"{what} is the class {layer.__name__}, not a layer: write {layer.__name__}(...)")
    if not isinstance(layer, Layer):
        raise UsageError(f"{what} is {layer!r:.60}, not a layer")


def require_pass(layer: Layer, x: Any, ctx: Any) -> None:
    """Raises UsageError unless x is an array and `ctx` a Context, and says how each kind of pass is written."""
    if not isinstance(ctx, Context):
        if isinstance(x, Context):
            raise UsageError(f"{layer.label}: forward takes (x, ctx), and got them the other way round")
        given = str(ctx) if isinstance(ctx, Mode) else f"{ctx!r:.60}"
        raise UsageError(
            f"{layer.label}: forward(x, {given}) doesn't say which pass it is: give md.TRAIN.at_step(step), md.PROBE "
            "or md.INFER, or a Context of your own"
        )
    array_module(x)


def require_dx(layer: Layer, dx: Array | None, needed: bool = True) -> Array | None:
    """`dx`, which the way back through `layer` returned. Raises UsageError if it is None and `needed`."""
    if dx is None and needed:
        raise UsageError(
            f"{layer.label}: the way back (backward, input_grad or project) returns None, must return dx"
        )
    return dx


def require_cache(layer: Layer, cache: Any, length: int) -> None:
    """Raises UsageError unless `cache` is an unused cache with `length` entries."""
    if not isinstance(cache, list | tuple) or len(cache) != length:
        why = "an INFER pass keeps none" if cache is None else "it is used up, or another layer's"
        raise UsageError(
            f"{layer.label}: no cache for the way back ({why}): each backward needs its own forward pass"
        )
