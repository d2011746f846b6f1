"""Matrix products in parts that are small enough for OpenBLAS to do without packing its operands first.

With AVX-512, OpenBLAS multiplies matrices of up to 10^6 multiply-adds by kernels that read them where they are; for
the shapes of a small network these are a tenth to a third faster than its large kernels. On other processors the
parts cost nothing or a few per cent.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

Array = np.ndarray

SMALL = 1_000_000  # multiply-adds


def product(a: Array, b: Array, out: Array) -> None:
    """out (P, N) = a (P, K) @ b (K, N), some rows at a time."""
    (p, k), n = a.shape, b.shape[1]
    rows = part(p, k * n)
    np.matmul(a.reshape(p // rows, rows, k), b, out=out.reshape(p // rows, rows, n))


@lru_cache(1024)
def part(rows: int, work: int) -> int:
    """The largest number that divides `rows` and whose multiply-adds, `work` a row, are few enough.

    All rows if it would be below 64: then the parts would be too small.
    """
    fits = [d for d in range(64, rows) if rows % d == 0 and d * work <= SMALL]
    return max(fits, default=rows)
