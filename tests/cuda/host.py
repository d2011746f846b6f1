"""Runs the CUDA C of minidl/kernels/cuda on the CPU: g++ compiles it behind shim.h, ctypes calls it.

A HostKernel is called like CuPy's RawKernel, k(grid, block, arguments), with NumPy arrays, and refuses what a GPU
would take for something else: wrong counts, dtypes, scalar widths, arrays that are not contiguous or overlap.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np

from minidl.kernels import launch

HERE = Path(__file__).parent
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unused")
DTYPES = {
    "float": "float32",
    "double": "float64",
    "int": "int32",
    "long long": "int64",
    "unsigned char": "uint8",
    "bool": "bool",
}
# --------------------------------------------------------------- signatures


@dataclass(frozen=True)
class Argument:
    name: str
    c_type: str  # real replaced by float or double
    array: bool
    const: bool

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(DTYPES[self.c_type])


def signatures(code: str) -> dict[str, list[Argument]]:
    """The arguments of every kernel in `code`, in the order of the source."""
    real = re.search(r"typedef (\w+) real;", code)[1]
    kernels = re.findall(r'extern "C" __global__ void (\w+)\(([^)]*)\)', code)
    assert len(kernels) == code.count("__global__"), "a kernel is declared in a way that this pattern misses"
    return {name: [_argument(a, real) for a in arguments.split(",")] for name, arguments in kernels}


def _argument(text: str, real: str) -> Argument:
    *words, name = text.replace("*", " * ").replace("__restrict__", " ").split()
    c_type = " ".join(real if word == "real" else word for word in words if word not in ("const", "*"))
    return Argument(name, c_type, "*" in words, "const" in words)


def kernels_with_barriers(code: str) -> set[str]:
    """Kernels that call __syncthreads, themselves or through a __device__ function."""
    bodies = re.split(r'(?=^extern "C" __global__|^__device__)', code, flags=re.MULTILINE)[1:]
    names = [re.match(r"[^(]*?(\w+)\(", body)[1] for body in bodies]
    waiting = {"__syncthreads"} | {n for n, b in zip(names, bodies, strict=True) if "__syncthreads" in b}
    return {n for n, b in zip(names, bodies, strict=True) if any(re.search(rf"\b{w}\(", b) for w in waiting)}


# ------------------------------------------------------------------ building


def host_source(code: str) -> str:
    """`code` between the shim and one entry point a kernel."""
    barriers = kernels_with_barriers(code)
    text, replays = f'#include "{HERE}/shim.h"\n{code}\n#line 1 "entry points"\n', []
    for name, arguments in signatures(code).items():
        values = ", ".join(
            f"({a.c_type}*)a[{i}]" if a.array else f"*({a.c_type}*)a[{i}]" for i, a in enumerate(arguments)
        )
        call = f"shim::run(g, b, {str(name in barriers).lower()}, [](void** a) {{ {name}({values}); }}, a);"
        text += f'extern "C" void run_{name}(const unsigned* g, const unsigned* b, void** a) {{ {call} }}\n'
        replays.append(f"run_{name}")
    table = ", ".join(replays)
    return text + (
        "static void replay(unsigned k, const unsigned* g, const unsigned* b, void** a) {\n"
        f"    void (*all[])(const unsigned*, const unsigned*, void**) = {{{table}}};\n    all[k](g, b, a);\n}}\n"
    )


def compiled(text: str, *flags: str) -> Path:
    """What g++ makes of `text`, kept between test runs under a name that stands for text, headers and flags."""
    flags = ("-std=c++17", "-ffp-contract=off", "-pthread", *WARNINGS, *flags)
    headers = [path.read_text("utf-8") for path in sorted(HERE.glob("*.h"))]
    key = hashlib.sha256("\0".join([text, *headers, *flags]).encode()).hexdigest()[:20]
    target = Path(tempfile.gettempdir()) / "minidl-shim" / key
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            made = Path(folder) / "made"
            command = ["g++", *flags, "-x", "c++", "-", "-o", str(made)]
            result = subprocess.run(command, input=text, text=True, capture_output=True)
            if result.returncode:
                raise RuntimeError(f"g++ refuses a kernel: {result.stderr[:3000]}")
            made.replace(target)
    return target


# ------------------------------------------------------------------- calling


class HostModule:
    """The kernels of `code`, as CuPy's RawModule."""

    def __init__(self, code: str, options: tuple[str, ...] = ()) -> None:
        self.signatures = signatures(code)
        self.library = ctypes.CDLL(str(compiled(host_source(code), "-O2", "-fPIC", "-shared")))

    def get_function(self, name: str) -> HostKernel:
        return HostKernel(name, self.signatures[name], self.library[f"run_{name}"])


