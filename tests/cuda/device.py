"""The CUDA kernels on the device of `xp`, called like any other set: with NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from minidl import kernels
from minidl.backend.arrays import to_device, to_host
from minidl.kernels import reference
from minidl.kernels.general import reference as general_reference
from minidl.kernels.general import sets
from tests.kernels.test_general import general_calls
from tests.kernels.test_kernels import calls


class OnDevice:
    """The CUDA kernels with arguments and results moved; what a kernel writes to its arguments comes back too.

    Those of minidl.kernels.cuda, or of minidl.kernels.general.cuda.
    """

    def __init__(self, xp: ModuleType, general: bool = False) -> None:
        self.xp, self.general = xp, general

    def __getattr__(self, name: str) -> Callable[..., Any]:
        chosen = sets if self.general else kernels
        kernel = getattr(chosen.cuda, name)  # the stand-in may have put the reference there
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


def largest_difference(name: str, dtype: type, xp: ModuleType, general: bool = False) -> float:
    """Between the kernel and the reference, over results and arguments, relative to each array's largest entry."""
    worst = 0.0
    pair = []
    for one in (OnDevice(xp, general), general_reference if general else reference):
        arguments = (general_calls if general else calls)(dtype)[name]
        result = getattr(one, name)(*arguments)
        pair.append([*(result if isinstance(result, tuple) else [result]), *arguments])
    for a, b in zip(*pair, strict=True):
        if isinstance(b, np.ndarray):
            assert a.dtype == b.dtype and a.shape == b.shape
            a, b = (np.asarray(array, np.float64) for array in (a, b))
            worst = np.maximum(worst, np.abs(a - b).max() / (np.abs(b).max() or 1))  # a NaN stays one
    return float(worst)
