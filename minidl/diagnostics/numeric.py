"""Derivatives by central differences: the two functions that every check of a backward pass stands on.

`gradcheck` does the same for whole layers: it also restores what a forward pass changes, and leaves out directions
in which a ReLU or a max pool switches.
"""

from __future__ import annotations

from collections.abc import Callable

from minidl.backend.arrays import Array, array_module


def central_difference(f: Callable[[Array], float], x: Array, direction: Array, step: float = 1e-5) -> float:
    """The derivative of f at x along `direction` u: (f(x + step u) - f(x - step u)) / (2 step).

    x and u have the same shape, x is float64; neither is changed. f must not change its argument. The error is
    O(step^2) + O(rounding / step). A one-sided difference, (f(x + step u) - f(x)) / step, has the error O(step).
    """
    return float(f(x + step * direction) - f(x - step * direction)) / (2 * step)


def numeric_gradient(f: Callable[[Array], float], x: Array, step: float = 1e-5) -> Array:
    """df/dx, an array of the shape of x: entry i is the central difference along the i-th unit vector.

    It calls f twice for each entry of x.
    """
    xp = array_module(x)
    gradient = xp.empty_like(x)
    for i in range(x.size):
        unit = xp.zeros(x.size, x.dtype)
        unit[i] = 1
        gradient.flat[i] = central_difference(f, x, unit.reshape(x.shape), step)  # (size,) -> shape of x
    return gradient
