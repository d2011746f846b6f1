"""Initial weights. Always drawn on the host and in float64, then cast: every backend and dtype gets the same numbers.

The aim of all four: a signal keeps its variance on its way through the layers. The output of a unit with fan_in
independent inputs has variance fan_in * Var[w] * E[x^2].
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from minidl.errors import ShapeError

Shape = tuple[int, ...]


def fans(shape: Shape) -> tuple[int, int]:
    """(fan_in, fan_out): how many inputs each output has, and how many outputs each input reaches.

    (KH, KW, C, F) -> (KH KW C, KH KW F) for a convolution, (in, out) -> (in, out) for a linear layer;
    ShapeError for anything else.
    """
    if len(shape) not in (2, 4):
        raise ShapeError(f"fans of shape {shape}: weights are (KH, KW, C, F) or (in, out)")
    *window, fan_in, fan_out = shape
    return math.prod(window) * fan_in, math.prod(window) * fan_out


def he_normal(rng: np.random.Generator, shape: Shape, fan_in: int, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Normal with variance 2 / fan_in: a ReLU halves E[x^2], hence the 2 (He et al. 2015, section 2.2)."""
    return _normal(rng, shape, 2 / fan_in, dtype)


def he_uniform(rng: np.random.Generator, shape: Shape, fan_in: int, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Uniform with variance 2 / fan_in, on [-a, a) with a = sqrt(6 / fan_in) (He et al. 2015, section 2.2)."""
    return _uniform(rng, shape, 2 / fan_in, dtype)


def glorot_normal(
    rng: np.random.Generator, shape: Shape, fan_in: int, fan_out: int, dtype: DTypeLike = np.float32
) -> np.ndarray:
    """Normal with variance 2 / (fan_in + fan_out): a compromise between forward, which asks for 1 / fan_in, and
    backward, which asks for 1 / fan_out (Glorot & Bengio 2010, eq. 12)."""
    return _normal(rng, shape, 2 / (fan_in + fan_out), dtype)


def glorot_uniform(
    rng: np.random.Generator, shape: Shape, fan_in: int, fan_out: int, dtype: DTypeLike = np.float32
) -> np.ndarray:
    """Uniform with variance 2 / (fan_in + fan_out), on [-a, a) with a = sqrt(6 / (fan_in + fan_out))
    (Glorot & Bengio 2010, eq. 16)."""
    return _uniform(rng, shape, 2 / (fan_in + fan_out), dtype)


def _normal(rng: np.random.Generator, shape: Shape, variance: float, dtype: DTypeLike) -> np.ndarray:
    return rng.normal(0.0, math.sqrt(variance), shape).astype(dtype)


def _uniform(rng: np.random.Generator, shape: Shape, variance: float, dtype: DTypeLike) -> np.ndarray:
    limit = math.sqrt(3 * variance)  # the variance of a uniform on [-a, a) is a^2 / 3
    return rng.uniform(-limit, limit, shape).astype(dtype)
