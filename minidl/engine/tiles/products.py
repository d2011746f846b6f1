"""Matrix products in parts, so small that OpenBLAS computes them without copying ("packing") its operands first.

With AVX-512, OpenBLAS multiplies matrices of up to 10^6 multiply-adds with kernels that read the matrices where they
are. For the shapes of a small network these are a tenth to a third faster than its kernels for large matrices. With
AVX2 it has no such kernels, and the parts would cost up to a sixth: there a product stays whole.
"""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
from threadpoolctl import threadpool_info

Array = np.ndarray

SMALL = 1_000_000  # multiply-adds
WITH_SMALL_KERNELS = {"SkylakeX", "Cooperlake", "SapphireRapids"}  # OpenBLAS's names for its AVX-512 kernels


def product(a: Array, b: Array, out: Array) -> None:
    """out (P, N) = a (P, K) @ b (K, N), some rows at a time."""
    (p, k), n = a.shape, b.shape[1]
    rows = part(p, k * n)
    np.matmul(a.reshape(p // rows, rows, k), b, out=out.reshape(p // rows, rows, n))


@lru_cache(1024)
def part(rows: int, work: int) -> int:
    """The largest divisor of `rows` with few enough multiply-adds, where a row takes `work` of them.

    All rows if BLAS has no kernels for small products, or if the divisor would be below 64: such parts would be too
    small.
    """
    fits = [d for d in range(64, rows) if rows % d == 0 and d * work <= SMALL]
    return max(fits, default=rows) if has_small_kernels() else rows


@cache
def has_small_kernels() -> bool:
    return any(library.get("architecture") in WITH_SMALL_KERNELS for library in threadpool_info())
