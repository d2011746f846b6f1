"""The ends of an axis, computed from the values on it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

LARGEST = 1e300  # treated as infinite, because matplotlib multiplies the values on its axes


def limits(values: ArrayLike, room: float = 0.05) -> tuple[float, float]:
    """(low, high) that contain all finite `values`, with `room` of their range free on both sides.

    If all values are equal, there is some room too. Without any finite value the axis goes from 0 to 1.
    """
    values = np.asarray(values, np.float64)
    values = values[np.abs(values) < LARGEST]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    size = max(abs(low), abs(high))
    # On less the ticks would have to have more digits than there is room for.
    span = max(high - low, 1e-6 * size) or 1.0
    middle, half = (low + high) / 2, (0.5 + room) * span
    return middle - half, middle + half
