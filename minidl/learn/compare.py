"""Are two answers the same, up to rounding?"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.learn.exercise import Returned
from minidl.learn.running import Answer


def agree(given: Answer, right: Answer) -> bool:
    """Whether an answer has the values, shapes and dtypes of the right one, and left its arguments alone."""
    if given.raised or right.raised:
        return bool(given.raised and right.raised and _same_error(given.raised.error, right.raised.error))
    return (
        given.changed == right.changed
        and given.outcome.keys() == right.outcome.keys()
        and all(equal(given.outcome[name], value) for name, value in right.outcome.items())
    )


def _same_error(given: BaseException, right: BaseException) -> bool:
    """Whether two errors are of one kind; what was returned in place of the outputs must be described alike."""
    return type(given) is type(right) and (not isinstance(right, Returned) or str(given) == str(right))


def equal(given: Any, right: Any) -> bool:
    """Whether a value is the right one: an array of its shape, dtype and numbers, or an equal number or text."""
    if not isinstance(right, np.ndarray | np.generic):
        if isinstance(right, float):
            return isinstance(given, float | int | np.number) and close(np.asarray(given), np.asarray(right))
        return type(given) is type(right) and given == right
    if right.ndim == 0 and right.dtype == np.float64 and type(given) is float:
        return close(np.asarray(given), right)
    if not isinstance(given, np.ndarray | np.generic):
        return False
    return given.shape == right.shape and given.dtype == right.dtype and close(given, right)


def close(given: np.ndarray, right: np.ndarray) -> bool:
    """Whether two arrays of one shape have the same numbers, up to the rounding of their sums."""
    return bool(apart(given, right).any() == np.False_)


def apart(given: np.ndarray, right: np.ndarray) -> np.ndarray:
    """A mask of the entries that differ by more than rounding."""
    given, right = np.asarray(given), np.asarray(right)
    if given.dtype.kind not in "fiubcO":  # texts, dates, records
        return np.ones(np.broadcast_shapes(given.shape, right.shape), bool)
    if right.dtype.kind not in "fc" or given.dtype.kind not in "fiub":
        return given != right
    tolerance = 2e-4 if right.dtype == np.float32 else 1e-8
    finite = np.abs(right[np.isfinite(right)])
    scale = float(finite.max()) if finite.size else 1.0
    return ~np.isclose(
        given.astype(float), right.astype(float), rtol=tolerance, atol=tolerance * scale, equal_nan=True
    )
