"""Initial weights. They are drawn on the host in float64 and then cast, so every backend and dtype gets the same
numbers.

The aim: a signal keeps its variance from layer to layer. The output of a unit with fan_in independent inputs has the
variance fan_in * Var[w] * E[x^2].
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

Shape = tuple[int, ...]


def he_normal(rng: np.random.Generator, shape: Shape, fan_in: int, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Normal with variance 2 / fan_in: a ReLU halves E[x^2], hence the 2 (He et al. 2015, section 2.2)."""
    return rng.normal(0.0, math.sqrt(2 / fan_in), shape).astype(dtype)
