"""Building the CUDA sources and starting their kernels: each is compiled once, when it is first needed.

Arrays hold at most MOST_NUMBERS, so that a kernel can index with an int.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from minidl.backend.arrays import Array, array_module
from minidl.errors import ShapeError, UsageError

SOURCES = Path(__file__).with_name("cuda")
REALS = {"float32": "float", "float64": "double"}
OPTIONS = ("--std=c++17",)
BLOCK = 256  # threads a block, as in common.cuh
MOST_NUMBERS = 2**31 - BLOCK  # the index of the last block's last thread still is an int


def source(real: str) -> str:
    """All CUDA C for numbers of type `real`, "float" or "double"; compiler messages name the file they mean."""
    names = ["common.cuh", *sorted(path.name for path in SOURCES.glob("*.cu"))]
    texts = [f'#line 1 "{name}"\n{(SOURCES / name).read_text("utf-8")}' for name in names]
    return f"typedef {real} real;\n" + "".join(texts)


@cache
def _module(real: str) -> Any:
    import cupy

    return cupy.RawModule(code=source(real), options=OPTIONS)


@cache
def kernel(name: str, real: str) -> Any:
    return _module(real).get_function(name)


def launch(name: str, grid: tuple[int, ...], like: Array, *arguments: Array | int | float) -> None:
    """Starts `name` in its form for the dtype of `like`.

    CuPy hands a Python int on as 64 bits and a float as a double, so both get the width of the kernel's int
    and real. Raises ShapeError for an array with more than MOST_NUMBERS.
    """
    fixed = []
    for a in arguments:
        if isinstance(a, int):
            a = np.int32(a)
        elif isinstance(a, float):
            a = like.dtype.type(a)
        elif a.size > MOST_NUMBERS:
            raise ShapeError(
                f"kernel {name}: an array of shape {a.shape} has {a.size} numbers, more than the {MOST_NUMBERS} "
                "that a GPU kernel can index: choose a smaller batch"
            )
        fixed.append(a)
    kernel(name, REALS[like.dtype.name])(grid, (BLOCK,), tuple(fixed))


def launch_each(name: str, threads: int, like: Array, *arguments: Array | int | float) -> None:
    """`launch` with `threads` threads. The kernel's first number is `threads`, the others follow it."""
    arrays = [a for a in arguments if not isinstance(a, int | float)]
    numbers = [a for a in arguments if isinstance(a, int | float)]
    if threads:
        launch(name, (-(-threads // BLOCK),), like, *arrays, threads, *numbers)


def contiguous(like: Array, *arrays: Array) -> list[Array]:
    """The arrays in C order and the dtype of `like`: themselves if they are so already."""
    if like.dtype.name not in REALS:
        raise UsageError(f"no GPU kernel computes with {like.dtype}: choose {' or '.join(REALS)}")
    xp = array_module(like)
    return [xp.ascontiguousarray(a, dtype=like.dtype) for a in arrays]
