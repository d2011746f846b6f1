"""What the benchmarks say about the machine, from what processors of several makers report."""

import pytest

from benchmarks import machine
from benchmarks.cli import conditions

INTEL = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Processor
flags\t\t: fpu sse2 avx2 avx512f avx512_bf16 amx_bf16 amx_tile
processor\t: 1
model name\t: another
flags\t\t: fpu
"""
AMD = "cpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC\nflags\t\t: fpu sse2 avx avx2 fma\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd sve bf16\nCPU part\t: 0xd40\n"


@pytest.mark.parametrize(
    ("cpuinfo", "about"),
    [
        (INTEL, ("Intel(R) Xeon(R) Processor", "6 model 143", "AVX-512", "AMX and AVX512_BF16")),
        (AMD, ("AMD EPYC", "25 model 1", "AVX2", "emulated")),
        (AMD.replace("avx2 ", "").replace("25", "21"), ("AMD EPYC", "21 model 1", "narrower than AVX2", "emulated")),
    ],
)
def test_the_processor_and_its_vector_units(cpuinfo, about):
    assert tuple(machine.processor(cpuinfo).values()) == about


def test_a_processor_of_another_kind():
    assert machine.processor(ARM)["simd"] == "SVE" and machine.processor(ARM)["bf16"] == "NEON"
    assert [*machine.processor("")] == ["processor"] and machine.processor("")["processor"]


def test_the_caches(tmp_path):
    for i, (level, size) in enumerate((("1", "32K"), ("1", "32K"), ("2", "512K"), ("3", "32768K"))):
        folder = tmp_path / f"index{i}"
        folder.mkdir()
        (folder / "level").write_text(f"{level}\n")
        (folder / "size").write_text(f"{size}\n")
    assert machine.caches(tmp_path) == {"L2": "512K", "L3": "32768K"}
    assert machine.caches(tmp_path / "nowhere") == {}


def test_the_blas_is_named_with_version_and_kernels(monkeypatch):
    blas = {"user_api": "blas", "internal_api": "openblas", "version": "0.3.31", "architecture": "SkylakeX"}
    openmp = {"user_api": "openmp", "internal_api": "openmp", "version": None}
    monkeypatch.setattr(machine, "threadpool_info", lambda: [openmp, blas])
    assert machine.blas() == "openblas 0.3.31 SkylakeX"
    monkeypatch.setattr(machine, "threadpool_info", list)
    assert machine.blas() == "?"


def test_all_of_it_is_in_the_report():
    about = machine.describe()
    assert about["cores"] >= 1 and about["memory_gb"] >= 1 and "numpy" in about
    words = conditions({"machine": about, "settings": {"load": 0.0, "date": "2017-06-12"}})
    assert f"blas {about['blas']}" in words and f"processor {about['processor']}" in words
