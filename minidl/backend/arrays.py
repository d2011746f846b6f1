"""The only module that tells NumPy from CuPy: array modules, copies between host and device, and free memory.

Everything else is written with `xp = array_module(x)`, so that the same code works on both. CuPy is imported only
when a user asks for it (`get_backend("cupy")`). `doctor` says why CuPy can't be used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from minidl.backend.cgroup import memory_room
from minidl.backend.doctor import cupy_problem
from minidl.backend.prefetch import Batch, prefetch_to_device
from minidl.errors import BackendError, UsageError

Array: TypeAlias = Any  # np.ndarray or cupy.ndarray; spelled out in shape comments


def array_module(x: Array) -> ModuleType:
    """The module (numpy or cupy) whose functions accept `x`. Raises UsageError if x is no array."""
    if isinstance(x, np.ndarray):
        return np
    module = sys.modules.get(type(x).__module__.partition(".")[0])
    if not hasattr(module, "ndarray"):  # of a list, None, a tensor of torch
        raise UsageError(f"got a {type(x).__name__} in place of an array: give np.asarray(...) of it")
    return module


def to_host(x: Array) -> np.ndarray:
    """`x` as a NumPy array: a copy if it is on the device, `x` itself if it is on the host."""
    return x if isinstance(x, np.ndarray) else x.get()


def to_device(x: np.ndarray, xp: ModuleType) -> Array:
    """The host array `x` as an array of module `xp` (`x` itself for numpy)."""
    return xp.asarray(x)


def on_device(batches: Iterator[Batch], xp: ModuleType) -> Iterator[tuple[Array, ...]]:
    """The batches as arrays of module `xp`: unchanged for numpy, else copied one batch in advance (`prefetch`)."""
    return batches if xp is np else prefetch_to_device(batches, xp)


def get_backend(name: str, tf32: bool = False) -> ModuleType:
    """The array module called `name`: "numpy", or "cupy" after a small computation on the GPU has succeeded.

    tf32: float32 matrix products round their factors to 10 bits after the point (tensor cores, sm_80 and later). CuPy
    reads this setting from CUPY_TF32 at the first such product of a process, so later calls can't change it. Raises
    BackendError with one line that says what is missing and what to do; UsageError if the GPU has no TF32.
    """
    without = "leave it out, or give --no-tf32"  # which a resumed run needs, and every command with --tf32 has
    if name == "numpy":
        if tf32:
            raise UsageError(f"--tf32 is for --backend cupy: {without}")
        return np
    if name != "cupy":
        raise BackendError(f"unknown backend {name!r}: choose numpy or cupy")
    reason = cupy_problem()
    if reason:
        raise BackendError(f"backend cupy can't be used: {reason}; --backend numpy runs on the CPU")
    cupy = sys.modules["cupy"]
    if tf32 and int(capability := cupy.cuda.Device().compute_capability) < 80:
        raise UsageError(f"--tf32: this GPU is sm_{capability}, and TF32 needs sm_80 or later: {without}")
    os.environ["CUPY_TF32"] = str(int(tf32))
    return cupy


def available_memory(xp: ModuleType) -> int | None:
    """The bytes that arrays of `xp` can have in all, or None if the system doesn't say.

    numpy: the memory of the host without swapping, within the limit of the container. cupy: the free memory of the
    device plus what CuPy's pool holds already, up to the pool's limit.
    """
    if xp is not np:
        pool = xp.get_default_memory_pool()
        most = xp.cuda.Device().mem_info[0] + pool.total_bytes()
        return min(most, pool.get_limit() or most)
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None
    room = memory_room()
    return free if room is None else min(free, room)


def memory_report(xp: ModuleType) -> str | None:
    """What CuPy's memory pool holds, in one line; None for numpy, which has no pool.

    The pool keeps all memory that it once had, so this is the largest amount that was needed.
    """
    if xp is np:
        return None
    pool, (free, total) = xp.get_default_memory_pool(), xp.cuda.Device().mem_info
    used, held, free, total = (f"{n / 1e6:,.0f} MB" for n in (pool.used_bytes(), pool.total_bytes(), free, total))
    return f"CuPy's pool uses {used} and holds {held}; {free} of the GPU's {total} are free"
