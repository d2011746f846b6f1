"""The array work behind the layers: several sets of kernels with the same names, signatures and results.

`reference` is the oracle and the textbook; `blocked` is its fast form for NumPy arrays with bounded memory;
`cuda` is its form for CuPy arrays. The set follows from the type of the array, not from a switch.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from minidl.backend.arrays import Array
from minidl.kernels import blocked, cuda, reference


def kernels_for(x: Array) -> ModuleType:
    """The kernel set that serves `x`."""
    if isinstance(x, np.ndarray):
        return blocked
    return cuda if type(x).__module__.partition(".")[0] == "cupy" else reference
