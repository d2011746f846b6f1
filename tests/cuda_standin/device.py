"""The stand-in's device: `cupy.cuda` and kernels in CUDA C. `streams` has its streams, `pool` its memory.

Kernels. `RawKernel` checks what it is given and hands it to `LAUNCH.run`, which executes CUDA C: `install` sets it.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.cuda_standin import streams
from tests.cuda_standin.array import ndarray, use
from tests.cuda_standin.pool import MEMORY, MemoryPool, OutOfMemoryError, mem_info
from tests.cuda_standin.record import RECORD, StrictError
from tests.cuda_standin.streams import HERE, Event, Stream

RUNTIME, DRIVER = 12090, 13000

# Called with source, kernel name, compiler options, grid, block, arguments (NumPy's) and bytes of shared memory.
Launch = Callable[[str, str, tuple, tuple, tuple, tuple, int], None]
LAUNCH = SimpleNamespace(run=None)
DEVICES = SimpleNamespace(count=1)


class CUDARuntimeError(RuntimeError):
    """As cupy.cuda.runtime.CUDARuntimeError: "cudaErrorNoDevice: no CUDA-capable device is detected"."""


class CompileException(Exception):
    """As cupy.cuda.compiler.CompileException."""


class RawKernel:
    """A kernel of CUDA source; on a device it is compiled at its first launch."""

    def __init__(self, code: str, name: str, options: tuple[str, ...] = (), backend: str = "nvrtc", **_: Any) -> None:
        self.code, self.name, self.options = code, name, tuple(options)

    def __call__(self, grid: tuple, block: tuple, args: tuple, *, shared_mem: int = 0) -> None:
        for arg in args:
            if isinstance(arg, np.ndarray):
                RECORD.refuse(TypeError, f"{self.name}: Unsupported type {type(arg)}")
            if not isinstance(arg, ndarray | np.generic):
                RECORD.refuse(StrictError, f"{self.name}: {arg!r} has no fixed width, np.int32 or np.float32 have")
        if not 1 <= np.prod(block) <= 1024 or min(grid) < 1:
            RECORD.refuse(CUDARuntimeError, f"{self.name}: grid {grid}, block {block}: invalid configuration")
        if LAUNCH.run is None:
            raise NotImplementedError(f"{self.name}: nothing here executes CUDA C, set LAUNCH.run")
        use(*args)
        host = tuple(arg._host if isinstance(arg, ndarray) else arg for arg in args)
        RECORD.launch(f"kernel {self.name}", *host)
        LAUNCH.run(self.code, self.name, self.options, tuple(grid), tuple(block), host, shared_mem)


class RawModule:
    """CUDA source with several kernels."""

    def __init__(self, *, code: str, options: tuple[str, ...] = (), backend: str = "nvrtc", **_: Any) -> None:
        self.code, self.options = code, options

    def get_function(self, name: str) -> RawKernel:
        return RawKernel(self.code, name, self.options)


def pci_bus_id(device: int) -> str:
    return f"0000:{device + 1:02X}:00.0"


class Device:
    """One of DEVICES.count; the current one by default. Each thread has a current device of its own."""

    def __init__(self, device: int | None = None) -> None:
        self.id = HERE.device if device is None else device
        self.compute_capability, self.mem_info = "90", mem_info()
        self.pci_bus_id = pci_bus_id(self.id)

    def __enter__(self) -> Device:
        self._before = Device()
        self.use()
        return self

    def __exit__(self, *_: Any) -> None:
        self._before.use()

    def use(self) -> None:
        if not 0 <= self.id < DEVICES.count:
            RECORD.refuse(CUDARuntimeError, "cudaErrorInvalidDevice: invalid device ordinal")
        HERE.device = self.id

    def synchronize(self) -> None:
        streams.synchronize_device()


def make_cuda() -> SimpleNamespace:
    """A new `cupy.cuda`, of which a test may break a piece."""
    about = {"name": b"stand-in", "totalGlobalMem": MEMORY.size, "major": 9, "minor": 0, "multiProcessorCount": 132}
    namespace: dict[str, Callable | Any] = {
        "__name__": "cupy.cuda",
        "runtime": SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            driverGetVersion=lambda: DRIVER,
            runtimeGetVersion=lambda: RUNTIME,
            getDeviceCount=lambda: DEVICES.count,
            getDevice=lambda: HERE.device,
            getDeviceProperties=lambda device: dict(about),
            memGetInfo=mem_info,
            deviceSynchronize=streams.synchronize_device,
        ),
        "compiler": SimpleNamespace(CompileException=CompileException),
        "memory": SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        "nvrtc": SimpleNamespace(getVersion=lambda: (12, 9)),
        "cublas": SimpleNamespace(getVersion=lambda handle: 120905),
        "device": SimpleNamespace(get_cublas_handle=lambda: 1),
        "get_current_stream": streams.current,
        "is_available": lambda: True,
    }
    return SimpleNamespace(
        **namespace, Device=Device, Event=Event, MemoryPool=MemoryPool, Stream=Stream,
    )  # fmt: skip
