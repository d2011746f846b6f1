"""A stand-in for CuPy over NumPy, stricter than CuPy: code that runs on it without a refusal should run on a GPU.

    record   what happened: syncs, uploads, refusals
    array    the array: no way to NumPy but `.get()`, no mixing, no wrong or duplicate indices, no racing overlaps
    module   functions under CuPy's names and signatures (`cupy_api.json`), reductions that stay on the device
    streams  copies beside the computing: done as late as can be, and refused where they would race
    memory   which stream used what last: without a wait between them, the next one is refused
    pool     the device's memory, and what runs out of it
    device   `cupy.cuda`, devices, and the seam for kernels in CUDA C
    nccl     `cupy.cuda.nccl` for ranks that are threads, each with a device

`install` is the one hook: minidl asks `sys.modules["cupy"]`, and an array says that its module is cupy. What the
stand-in says of CuPy is held against the installed one by `test_honesty.py`, its strictness by
`tests/gpu/test_cuda_standin.py`.
"""

from __future__ import annotations

import sys
from functools import cache
from types import ModuleType
from typing import Any

import pytest

from tests.cuda_standin import device, memory, nccl, pool, streams
from tests.cuda_standin.array import TF32
from tests.cuda_standin.device import Launch
from tests.cuda_standin.module import make_cupy, make_cupyx
from tests.cuda_standin.record import RECORD, Record, StrictError

__all__ = ["KERNEL_SETS", "RECORD", "Record", "StrictError", "install", "run_on_the_host"]


def install(monkeypatch: pytest.MonkeyPatch, launch: Launch | None = None, devices: int = 1) -> ModuleType:
    """The stand-in as `cupy` until the end of the test, with this number of devices and an empty RECORD.

    `launch` executes kernels in CUDA C, as `run_on_the_host`. Without one `minidl.kernels.cuda` is the reference set
    meanwhile.
    """
    from minidl.kernels import launch as launches
    from minidl.kernels import reference
    from minidl.kernels.general import reference as general

    cupy = make_cupy()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupyx", make_cupyx())
    monkeypatch.setitem(sys.modules, "cupy.cuda", cupy.cuda)
    monkeypatch.setitem(sys.modules, "cupy.cuda.nccl", nccl.make_nccl())  # as in CuPy no attribute before its import
    monkeypatch.setattr(device.DEVICES, "count", devices)
    monkeypatch.setattr(device.LAUNCH, "run", launch)
    for name in ("_module", "kernel"):  # kernels built by one cupy are not for the next
        monkeypatch.setattr(launches, name, cache(getattr(launches, name).__wrapped__))
    monkeypatch.setenv("CUPY_TF32", "0")
    monkeypatch.setattr(TF32, "on", None)
    if launch is None:
        monkeypatch.setattr("minidl.kernels.cuda", reference)
        monkeypatch.setattr("minidl.kernels.general.sets.cuda", general)
    RECORD.clear()
    streams.reset()
    memory.reset()
    nccl.reset()
    pool.reset()
    return cupy


def run_on_the_host(
    code: str, name: str, options: tuple, grid: tuple, block: tuple, args: tuple, shared: int
) -> None:
    """Executes a kernel of `code` on the CPU, compiled by g++ behind `tests/cuda/shim.h`."""
    assert not shared, "the shim has no dynamic shared memory"
    _host_module(code).get_function(name)(grid, block, args)


@cache
def _host_module(code: str) -> Any:
    from tests.cuda.host import HostModule

    return HostModule(code)


KERNEL_SETS = [  # for a fixture's `params`: what `install` takes as `launch`
    pytest.param(None, id="reference kernels"),
    pytest.param(run_on_the_host, id="CUDA sources", marks=pytest.mark.compiler),
]
