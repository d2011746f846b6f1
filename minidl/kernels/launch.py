"""Compiles the CUDA sources and starts their kernels. A kernel is compiled once, when it is first needed.

An array may hold at most MOST_NUMBERS numbers, so that a kernel can use an int as index.
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
MOST_NUMBERS = 2**31 - BLOCK  # the index of the last thread of the last block must still be an int


def source(real: str) -> str:
    """All CUDA C for numbers of type `real`: "float" or "double". The compiler's messages name the right file."""
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
    """Starts the kernel `name`, compiled for the dtype of `like`.

    CuPy passes a Python int as 64 bits and a float as a double. The kernels take `int` and `real`, so both are
    converted first. Raises ShapeError for an array of more than MOST_NUMBERS numbers.
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
    """`launch` with one thread for each element. The kernel gets the arrays, then `threads`, then the numbers."""
    arrays = [a for a in arguments if not isinstance(a, int | float)]
    numbers = [a for a in arguments if isinstance(a, int | float)]
    if threads:
        launch(name, (-(-threads // BLOCK),), like, *arrays, threads, *numbers)


def contiguous(like: Array, *arrays: Array) -> list[Array]:
    """The arrays in C order and in the dtype of `like`; copied only if they aren't so already."""
    if like.dtype.name not in REALS:
        raise UsageError(f"no GPU kernel computes with {like.dtype}: choose {' or '.join(REALS)}")
    xp = array_module(like)
    return [xp.ascontiguousarray(a, dtype=like.dtype) for a in arrays]
