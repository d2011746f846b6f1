"""The machine in a few words: without them a timing means nothing."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy  # noqa: F401  so that its BLAS is loaded
from threadpoolctl import threadpool_info

PACKAGES = ("numpy", "scipy-openblas64", "torch", "captum", "jax", "jaxlib", "onnxruntime", "openvino")
CPUINFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
SIMD = {"avx512f": "AVX-512", "avx2": "AVX2", "sve": "SVE", "asimd": "NEON"}  # by flag, the widest first
BF16 = {"amx_bf16": "AMX", "avx512_bf16": "AVX512_BF16", "bf16": "NEON"}  # what multiplies bfloat16 numbers


def describe() -> dict[str, str | int]:
    """Processor, vector units, caches, cores this process may use, memory, BLAS, and versions of packages."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        **processor(CPUINFO.read_text() if CPUINFO.exists() else ""),
        **caches(CACHES),
        "cores": cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
        "blas": blas(),
        **versions,
    }


def processor(cpuinfo: str) -> dict[str, str]:
    """Name, family and model, and vector units, from the text of Linux's /proc/cpuinfo; elsewhere the name alone."""

    def first(key: str) -> str:
        found = re.search(rf"^{key}\s*: (.+)", cpuinfo, re.MULTILINE)
        return found[1] if found else ""

    about = {"processor": first("model name") or platform.processor() or platform.machine()}
    if first("cpu family"):
        about["family"] = f"{first('cpu family')} model {first('model')}"
    if flags := set(first("(?:flags|Features)").split()):
        about["simd"] = next((name for flag, name in SIMD.items() if flag in flags), "narrower than AVX2")
        about["bf16"] = " and ".join(name for flag, name in BF16.items() if flag in flags) or "emulated"
    return about


def caches(folder: Path) -> dict[str, str]:
    """Sizes of the second and third level, which one core sees; none where the system doesn't say."""
    found = {}
    for index in sorted(folder.glob("index*")):
        if (level := (index / "level").read_text().strip()) in ("2", "3"):
            found[f"L{level}"] = (index / "size").read_text().strip()
    return found


def blas() -> str:
    """The BLAS that NumPy calls: library, version, kernels."""
    used = [info for info in threadpool_info() if info["user_api"] == "blas"]
    return " + ".join(f"{b['internal_api']} {b['version']} {b.get('architecture', '')}".strip() for b in used) or "?"


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load() -> float:
    """The load average of the last minute. Well above 0 before a benchmark, it means that others use the machine."""
    return os.getloadavg()[0]
