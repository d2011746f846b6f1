"""Layers made of layers: one after the other, or side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minidl.backend.arrays import Array, array_module
from minidl.errors import ShapeError, UsageError
from minidl.layers.base import Context, Layer, Rule, Shape, as_rule


class Sequential(Layer):
    """Layers applied one after the other; its cache is the list of theirs.

    Takes a dict of named layers, or a list (named "0", "1", ...).

    Forward:   y = f_k(... f_2(f_1(x)))
    Backward:  the chain rule from the last layer to the first: dx = J_1' (... (J_k' dy))
    """

    def __init__(self, layers: Mapping[str, Layer] | Sequence[Layer]) -> None:
        super().__init__()
        if not isinstance(layers, Mapping):
            layers = {str(i): layer for i, layer in enumerate(layers)}
        self.layers = dict(layers)
        self.set_path(self.path)

    def children(self) -> dict[str, Layer]:
        return self.layers

    def out_shape(self, in_shape: Shape) -> Shape:
        for layer in self.layers.values():
            in_shape = layer.out_shape(in_shape)
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, list | None]:
        caches = []
        for layer in self.layers.values():
            x, cache = layer.forward(x, ctx)
            caches.append(cache)
        return x, (caches if ctx.keeps_cache else None)

    def backward(self, dy: Array, cache: list, need_dx: bool = True) -> Array | None:
        # What is popped belongs to the callee alone: used caches and gradients give their memory back at once.
        gradient = [dy]
        del dy
        for i, layer in reversed(list(enumerate(self.layers.values()))):
            gradient.append(layer.backward(gradient.pop(), cache.pop(), need_dx or i > 0))
        return gradient.pop()

    def input_grad(self, dy: Array, cache: list) -> Array:
        for layer, c in zip(reversed(self.layers.values()), reversed(cache), strict=True):
            dy = layer.input_grad(dy, c)
        return dy

    def project(self, s: Array, cache: list, rule: Rule | str) -> Array:
        rule = as_rule(rule)
        for layer, c in zip(reversed(self.layers.values()), reversed(cache), strict=True):
            s = layer.project(s, c, rule)
        return s

    def __repr__(self) -> str:
        return f"Sequential({', '.join(self.layers)})"


class Concat(Layer):
    """Parallel branches that read the same input, their outputs joined on the channel axis.

    Each branch is a dict of named layers, applied in order. Branches add no level to the names: the layer
    "b3" of any branch of "inception2" is "inception2.b3".

    Forward:   y = [branch_1(x), branch_2(x), ...]  along C
    Backward:  dy is cut into the branches' channels; x feeds every branch, so dx is the sum of their dx.

    Raises ShapeError if the branches' outputs differ in N, H or W, UsageError if two layers share a name.
    Source: Szegedy et al., Going deeper with convolutions, 2014, section 4.
    """

    def __init__(self, branches: Sequence[Mapping[str, Layer]]) -> None:
        super().__init__()
        self.branches = [Sequential(branch) for branch in branches]
        names = [name for branch in self.branches for name in branch.layers]
        if len(set(names)) < len(names):
            raise UsageError(f"Concat: the layers of all branches need different names, got {', '.join(names)}")
        self.set_path(self.path)

    def children(self) -> dict[str, Layer]:
        return {name: layer for branch in self.branches for name, layer in branch.layers.items()}

    def out_shape(self, in_shape: Shape) -> Shape:
        shapes = [branch.out_shape(in_shape) for branch in self.branches]
        if len({shape[:-1] for shape in shapes}) > 1:
            raise ShapeError(f"{self.label}: the branches' outputs {shapes} differ in more than their channels")
        return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))

    def forward(self, x: Array, ctx: Context) -> tuple[Array, tuple[list, list[int]] | None]:
        self.out_shape(x.shape)
        outputs, caches = zip(*(branch.forward(x, ctx) for branch in self.branches), strict=True)
        y = array_module(x).concatenate(outputs, axis=-1)
        return y, ((list(caches), [y.shape[-1] for y in outputs]) if ctx.keeps_cache else None)

    def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> Array | None:
        return self._join(dy, cache, lambda branch, d, c: branch.backward(d, c, need_dx))

    def input_grad(self, dy: Array, cache: Any) -> Array:
        return self._join(dy, cache, lambda branch, d, c: branch.input_grad(d, c))

    def project(self, s: Array, cache: Any, rule: Rule | str) -> Array:
        rule = as_rule(rule)
        return self._join(s, cache, lambda branch, d, c: branch.project(d, c, rule))

    def _join(self, dy: Array, cache: Any, back: Callable[[Sequential, Array, list], Array | None]) -> Array | None:
        caches, channels = cache
        dx, start = None, 0
        for branch, c, width in zip(self.branches, caches, channels, strict=True):
            d = back(branch, dy[..., start : start + width], c)
            dx = d if dx is None else dx + d
            start += width
        return dx

    def __repr__(self) -> str:
        return f"Concat({', '.join(' + '.join(branch.layers) for branch in self.branches)})"


def map_leaves(model: Layer, change: Callable[[Layer], Layer]) -> Layer:
    """A copy of the tree `model` in which every leaf is replaced by `change(leaf)`."""
    if isinstance(model, Sequential):
        return Sequential({name: map_leaves(layer, change) for name, layer in model.layers.items()})
    if isinstance(model, Concat):
        return Concat([{n: map_leaves(layer, change) for n, layer in b.layers.items()} for b in model.branches])
    return change(model)
