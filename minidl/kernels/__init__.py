"""The kernels: the functions in which layers do their work on arrays.

There are three sets with the same names, signatures and results. `reference` is the clearest, and the one that the
others are tested against. `blocked` is faster and needs less memory; it serves NumPy arrays. `cuda` serves CuPy
arrays. The type of the array decides which set is used. `general` has the same for windows of every kind.

Internal: its names may change.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from minidl.backend.arrays import Array
from minidl.kernels import blocked, cuda, reference


def kernels_for(x: Array) -> ModuleType:
    """The kernel set for arrays of the type of `x`."""
    if isinstance(x, np.ndarray):
        return blocked
    return cuda if type(x).__module__.partition(".")[0] == "cupy" else reference
