"""Every kernel is CUDA C to NVIDIA's own compiler, for every generation of GPU from Volta to Blackwell."""

import re

import pytest

from minidl.kernels import launch
from tests.cuda.host import signatures
from tests.cuda.nvrtc import WHEELS, installed

COMPILERS = installed()
OPTIONS = (*launch.OPTIONS, "-ftz=true")  # CuPy adds the second one
ARCHITECTURES = (70, 75, 80, 86, 89, 90, 100, 120)  # V100, T4, A100, RTX 30, RTX 40, H100, B200, RTX 50
pytestmark = pytest.mark.nvidia


@pytest.fixture(autouse=True)
def any_compiler():
    if not COMPILERS:
        pytest.skip(f"NVIDIA's compiler is not installed ({', '.join(WHEELS)})")


@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_kernel_compiles(architecture, real):
    compilers = [c for c in COMPILERS if architecture in c.architectures]
    if not compilers:
        pytest.skip(f"no installed NVRTC ({', '.join(c.version for c in COMPILERS)}) compiles for sm_{architecture}")
    code = launch.source(real)
    for compiler in compilers:
        cubin = compiler.compile(code, architecture, *OPTIONS)
        assert cubin.startswith(b"\x7fELF")
        for name in signatures(code):
            assert f".text.{name}\0".encode() in cubin, name


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "__int_as_float(0xff800000)",
            "-INFINITY",
            r"max_pool\.cu\(\d+\): error: identifier .INFINITY.",
        ),
        (
            "__syncthreads();",
            "std::fflush(stdout);",
            r"channel_sums\.cu\(\d+\): error",
        ),  # g++ and nvcc would take both
    ],
)
def test_what_only_a_host_compiler_takes_is_refused_and_the_file_named(old, new, said):
    code = launch.source("float")
    assert old in code
    with pytest.raises(RuntimeError) as error:
        COMPILERS[0].compile(code.replace(old, new), COMPILERS[0].architectures[-1], *OPTIONS)
    assert re.search(said, str(error.value))
