"""Kernels of windows of every kind: another size, stride, dilation and padding on each axis, and groups of channels.

They stand beside the kernels of square windows (`minidl/kernels`), in the same three sets with equal signatures.
Where a window lies is one value, a `Window`. Internal: its names may change.
"""

from __future__ import annotations

from types import ModuleType

from minidl.backend.arrays import Array
from minidl.kernels.general import reference


def general_kernels_for(x: Array) -> ModuleType:
    """The kernel set for arrays of the type of `x`."""
    return reference
