"""No kernel leaves its arrays, overflows an int or races: AddressSanitizer, UBSan and ThreadSanitizer are silent.

Under ThreadSanitizer only barriers order the threads of a block, and nothing orders blocks (see shim.h), so a race is
found in whatever order the CPU happened to run them, and also where the numbers come out right.
"""

from functools import cache
from unittest.mock import patch

import numpy as np
import pytest

from minidl.kernels import cuda, launch
from minidl.kernels.general import cuda as general
from minidl.kernels.general.window import Window
from tests.cuda.host import recorded, sanitized, signatures
from tests.kernels.test_general import general_calls
from tests.kernels.test_kernels import calls

MEMORY, RACES = "address,undefined", "thread"
DTYPES = {real: np.dtype(name) for name, real in launch.REALS.items()}
BLOCKS = {MEMORY: launch.BLOCK, RACES: 32}  # ThreadSanitizer tells no more than 256 threads apart: those of 8 blocks
pytestmark = pytest.mark.compiler
GUARD = "    if (i >= threads) return;\n"
SCATTER = """\
    for (int j = i; j < threads / (H * W * C) * OH * OW * KH * KW * C; j += gridDim.x * blockDim.x) {
        int d = j % C, kw = j / C % KW, kh = j / C / KW % KH, p = j / C / KW / KH;
        int h = stride * (p / OW % OH) + kh - padding, w = stride * (p % OW) + kw - padding;
        if (h >= 0 && h < H && w >= 0 && w < W) dx[((p / OW / OH * H + h) * W + w) * C + d] += dpatches[j];
    }
}
"""


def source(real, sanitizer):
    """The kernels, with blocks of as many threads as `sanitizer` can follow."""
    code = launch.source(real)
    assert f"#define BLOCK {launch.BLOCK} " in code
    return code.replace(f"#define BLOCK {launch.BLOCK} ", f"#define BLOCK {BLOCKS[sanitizer]} ")


@cache
def launches(real, sanitizer):
    """Name and record of launches of every kernel, of a few blocks of which the last is partly idle."""
    code, dtype, block = source(real, sanitizer), DTYPES[real], BLOCKS[sanitizer]
    with (
        recorded(code) as records,
        patch.object(cuda, "SUM_ROWS", 40),
        patch.object(cuda, "BLOCK", block),
        patch.object(launch, "BLOCK", block),
    ):
        for name, arguments in calls(dtype).items():
            getattr(cuda, name)(*arguments)
        for name, arguments in general_calls(dtype).items():
            getattr(general, name)(*arguments)
        x = np.random.default_rng(0).normal(size=(1, 9, 7, 5)).astype(dtype)  # 63 rows, 315 numbers
        y, index = cuda.max_pool(x, 3, 1, 1)
        cuda.max_pool_dx(y, index, x.shape, 3, 1, 1)
        cuda.avg_pool_dx(cuda.avg_pool(x, 3, 1, 1), x.shape, 3, 1, 1)
        cuda.col2im(cuda.im2col(x, (3, 2), 1, 1), x.shape, (3, 2), 1, 1)
        mean, var = cuda.batch_statistics(x)
        cuda.batch_norm_sums(x, x, mean, var)
        wide = np.concatenate([x, x], axis=3)
        general.col2im(
            general.im2col(wide, window := Window((3, 2), (1, 1), ((1, 1), (0, 1))), 2), wide.shape, window
        )
        general.adaptive_avg_pool_dx(general.adaptive_avg_pool(x, (7, 9)), x.shape)
        cuda.tanh_dx(cuda.sigmoid_dx(cuda.sigmoid(x), x), cuda.tanh(x))
    names = list(signatures(code))
    return [(names[int.from_bytes(record[:4], "little")], record) for record in records]


def report(code, real, sanitizer, *names):
    """What `sanitizer` says of the launches of the kernels `names`, by default of all."""
    records = [record for name, record in launches(real, sanitizer) if not names or name in names]
    return sanitized(code, sanitizer, records)


@pytest.mark.parametrize(("sanitizer", "real"), [(MEMORY, "float"), (MEMORY, "double"), (RACES, "float")])
def test_no_kernel_gives_a_sanitizer_cause(real, sanitizer):
    code = source(real, sanitizer)
    assert {name for name, _ in launches(real, sanitizer)} == set(signatures(code))
    assert report(code, real, sanitizer) == ""


def test_a_missing_bounds_guard_is_found_in_every_kernel_that_has_one():
    code = source("float", MEMORY)
    guarded = [name for name in signatures(code) if GUARD in code.split(f"void {name}(")[1].split("\n}\n")[0]]
    assert len(guarded) == code.count(GUARD) == len(signatures(code)) - 5  # all but the sums
    for name in guarded:
        said = report(code.replace(GUARD, ""), "float", MEMORY, name)
        assert "heap-buffer-overflow" in said and f" {name} " in said


def with_scatter(code):
    """col2im as a sum over patches into dx: on a CPU, one thread after another, its numbers are right."""
    head, tail = code.split("void col2im(")
    start, end = tail.index("    int c = i % C"), tail.index("\n}\n") + 3
    return f"{head}void col2im({tail[:start]}{SCATTER}{tail[end:]}"


@pytest.mark.parametrize(
    ("sanitizer", "kernel", "old", "new", "said"),
    [
        (MEMORY, "batch_norm_partial_sums", "row < end; row", "row <= end; row", "heap-buffer-overflow"),
        (MEMORY, "batch_partial_statistics", "for (; t < BLOCK", "for (; t <= BLOCK", "out of bounds"),
        (MEMORY, "im2col", "i % run,", "(i + 2147483647) % run,", "signed integer overflow"),
        (RACES, "batch_norm_join_sums", "    __syncthreads();  // the sum", "    // the sum", "data race"),
        (RACES, "batch_join_statistics", "= value;\n    __syncthreads();\n", "= value;\n", "data race"),
        (
            MEMORY,
            "softmax_cross_entropy",
            "k < K; k += BLOCK) total",
            "k <= K; k += BLOCK) total",
            "heap-buffer-overflow",
        ),
        (RACES, "softmax_cross_entropy", "        __syncthreads();\n    }\n", "    }\n", "data race"),
        (RACES, "softmax_cross_entropy", "    __syncthreads();  // the value", "    // the value", "data race"),
        (RACES, "batch_partial_statistics", "partial[blockIdx.x * C + c] =", "partial[c] =", "data race"),
        (
            RACES,
            "batch_norm_join_sums",
            "    beta_sum =",
            "    if (!active) return;\n    beta_sum =",
            "ended where others",
        ),
    ],
)
def test_a_planted_bug_is_found(sanitizer, kernel, old, new, said):
    code = source("float", sanitizer)
    assert old in code
    assert said in report(code.replace(old, new), "float", sanitizer, kernel)


def test_a_sum_that_needs_atomics_and_has_none_is_found():
    said = report(with_scatter(source("float", RACES)), "float", RACES, "col2im")
    assert "data race" in said and "im2col.cu" in said
