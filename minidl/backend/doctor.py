"""What this machine can run: Python, NumPy and its BLAS, minidl's engines, and every piece that CuPy needs.

CuPy reports missing pieces late and in different ways, so each is checked separately: the package, the driver, a
device, the run-time compiler (NVRTC) and the matrix library (cuBLAS). The first missing one is the reason why
`--backend cupy` can't be used.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_info

from minidl.version import __version__


class Finding(NamedTuple):
    """One line of the diagnosis."""

    piece: str
    state: str  # "ok", "missing", or "unknown" where a piece before it is missing
    text: str  # the version, or the reason and the remedy


@dataclass
class Missing(Exception):
    """A missing piece that CuPy needs: why it can't be used, and what to do."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.remedy}"


def diagnosis() -> list[Finding]:
    """A Finding for every piece. Raises nothing."""
    return [
        Finding("Python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        Finding("NumPy", "ok", np.__version__),
        Finding("BLAS", "ok", _blas()),
        Finding("minidl", "ok", f"{__version__}, engines fused and plain on numpy, plain on cupy"),
        *_gpu(),
    ]


def cupy_problem() -> str | None:
    """Why CuPy can't compute here and what to do, in one line; None if it can."""
    return next((finding.text for finding in _gpu() if finding.state == "missing"), None)


def _gpu() -> list[Finding]:
    """CuPy and the pieces that it needs. A piece is checked only if those before it are there."""
    try:
        cupy = _import_cupy()
    except Missing as missing:
        unknown = [
            Finding(piece, "unknown", "CuPy comes first") for piece in ("driver", "devices", "NVRTC", "cuBLAS")
        ]
        return [Finding("CuPy", "missing", str(missing)), *unknown]
    found = [Finding("CuPy", "ok", f"{cupy.__version__}, made for CUDA {_version(_runtime(cupy))}")]
    found.append(_finding("driver", lambda: _driver(cupy)))
    if found[-1].state == "ok":
        found.append(_finding("devices", lambda: _devices(cupy)))
    else:
        found.append(Finding("devices", "unknown", "the driver comes first"))
    computes = found[-1].state == "ok"
    for piece, look in (("NVRTC", _nvrtc), ("cuBLAS", _cublas)):
        found.append(_finding(piece, lambda look=look: look(cupy, computes)))
    return found


def _finding(piece: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(piece, "ok", look())
    except Missing as missing:
        return Finding(piece, "missing", str(missing))


def _import_cupy() -> ModuleType:
    try:
        import cupy
    except ImportError as error:
        if error.name == "cupy":
            remedy = "pip install 'minidl[cuda12]' or 'minidl[cuda13]', for the CUDA version nvidia-smi shows"
            raise Missing("the package cupy is not installed", remedy) from None
        raise Missing(f"the package cupy can't be imported ({_line(error)})", "install it again") from None
    return cupy


def _driver(cupy: ModuleType) -> str:
    supported = _seen(cupy, cupy.cuda.runtime.driverGetVersion, "the NVIDIA driver", "install it again")
    if not supported:
        raise Missing("there is no NVIDIA driver", "install one that makes nvidia-smi list the GPU")
    if supported // 1000 < _runtime(cupy) // 1000:
        versions = f"CUDA {_version(supported)} and this CuPy needs {_runtime(cupy) // 1000}"
        raise Missing(
            f"the NVIDIA driver supports {versions}", "install a newer driver, or the CuPy for the older CUDA"
        )
    return f"supports CUDA {_version(supported)}"


def _devices(cupy: ModuleType) -> str:
    runtime = cupy.cuda.runtime

    def count_devices() -> int:
        try:
            return runtime.getDeviceCount()
        except runtime.CUDARuntimeError as error:
            if "cudaErrorNoDevice" in str(error):
                return 0
            raise

    def describe(i: int) -> str:
        about = runtime.getDeviceProperties(i)
        name = about["name"].decode()
        memory = f"{about['totalGlobalMem'] / 1e9:.0f} GB"
        if i == runtime.getDevice():  # the one that is used; asking another would take memory there
            memory += f" ({runtime.memGetInfo()[0] / 1e9:.1f} free)"
        return f"{i}: {name}, {memory}, sm_{about['major']}{about['minor']}"

    found = _seen(cupy, lambda: [describe(i) for i in range(count_devices())], "the GPU", "nvidia-smi must list it")
    if not found:
        remedy = "nvidia-smi must list it, and CUDA_VISIBLE_DEVICES must not hide it"
        raise Missing("no NVIDIA GPU was found", remedy)
    return "; ".join(found)


def _nvrtc(cupy: ModuleType, computes: bool) -> str:
    what, remedy = "the CUDA run-time compiler NVRTC", _toolkit(cupy)
    version = _seen(cupy, lambda: "{}.{}".format(*cupy.cuda.nvrtc.getVersion()), what, remedy)
    if not computes:
        return f"{version}, not tried"
    _seen(cupy, lambda: (cupy.arange(4) * 2 + 1).sum().get(), what, remedy)  # compiles a kernel
    return version


def _cublas(cupy: ModuleType, computes: bool) -> str:
    what, remedy = "the CUDA matrix library cuBLAS", _toolkit(cupy)
    library = _seen(cupy, lambda: cupy.cuda.cublas.getVersion, what, remedy)  # CuPy loads it when it is named
    if not computes:
        return "there, not tried"
    square = _seen(cupy, lambda: cupy.ones((2, 2)) @ cupy.ones((2, 2)), what, remedy)
    _seen(cupy, square.get, what, remedy)
    return _seen(cupy, lambda: _version(library(cupy.cuda.device.get_cublas_handle()), 10000), what, remedy)


def _seen(cupy: ModuleType, look: Callable[[], object], what: str, remedy: str):
    """The result of `look`. Raises Missing if CuPy raises because a piece is missing or broken."""
    try:
        return look()
    except MemoryError as error:
        raise Missing(
            f"the GPU has no memory left ({_line(error)})", "nvidia-smi says what else runs on it"
        ) from None
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise Missing(f"the GPU can't be used ({_line(error)})", "nvidia-smi must list it without an error") from None
    except (RuntimeError, ImportError, OSError, cupy.cuda.compiler.CompileException) as error:
        raise Missing(f"{what} fails ({_line(error)})", remedy) from None


def _runtime(cupy: ModuleType) -> int:
    return cupy.cuda.runtime.runtimeGetVersion()  # of the library linked into CuPy: works without a driver


def _toolkit(cupy: ModuleType) -> str:
    return f"pip install 'cupy-cuda{_runtime(cupy) // 1000}x[ctk]'"


def _version(number: int, major: int = 1000) -> str:
    """12090 as "12.9"."""
    return f"{number // major}.{number % major // (major // 100)}"


def _blas() -> str:
    """The libraries that do NumPy's matrix products, as threadpoolctl sees them in this process."""
    np.ones((2, 2)) @ np.ones((2, 2))  # loads it
    found = {
        f"{lib['internal_api']} {lib['version'] or ''}".strip() + f", {lib['num_threads']} threads"
        for lib in threadpool_info()
        if lib["user_api"] == "blas"
    }
    return "; ".join(sorted(found)) or "unknown to threadpoolctl, --threads can't limit it"


def _line(error: BaseException) -> str:
    """The first line of the error's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
