"""Does each layer keep the promises that every other layer relies on?

A layer writes neither into x nor into dy. One that does may still give a gradient that looks right. So this is
checked at every layer while a pass runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from minidl.backend.arrays import Array, array_module
from minidl.errors import UsageError
from minidl.layers.base import Context, Layer


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


class _Checked:
    """The three methods of one layer, with checks."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.inner = {name: getattr(layer, name) for name in ("forward", "input_grad", "backward")}

    def methods(self) -> dict[str, Callable]:
        return {name: getattr(self, name) for name in self.inner}

    def forward(self, x: Array, ctx: Context) -> Any:
        with self._unchanged("forward", "x", x):
            return self.inner["forward"](x, ctx)

    def input_grad(self, dy: Array, cache: Any) -> Array:
        with self._unchanged("input_grad", "dy", dy):
            return self.inner["input_grad"](dy, cache)

    def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> Array | None:
        with self._unchanged("backward", "dy", dy):
            return self.inner["backward"](dy, cache, need_dx)

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
