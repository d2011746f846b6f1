"""Small layers that stand in for real ones in containers, and the call that all containers share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minidl.layers.base import PROBE, Context, Layer, Parameter
from minidl.layers.containers import Sequential
from minidl.learn.exercise import Arguments, Outcome

DX, ADDED = "dx", "what is added to the gradients"
START = 7.0  # of the gradients: so adding is told from assigning


class Times(Layer):
    """y = w x, with one number w."""

    def __init__(self, w: float) -> None:
        self.params["w"] = Parameter(np.array([w]))

    def forward(self, x: np.ndarray, ctx: Context) -> tuple[np.ndarray, Any]:
        return x * self.params["w"].value, x

    def backward(self, dy: np.ndarray, cache: Any, need_dx: bool = True) -> np.ndarray | None:
        self.params["w"].grad += (dy * cache).sum()
        return self.input_grad(dy, cache) if need_dx else None

    def input_grad(self, dy: np.ndarray, cache: Any) -> np.ndarray:
        return dy * self.params["w"].value

    def __repr__(self) -> str:
        return f"{self.params['w'].value[0]:g} x"


class Product(Layer):
    """y = x @ w along the last axis, w (C, F): a linear layer, or a 1x1 convolution."""

    def __init__(self, w: np.ndarray) -> None:
        self.params["w"] = Parameter(np.array(w, float))

    def out_shape(self, in_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*in_shape[:-1], self.params["w"].value.shape[1])

    def forward(self, x: np.ndarray, ctx: Context) -> tuple[np.ndarray, Any]:
        return x @ self.params["w"].value, x

    def backward(self, dy: np.ndarray, cache: Any, need_dx: bool = True) -> np.ndarray | None:
        c, f = self.params["w"].value.shape
        self.params["w"].grad += cache.reshape(-1, c).T @ dy.reshape(-1, f)  # (..., C) and (..., F) -> matrices
        return self.input_grad(dy, cache) if need_dx else None

    def input_grad(self, dy: np.ndarray, cache: Any) -> np.ndarray:
        return dy @ self.params["w"].value.T

    def __repr__(self) -> str:
        c, f = self.params["w"].value.shape
        return f"x @ w {c}x{f}"


class Square(Layer):
    """y = x^2, whose way back needs x."""

    def forward(self, x: np.ndarray, ctx: Context) -> tuple[np.ndarray, Any]:
        return x * x, x

    def input_grad(self, dy: np.ndarray, cache: Any) -> np.ndarray:
        return dy * (2 * cache)

    def __repr__(self) -> str:
        return "x^2"


class Same(Layer):
    """y = x, as dropout in a PROBE pass: what goes back is dy itself, not a copy."""

    def forward(self, x: np.ndarray, ctx: Context) -> tuple[np.ndarray, Any]:
        return x, None

    def input_grad(self, dy: np.ndarray, cache: Any) -> np.ndarray:
        return dy

    def __repr__(self) -> str:
        return "x"


def numbers(rng: np.random.Generator, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Arrays of these shapes: whole numbers if there are few, so that one can follow them on paper."""
    return [
        rng.choice([-3.0, -2, -1, 1, 2, 3, 4], size=shape) if np.prod(shape) < 10 else rng.normal(size=shape)
        for shape in shapes
    ]


def matrix(rng: np.random.Generator, c: int, f: int) -> Product:
    """A product with a matrix of whole numbers."""
    return Product(rng.choice([-2.0, -1, 1, 2, 3], size=(c, f)))


def named(*layers: Layer) -> dict[str, Layer]:
    """The layers by their formulas; a second one of the same formula gets a number."""
    found: dict[str, Layer] = {}
    for layer in layers:
        name, count = repr(layer), 2
        while name in found:
            name, count = f"{layer!r} ({count})", count + 1
        found[name] = layer
    return found


def chain(*layers: Layer) -> Sequential:
    return Sequential(named(*layers))


def back(function: Callable, arguments: Arguments) -> Outcome:
    """dx of a container, and what is added to the gradients of all layers in it, as one vector.

    Where no dx is needed, it counts only if the gradients are right: with wrong ones it isn't worth a word.
    """
    layer, x, dy, need_dx = arguments.values()
    layer = _in_dtype(layer, dy.dtype)
    dx, added = _added(function, layer, x, dy, need_dx)
    if not need_dx and dx is not None:
        _, right = _added(type(layer).backward, layer, x, np.array(dy), False)
        dx = dx if np.allclose(added, right) else None
    return {DX: dx, ADDED: added}


def _added(
    function: Callable, layer: Layer, x: np.ndarray, dy: np.ndarray, need_dx: bool
) -> tuple[np.ndarray | None, np.ndarray]:
    parameters = layer.named_parameters().values()
    for p in parameters:
        p.grad[...] = START
    _, cache = layer.forward(x, PROBE)
    dx = function(layer, dy, cache, need_dx)
    return dx, np.concatenate(
        [np.zeros(0, dy.dtype), *(p.grad.ravel() - p.grad.dtype.type(START) for p in parameters)]
    )


def _in_dtype(layer: Layer, dtype: np.dtype) -> Layer:
    """A copy of the layer with parameters of this dtype."""
    layer = copy.deepcopy(layer)
    for leaf in {id(leaf): leaf for leaf in layer.leaves()}.values():
        leaf.params.update({name: Parameter(p.value.astype(dtype), p.tags) for name, p in leaf.params.items()})
    return layer


def witness(arguments: Arguments) -> Mapping[str, tuple[Callable, np.ndarray]]:
    """L = sum of y dy has the gradient dx."""
    layer, x, dy, _ = arguments.values()
    return {DX: (lambda x: (layer.forward(x, PROBE)[0] * dy).sum(), x)}
