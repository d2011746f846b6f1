"""The ends of an axis, from the values that must lie on it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

LARGEST = 1e300  # as good as infinite: matplotlib multiplies what is on its axes


def limits(values: ArrayLike, room: float = 0.05) -> tuple[float, float]:
    """(low, high) with all finite `values` between them, and `room` of their span beyond the outermost.

    Around equal values there is some room as well; without any finite value the axis goes from 0 to 1.
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
