"""Initial weights. Always drawn on the host and in float64, then cast: every backend and dtype gets the same numbers.

The aim: a signal keeps its variance on its way through the layers. The output of a unit with fan_in
independent inputs has variance fan_in * Var[w] * E[x^2].
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

Shape = tuple[int, ...]


def he_normal(rng: np.random.Generator, shape: Shape, fan_in: int, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Normal with variance 2 / fan_in: a ReLU halves E[x^2], hence the 2 (He et al. 2015, section 2.2)."""
    return rng.normal(0.0, math.sqrt(2 / fan_in), shape).astype(dtype)
