"""Chooses the kernel set by the type of the array, as `minidl.kernels.kernels_for`."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from minidl.backend.arrays import Array
from minidl.kernels.general import blocked, cuda, reference


def general_kernels_for(x: Array) -> ModuleType:
    """The kernel set for arrays of the type of `x`."""
    if isinstance(x, np.ndarray):
        return blocked
    return cuda if type(x).__module__.partition(".")[0] == "cupy" else reference
