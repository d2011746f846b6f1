"""Does each layer keep the promises that every other layer relies on?

A layer writes neither into x nor into dy, and replaces none of its buffers, which others hold; y has the shape that
`out_shape` computes, and dx has the shape of x. A layer that breaks one of these may still give a gradient that looks
right, or the error shows only in the layer after it. So they are checked at every layer while a pass runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from minidl.backend.arrays import Array, array_module
from minidl.errors import UsageError
from minidl.layers.base import Context, Layer, Shape
from minidl.layers.heads import has_side_heads


@contextmanager
def contract_checked(model: Layer) -> Iterator[None]:
    """In this block, `model` and all layers in it raise UsageError if they break the contract above.

    What was written in place is restored first. Every layer's methods are replaced in the instance, so a container
    of any kind calls the checked ones.
    """
    layers = list({id(layer): layer for _, layer in model.places()}.values())
    before = [dict(vars(layer)) for layer in layers]
    checked = [_Checked(layer).methods() for layer in layers]
    try:
        for layer, methods in zip(layers, checked, strict=True):
            vars(layer).update(methods)
        yield
    finally:
        for layer, methods, own in zip(layers, checked, before, strict=True):
            for name in methods:
                del vars(layer)[name]
                if name in own:
                    vars(layer)[name] = own[name]


def require_out_shape(layer: Layer, in_shape: Shape, y: Any) -> None:
    """Raises UsageError if the output `y` doesn't have the shape that the layer promises."""
    if layer.children() and type(layer).out_shape is Layer.out_shape:
        return  # it promises nothing
    promised, shape = tuple(layer.out_shape(in_shape)), getattr(y, "shape", None)
    if shape != promised and not (has_side_heads(layer) and (*shape[:1], *shape[2:]) == promised):
        raise UsageError(
            f"{layer.label}: forward returns y as {_kind(y)} for x of shape {in_shape}, but out_shape says "
            f"{promised}: a layer whose y has another shape than x needs an out_shape(self, in_shape)"
        )


class _Checked:
    """The three methods of one layer, with checks."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.inner = {name: getattr(layer, name) for name in ("forward", "input_grad", "backward")}
        self.shapes: set[tuple[Shape, Shape]] = set()  # of x and y, in every forward pass so far

    def methods(self) -> dict[str, Callable]:
        return {name: getattr(self, name) for name in self.inner}

    def forward(self, x: Array, ctx: Context) -> Any:
        buffers = dict(self.layer.buffers)
        with self._unchanged("forward", "x", x):
            result = self.inner["forward"](x, ctx)
        for name, a in buffers.items():
            if self.layer.buffers.get(name) is not a:
                self.layer.buffers.update(buffers)
                raise UsageError(
                    f"{self.layer.label}: forward puts another array into buffers[{name!r}], and who holds the first "
                    f"one, such as an average of the weights, doesn't see it: write buffers[{name!r}][...] = array"
                )
        if isinstance(result, tuple) and len(result) == 2:  # anything else is refused by `ctx.run`
            require_out_shape(self.layer, x.shape, result[0])
            self.shapes.add((x.shape, result[0].shape))
        return result

    def input_grad(self, dy: Array, cache: Any) -> Array:
        with self._unchanged("input_grad", "dy", dy):
            dx = self.inner["input_grad"](dy, cache)
        return self._of_x("input_grad", dx, dy)

    def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> Array | None:
        with self._unchanged("backward", "dy", dy):
            dx = self.inner["backward"](dy, cache, need_dx)
        return self._of_x("backward", dx, dy) if need_dx else dx

    @contextmanager
    def _unchanged(self, method: str, name: str, a: Array) -> Iterator[None]:
        before = a.copy()
        yield
        if not array_module(a).array_equal(a, before, equal_nan=True):
            a[...] = before
            raise UsageError(
                f"{self.layer.label}: {method} writes into {name}, which others still read: make a new array, "
                f"2 * {name} instead of {name} *= 2"
            )

    def _of_x(self, method: str, dx: Any, dy: Array) -> Any:
        shapes = sorted(x for x, y in self.shapes if y == dy.shape)  # one, unless it is used twice
        if shapes and getattr(dx, "shape", None) not in shapes:
            raise UsageError(
                f"{self.layer.label}: {method} returns {_kind(dx)}, must return dx of the shape of x, "
                f"{' or '.join(map(str, shapes))}"
            )
        return dx


def _kind(a: Any) -> str:
    if a is None:
        return "None"
    return f"an array of shape {a.shape}" if hasattr(a, "shape") else f"a {type(a).__name__}"
