"""The kernels of docs/engine, step by step from im2col to the stem: each computes what the reference computes."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "engine"
NAMES = sorted(path.stem for path in FOLDER.glob("kernel*.py"))


@pytest.fixture(autouse=True)
def folder_on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent == FOLDER:
            del sys.modules[name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("dtype", "limit"), [(np.float64, 1e-12), (np.float32, 1e-4)])
def test_a_kernel_computes_what_the_reference_computes(name, dtype, limit):
    compare, kernel = importlib.import_module("compare"), importlib.import_module(name)
    for case in kernel.CASES:
        assert compare.error(case, dtype, small=True) < limit
        arrays = case.arrays(np.random.default_rng(0), dtype, True)
        results = case.after(*arrays)
        assert all(array.dtype == dtype for array in (results if isinstance(results, tuple) else (results,))[:2])


def test_the_table_has_a_row_for_every_kernel():
    cases = importlib.import_module("run").all_cases()
    numbers = [int(case.name.split()[0]) for case in cases]
    assert sorted(set(numbers)) == list(range(1, len(NAMES) + 1)) and numbers == sorted(numbers)
    page = (FOLDER.parent / "fast-engine.md").read_text("utf-8")
    assert all(f"| {case.name} | {case.shape} |" in page for case in cases)
    assert all(f"(engine/{name}.py)" in page for name in NAMES)


def test_an_error_in_a_kernel_is_seen():
    compare, kernel = importlib.import_module("compare"), importlib.import_module(NAMES[-1])
    case = kernel.CASES[0]._replace(after=lambda *arrays: kernel.CASES[0].after(*arrays) * 1.001)
    assert compare.error(case, np.float64, small=True) > 1e-4
