"""The CUDA kernels on the device of `xp`, called like any other set: with NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from minidl import kernels
from minidl.backend.arrays import to_device, to_host
from minidl.kernels import reference
from tests.kernels.test_kernels import calls


class OnDevice:
    """minidl.kernels.cuda with arguments and results moved; what a kernel writes to its arguments comes back too."""

    def __init__(self, xp: ModuleType) -> None:
        self.xp = xp

    def __getattr__(self, name: str) -> Callable[..., Any]:
        kernel = getattr(kernels.cuda, name)  # the stand-in may have put the reference there
        if not callable(kernel):
            return kernel

        def function(*args: Any) -> Any:
            moved = [to_device(a, self.xp) if isinstance(a, np.ndarray) else a for a in args]
            result = kernel(*moved)
            for a, there in zip(args, moved, strict=True):
                if isinstance(a, np.ndarray) and a.flags.writeable:
                    a[...] = to_host(there)
            if result is None:
                return None
            return tuple(map(to_host, result)) if isinstance(result, tuple) else to_host(result)

        return function


def largest_difference(name: str, dtype: type, xp: ModuleType) -> float:
    """Between the kernel and the reference, over results and arguments, relative to each array's largest entry."""
    worst = 0.0
    pair = []
    for one in (OnDevice(xp), reference):
        arguments = calls(dtype)[name]
        result = getattr(one, name)(*arguments)
        pair.append([*(result if isinstance(result, tuple) else [result]), *arguments])
    for a, b in zip(*pair, strict=True):
        if isinstance(b, np.ndarray):
            assert a.dtype == b.dtype and a.shape == b.shape
            a, b = (np.asarray(array, np.float64) for array in (a, b))
            worst = np.maximum(worst, np.abs(a - b).max() / (np.abs(b).max() or 1))  # a NaN stays one
    return float(worst)
