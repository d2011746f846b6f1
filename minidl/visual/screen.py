"""Turns the signed values of a projection into shades of gray for the screen."""

from __future__ import annotations

import numpy as np

from minidl.errors import DataError, DivergedError, UsageError

SCALES = ("image", "grid")
PERCENTILE = 99.5  # larger values, one in 200, are clipped: a few extreme pixels would leave all others gray
MID_GRAY = 128


def to_screen(projections: np.ndarray, scale: str = "image") -> tuple[np.ndarray, np.ndarray]:
    """Shades of signed projections (n, H, W, 3) as uint8, and which of the n are zero everywhere, bool (n,).

        shade = floor(128 + 127.5 clip(g / q, -1, 1))

    This is 255 (0.5 + 0.5 clip(g / q, -1, 1)), rounded half up: zero becomes mid-gray, 128, and -q and q become 0 and
    255. q is the 99.5th percentile of |g| over one image (`scale` "image") or over all n ("grid"). If that percentile
    is zero, as for a unit that sees few pixels, q is the maximum. A projection of zeros is mid-gray everywhere.
    Raises UsageError for another scale, and DataError for NaN or infinity.
    """
    if scale not in SCALES:
        raise UsageError(f"scale {scale!r}: choose {' or '.join(SCALES)}")
    strength = np.abs(projections).reshape(len(projections), -1)  # (n, H·W·3)
    if not np.isfinite(strength).all():
        raise DataError("a projection holds NaN or infinity: the weights of the network or the image do")
    blank = ~strength.any(axis=1)
    if scale == "grid":
        strength = strength.reshape(1, -1)  # (1, n·H·W·3)
    q = np.percentile(strength, PERCENTILE, axis=1)
    q = np.where(q > 0, q, strength.max(axis=1))
    q = np.where(q > 0, q, 1).astype(projections.dtype)
    ratio = np.clip(projections / q.reshape(-1, 1, 1, 1), -1, 1)  # q is (n, 1, 1, 1) or (1, 1, 1, 1)
    return np.floor(128 + 127.5 * ratio).astype(np.uint8), blank


def require_finite(what: str, y: np.ndarray) -> None:
    """Raises DivergedError for NaN or infinity, of which no picture shows anything."""
    if not np.isfinite(y).all():
        raise DivergedError(f"{what}: not finite numbers, so the network has diverged, or the image isn't finite")