class HostKernel:
    """One kernel, as CuPy's RawKernel."""

    def __init__(self, name: str, arguments: list[Argument], function: ctypes._CFuncPtr) -> None:
        self.name, self.arguments, self.function = name, arguments, function

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], values: tuple) -> None:
        arrays = checked(self.name, self.arguments, values)
        addresses = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
        self.function(_three(grid), _three(block), addresses)


def _three(sizes: tuple[int, ...]) -> ctypes.Array:
    return (ctypes.c_uint * 3)(*(*sizes, 1, 1)[:3])


def checked(name: str, arguments: list[Argument], values: tuple) -> list[np.ndarray]:
    """The values as arrays (scalars as 0-d ones); TypeError for anything that a GPU would misread."""
    if len(values) != len(arguments):
        raise TypeError(f"{name} has {len(arguments)} parameters, {len(values)} are given")
    for a, value in zip(arguments, values, strict=True):
        kind = np.ndarray if a.array else np.generic  # CuPy passes a Python int as 64 bits, a float as a double
        if not isinstance(value, kind) or value.dtype != a.dtype:
            raise TypeError(f"{name}: {a.name} is {a.c_type}, got {getattr(value, 'dtype', type(value))}")
        if a.array and not value.flags.c_contiguous:
            raise TypeError(f"{name}: {a.name} is not contiguous")
    arrays = [(a, value) for a, value in zip(arguments, values, strict=True) if a.array]
    for a, one in arrays:
        if not a.const and any(np.may_share_memory(one, other) for b, other in arrays if b is not a):
            raise TypeError(f"{name}: {a.name} overlaps another array, and __restrict__ promises that it doesn't")
    return [np.asarray(value) for value in values]


@cache
def host_module(real: str) -> HostModule:
    return HostModule(launch.source(real))


@contextmanager
def on_the_host() -> Iterator[None]:
    """minidl.kernels.cuda computes with NumPy arrays: its kernels run here."""
    modules = {real: host_module(real) for real in launch.REALS.values()}  # a compiler's error shows here, once
    with patch.object(launch, "kernel", cache(lambda name, real: modules[real].get_function(name))):
        yield


# ---------------------------------------------------------------- sanitizers


@contextmanager
def recorded(code: str) -> Iterator[list[bytes]]:
    """The launches of `code` made inside, each as replay.h reads it; the numbers come out as on the host."""
    launches: list[bytes] = []
    module = HostModule(code)

    def kernel(name: str, real: str):
        def run(grid, block, values):
            arrays = checked(name, module.signatures[name], values)
            at = list(module.signatures).index(name)
            record = struct.pack("8I", at, *_three(grid), *_three(block), len(arrays))
            launches.append(record + b"".join(struct.pack("I", a.nbytes) + a.tobytes() for a in arrays))
            module.get_function(name)(grid, block, values)

        return run

    with patch.object(launch, "kernel", kernel):
        yield launches


def sanitized(code: str, sanitizer: str, launches: list[bytes]) -> str:
    """What `sanitizer` ("address" or "thread") says of `code` over the recorded launches; empty if it is content."""
    text = host_source(code) + f'#include "{HERE}/replay.h"\n'
    program = compiled(text, "-O1", "-g", f"-fsanitize={sanitizer}", "-fno-sanitize-recover")
    with tempfile.NamedTemporaryFile() as file:
        file.write(struct.pack("I", len(launches)) + b"".join(launches))
        file.flush()
        result = subprocess.run([str(program), file.name], capture_output=True, text=True)
    return result.stderr if result.returncode else ""
