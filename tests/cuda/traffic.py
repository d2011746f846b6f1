"""The bytes that every kernel moves, counted load by load and store by store, against the least it must move.

    python -m tests.cuda.traffic          a table for the layers of the refined network

A load counts once for all blocks of a wave, those that run at a time, and again for the next wave: caches serve a
wave, and nothing survives it. A wave of 144 blocks is a small GPU's (RTX 4060: 24 multiprocessors of 6 blocks); more
blocks or a large second-level cache only lower the count. The least is every array once in, once out.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple
from unittest.mock import patch

import numpy as np

from minidl.kernels import cuda, launch
from tests.cuda.host import HERE, HostKernel, checked, compiled, host_source, signatures

WARP, WAVE = 32, 144 * launch.BLOCK  # threads
SECTOR = 32  # bytes
COUNTING = ("-O1", "-fPIC", "-shared", "-fsanitize=thread", "-DCOUNT_TRAFFIC")
NOT_TSAN = ("-nodefaultlibs", "-Wl,--no-as-needed", "-lstdc++", "-lc", "-lgcc_s")  # traffic.h stands in for it


@dataclass(frozen=True)
class Traffic:
    """What one launch loaded and stored, in bytes."""

    kernel: str
    least: int  # every array once for each way, in or out, that the kernel takes it
    moved: int  # in whole sectors, by waves
    fetched: int  # in whole sectors, by warps
    used: int  # of those, by warps

    @property
    def excess(self) -> float:
        """1 if every array passes once a way; a kernel with a small output for a large array may stay below."""
        return self.moved / self.least

    @property
    def waste(self) -> float:
        """1 if neighbouring threads use neighbouring memory; 8 if each needs a sector for one float."""
        return self.fetched / self.used


@cache
def _library(code: str) -> ctypes.CDLL:
    text = f'{host_source(code)}#include "{HERE}/traffic.h"\n'
    return ctypes.CDLL(str(compiled(text, *COUNTING, *NOT_TSAN)))


@contextmanager
def counted(code: str) -> Iterator[list[Traffic]]:
    """The traffic of all launches made inside, which run kernels of `code` on the CPU."""
    library, described, launches = _library(code), signatures(code), []

    def kernel(name: str, real: str):
        run = HostKernel(name, described[name], library[f"run_{name}"])

        def launch_counted(grid, block, values):
            arguments = zip(described[name], checked(name, described[name], values), strict=True)
            arrays = [value for argument, value in arguments if argument.array]
            waves, warps = (
                _count(library, arrays, group, lambda: run(grid, block, values)) for group in (WAVE, WARP)
            )
            ways = [int((touched > 0).sum()) for touched in warps.numbers]
            least = sum(n * a.nbytes for n, a in zip(ways, arrays, strict=True))
            used = int(warps.numbers.sum(axis=1) @ [a.itemsize for a in arrays])
            launches.append(Traffic(name, least, waves.bytes, warps.bytes, used))

        return launch_counted

    with patch.object(launch, "kernel", kernel):
        yield launches


class Touched(NamedTuple):
    """What a launch touched: (arrays, 2), loads and stores."""

    sectors: np.ndarray
    numbers: np.ndarray

    @property
    def bytes(self) -> int:
        return int(self.sectors.sum()) * SECTOR


def _count(library: ctypes.CDLL, arrays: list[np.ndarray], group: int, run: Callable[[], None]) -> Touched:
    n = len(arrays)
    touched = Touched(np.zeros((n, 2), np.int64), np.zeros((n, 2), np.int64))
    library.count_start(
        n,
        (ctypes.c_void_p * n)(*(a.ctypes.data for a in arrays)),
        (ctypes.c_uint64 * n)(*(a.nbytes for a in arrays)),
        (ctypes.c_uint64 * n)(*(a.itemsize for a in arrays)),
        ctypes.c_uint64(group),
    )
    run()
    library.count_stop(*(counts.ctypes.data_as(ctypes.c_void_p) for counts in touched))
    return touched


def refined_layers(images: int = 2) -> Iterator[tuple[str, Callable[[], None]]]:
    """(the layer in words, a call of its kernels) for typical layers of the refined network, float32."""
    rng = np.random.default_rng(0)

    def array(*shape):
        return rng.normal(size=(images, *shape)).astype(np.float32)

    def convolution(h, c, f, kernel, padding):
        x, w, out = array(h, h, c), array(kernel, kernel, c, f)[0], h + 2 * padding - kernel + 1
        cuda.conv2d(x, w, 1, padding)
        cuda.conv2d_dx(array(out, out, f), w, x.shape, 1, padding)

    def max_pool(h, c, kernel, stride, padding):
        x = array(h, h, c)
        y, index = cuda.max_pool(x, kernel, stride, padding)
        cuda.max_pool_dx(y, index, x.shape, kernel, stride, padding)

    def avg_pool(h, c):
        x = array(h, h, c)
        cuda.avg_pool_dx(cuda.avg_pool(x, 3, 1, 1), x.shape, 3, 1, 1)

    def batch_norm_relu(h, c):
        x = array(h, h, c)
        mean, var = (v.astype(np.float32) for v in cuda.batch_statistics(x))
        y, mask = cuda.relu(cuda.batch_norm(x, mean, var, mean, var))
        dgamma, dbeta = cuda.batch_norm_sums(cuda.relu_dx(y, mask), x, mean, var)
        cuda.batch_norm_dx(y, x, mean, var, mean, dgamma, dbeta)

    def moments(c):
        batch, running = np.ones((2, c)), np.ones((2, c), np.float32)
        cuda.batch_norm_moments(*batch, *running, 0.1, 1.0, 1e-5)

    def loss(k):
        cuda.softmax_cross_entropy(array(k), np.zeros(images, np.int64), 0.1)

    def adam(size):
        w, g, m, v = (array(size)[0] for _ in range(4))
        cuda.adam(w, g, m, v * v, 0.01, (0.9, 0.99), 0.3, 1e-8, 0.0)

    yield "stem 3x3, 64x64x3 -> 62x62x128", lambda: convolution(64, 3, 128, 3, 0)
    yield "stem bn, relu 62x62x128", lambda: batch_norm_relu(62, 128)
    yield "stem bn, running statistics of 128", lambda: moments(128)
    yield "pool1 4x4 stride 2, 62x62x128", lambda: max_pool(62, 128, 4, 2, 0)
    yield "pool2 2x2 stride 2 padding 1, 30x30x128", lambda: max_pool(30, 128, 2, 2, 1)
    yield "inception1 b3 3x3, 16x16x48 -> 64", lambda: convolution(16, 48, 64, 3, 1)
    yield "inception1 b5 5x5, 16x16x8 -> 16", lambda: convolution(16, 8, 16, 5, 2)
    yield "inception1 pool 3x3, 16x16x128", lambda: avg_pool(16, 128)
    yield "inception1 b5 bn, relu 16x16x16", lambda: batch_norm_relu(16, 16)
    yield "inception4 b5_reduce bn, relu 8x8x20", lambda: batch_norm_relu(8, 20)
    yield "softmax cross-entropy, 200 classes", lambda: loss(200)
    yield "inception4 b3 3x3, 120 -> 160, Adam", lambda: adam(3 * 3 * 120 * 160)


def main() -> None:
    print("| layer | kernel | least, MB | moved, MB | moved / least | fetched / used by warps |")
    print("| --- | --- | --- | --- | --- | --- |")
    for layer, call in refined_layers():
        with counted(launch.source("float")) as launches:
            call()
        for t in launches:
            sizes = f"{t.least / 1e6:.3f} | {t.moved / 1e6:.3f} | {t.excess:.2f} | {t.waste:.2f}"
            print(f"| {layer} | {t.kernel} | {sizes} |")


if __name__ == "__main__":
    main()
