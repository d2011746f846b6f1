"""No kernel leaves its arrays, overflows an int or races: AddressSanitizer, UBSan and ThreadSanitizer are silent.

Under ThreadSanitizer only barriers order the threads of a block, and nothing orders blocks (see shim.h), so a race is
found in whatever order the CPU happened to run them, and also where the numbers come out right.
"""

from unittest.mock import patch

import numpy as np
import pytest

from minidl.kernels import cuda, launch
from tests.cuda.host import recorded, sanitized, signatures
from tests.test_kernels import calls

MEMORY, RACES = "address,undefined", "thread"
GUARD = "    if (i >= threads) return;\n"
SCATTER = """\
    for (int j = i; j < threads / (H * W * C) * OH * OW * KH * KW * C; j += gridDim.x * blockDim.x) {
        int d = j % C, kw = j / C % KW, kh = j / C / KW % KH, p = j / C / KW / KH;
        int h = stride * (p / OW % OH) + kh - padding, w = stride * (p % OW) + kw - padding;
        if (h >= 0 && h < H && w >= 0 && w < W) dx[((p / OW / OH * H + h) * W + w) * C + d] += dcols[j];
    }
}
"""


def launches_of(dtype):
    """Launches of every kernel, of one or two blocks of which the last is partly idle."""
    real = launch.REALS[np.dtype(dtype).name]
    with recorded(real) as launches, patch.object(cuda, "SUM_ROWS", 40):
        for name, arguments in calls(dtype).items():
            getattr(cuda, name)(*arguments)
        x = np.random.default_rng(0).normal(size=(1, 9, 7, 5)).astype(dtype)  # 63 rows, 315 numbers
        y, index = cuda.max_pool(x, 3, 1, 1)
        cuda.max_pool_dx(y, index, x.shape, 3, 1, 1)
        cuda.avg_pool_dx(cuda.avg_pool(x, 3, 1, 1), x.shape, 3, 1, 1)
        cuda.col2im(cuda.im2col(x, (3, 2), 1, 1), x.shape, (3, 2), 1, 1)
        mean, var = cuda.batch_statistics(x)
        cuda.batch_norm_sums(x, x, mean, var)
    names = list(signatures(launch.source(real)))
    return [(names[int.from_bytes(record[:4], "little")], record) for record in launches]


@pytest.fixture(scope="module")
def launches():
    return {real: launches_of(dtype) for real, dtype in (("float", np.float32), ("double", np.float64))}


def report(code, sanitizer, launches, *names):
    """What `sanitizer` says of the launches of the kernels `names`, by default of all."""
    return sanitized(code, sanitizer, [record for name, record in launches if not names or name in names])


@pytest.mark.parametrize(("sanitizer", "real"), [(MEMORY, "float"), (MEMORY, "double"), (RACES, "float")])
def test_no_kernel_gives_a_sanitizer_cause(launches, real, sanitizer):
    code = launch.source(real)
    assert {name for name, _ in launches[real]} == set(signatures(code))
    assert report(code, sanitizer, launches[real]) == ""


def test_a_missing_bounds_guard_is_found_in_every_kernel_that_has_one(launches):
    code = launch.source("float")
    guarded = [name for name in signatures(code) if GUARD in code.split(f"void {name}(")[1].split("\n}\n")[0]]
    assert len(guarded) == code.count(GUARD) == len(signatures(code)) - 4  # all but the channel sums
    for name in guarded:
        said = report(code.replace(GUARD, ""), MEMORY, launches["float"], name)
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
def test_a_planted_bug_is_found(launches, sanitizer, kernel, old, new, said):
    code = launch.source("float")
    assert old in code
    assert said in report(code.replace(old, new), sanitizer, launches["float"], kernel)


def test_a_sum_that_needs_atomics_and_has_none_is_found(launches):
    said = report(with_scatter(launch.source("float")), RACES, launches["float"], "col2im")
    assert "data race" in said and "im2col.cu" in said
