"""The formulas for output sizes, and the errors for shapes that don't fit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from operator import index
from typing import Any

import numpy as np

from minidl.errors import ShapeError, UsageError

MAX_POOL_WINDOW = 256  # the position of the maximum is stored in one uint8


def window_positions(size: int, kernel: int, stride: int, padding: int) -> int:
    """The number of places for a window along one axis: floor((size + 2 padding - kernel) / stride) + 1.

    Below 1 the window does not fit.
    """
    return (size + 2 * padding - kernel) // stride + 1


def window_out_shape(
    label: str, in_shape: tuple[int, ...], kernel: tuple[int, int], stride: int, padding: int
) -> tuple[int, int, int, int]:
    """The shape (N, OH, OW, C) that a KH x KW window makes of (N, H, W, C)."""
    require_rank(label, in_shape, 4, "(N, H, W, C)")
    n, h, w, c = in_shape
    if n < 1:
        raise ShapeError(f"{label}: needs at least one image, got an input of shape {in_shape}")
    oh = window_positions(h, kernel[0], stride, padding)
    ow = window_positions(w, kernel[1], stride, padding)
    if oh < 1 or ow < 1:
        raise ShapeError(
            f"{label}: a {kernel[0]}x{kernel[1]} window (stride {stride}, padding {padding}) "
            f"does not fit an input of shape {in_shape}"
        )
    return n, oh, ow, c


def require_rank(label: str, in_shape: tuple[int, ...], rank: int, names: str) -> None:
    """The input must have `rank` axes."""
    if len(in_shape) != rank:
        hint = ": for a batch of one, x[None]" if len(in_shape) == rank - 1 else ""
        raise ShapeError(f"{label}: needs an input {names}, got shape {in_shape}{hint}")


def require_channels(label: str, in_shape: tuple[int, ...], channels: int) -> None:
    """The last axis of the input must have `channels` entries."""
    if in_shape[-1] != channels:
        first = len(in_shape) == 4 and in_shape[1] == channels
        hint = ", channels first: give x.transpose(0, 2, 3, 1)" if first else ""
        raise ShapeError(
            f"{label}: needs {channels} channels on the last axis, got an input of shape {in_shape}{hint}"
        )


def require_float(label: str, x: Any) -> None:
    """Layers compute with float32 or float64. An array of integers is most likely an image before normalization."""
    if x.dtype not in (np.float32, np.float64):
        raise UsageError(
            f"{label}: the input is {x.dtype}, and must be float32 or float64: normalize images as for training "
            "(minidl.normalise or a Loader does), or convert with x.astype(np.float32)"
        )


def require_sizes(label: str, **sizes: Any) -> None:
    """Numbers of channels, filters and the like are whole, and at least 1."""
    for name, value in sizes.items():
        if not hasattr(value, "__index__") or isinstance(value, bool | np.ndarray):
            raise UsageError(f"{label}: {name} is {value!r:.60}, must be a whole number")
        if value < 1:
            raise ShapeError(f"{label}: {name} is {value}, must be at least 1")


def require_numbers(label: str, **numbers: Any) -> None:
    """Options that layers compute with: a text or None would show only in a forward pass."""
    for name, value in numbers.items():
        if not isinstance(value, Real) or not math.isfinite(value):
            raise UsageError(f"{label}: {name} is {value!r:.60}, must be a finite number")


def require_flags(label: str, **flags: Any) -> None:
    """Options with two values: a text such as "no" would count as True."""
    for name, value in flags.items():
        if not isinstance(value, bool | np.bool_):
            raise UsageError(f"{label}: {name} is {value!r:.60}, must be True or False")


def one_number(label: str, name: str, value: Any, general: str) -> int:
    """A window's size, stride or padding as one number for both axes; a pair (3, 3) is one number too.

    `general` says which class takes others.
    """
    if isinstance(value, tuple | list) and len(value) == 2 and value[0] == value[1]:
        value = value[0]
    if not hasattr(value, "__index__") or isinstance(value, bool):
        raise UsageError(
            f"{label}: {name} is {value!r}, must be a whole number, the same for height and width: {general}"
        )
    return index(value)


def require_no_more(label: str, more: Mapping[str, Any], general: str) -> None:
    """Options that a class doesn't have; `general` says which class has more of them."""
    if more:
        raise UsageError(f"{label}: has no option {', '.join(more)}: {general}")


def require_window(label: str, kernel: int, stride: int, padding: int) -> None:
    """A pooling window must have at least one pixel, and contain a pixel of the input in every position."""
    if kernel < 1 or stride < 1 or padding < 0 or 2 * padding > kernel:
        raise ShapeError(
            f"{label}: kernel {kernel}, stride {stride}, padding {padding}: "
            "kernel and stride must be at least 1 and padding between 0 and half the kernel"
        )
