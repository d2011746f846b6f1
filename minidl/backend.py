"""The only place that tells NumPy from CuPy: array modules and moves between host and device. (`doctor` says why
CuPy can't be used.)

Everything else is written against `xp = array_module(x)`, so one text serves both. CuPy is imported when a
user asks for it (`get_backend("cupy")`) and never before.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from minidl.doctor import cupy_problem
from minidl.errors import BackendError

Array: TypeAlias = Any  # np.ndarray or cupy.ndarray; spelled out in shape comments


def array_module(x: Array) -> ModuleType:
    """The module (numpy or cupy) whose functions accept `x`."""
    return np if isinstance(x, np.ndarray) else sys.modules[type(x).__module__.partition(".")[0]]


def to_host(x: Array) -> np.ndarray:
    """`x` as a NumPy array: a copy from the device, or `x` itself when it is on the host already."""
    return x if isinstance(x, np.ndarray) else x.get()


def to_device(x: np.ndarray, xp: ModuleType) -> Array:
    """The host array `x` as an array of module `xp` (`x` itself for numpy)."""
    return xp.asarray(x)


def get_backend(name: str) -> ModuleType:
    """The array module called `name`: "numpy", or "cupy" once a small GPU computation has succeeded.

    Raises BackendError with one line that says which piece is missing, and what helps.
    """
    if name == "numpy":
        return np
    if name != "cupy":
        raise BackendError(f"unknown backend {name!r}: choose numpy or cupy")
    reason = cupy_problem()
    if reason:
        raise BackendError(f"backend cupy can't be used: {reason}; --backend numpy runs on the CPU")
    return sys.modules["cupy"]


def available_memory() -> int | None:
    """Bytes of host memory that can be had without swapping, or None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None
