"""The kernels of docs/engine, step by step from im2col to the stem: each computes what the reference computes."""

import importlib
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import minidl as md

FOLDER = Path(__file__).parents[1] / "docs" / "engine"
PAGE = (FOLDER.parent / "fast-engine.md").read_text("utf-8")
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
    assert all(f"| {case.name} | {case.shape} |" in PAGE for case in cases)
    assert all(f"(engine/{name}.py)" in PAGE for name in NAMES)


@pytest.mark.parametrize("name", [name for name in NAMES if "03" <= name[6:8] <= "06"])
def test_a_border_in_scratch_memory_is_that_of_this_geometry(name, monkeypatch):
    kernel, first = importlib.import_module(name), importlib.import_module("kernel01_im2col")
    monkeypatch.setattr(importlib.import_module("kernel03_threads"), "POOL", ThreadPoolExecutor(1))
    rng = np.random.default_rng(0)
    for k, height, width in ((3, 8, 9), (5, 6, 7), (3, 8, 9), (3, 9, 8)):  # of the first two, the padded sizes agree
        x, w = rng.normal(size=(2, height, width, 4)), rng.normal(size=(k, k, 4, 5))
        want = first.truth(x, w)
        assert np.abs(kernel.conv2d(x, w) - want).max() < 1e-12 * np.abs(want).max()


def test_an_error_in_a_kernel_is_seen():
    compare, kernel = importlib.import_module("compare"), importlib.import_module(NAMES[-1])
    case = kernel.CASES[0]._replace(after=lambda *arrays: kernel.CASES[0].after(*arrays) * 1.001)
    assert compare.error(case, np.float64, small=True) > 1e-4


def test_the_composite_in_the_page_computes_what_its_plain_layers_compute(monkeypatch):
    fuse = importlib.import_module("minidl.engine.fuse")
    monkeypatch.setattr(fuse, "COMPOSITES", list(fuse.COMPOSITES))
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, names := {})
    convs = [(md.Conv2D(c, f, 3, padding=1, rng=c, dtype=np.float64), f) for c, f in ((3, 5), (5, 4))]
    plain = md.Sequential(
        [layer for conv, f in convs for layer in (conv, md.BatchNorm2D(f, dtype=np.float64), md.ReLU())]
    )
    fused, found = md.fuse(plain), []
    assert [type(layer) for layer in fused] == [names["TwoConvolutions"]]
    x = np.random.default_rng(0).normal(size=(5, 6, 7, 3))
    for net in (plain, fused):
        net.zero_grad()
        y, cache = net.forward(x, md.TRAIN.at_step(0))
        found.append([y, net.backward(np.cos(y), cache), *(p.grad.copy() for p in net.named_parameters().values())])
    for a, b in zip(*found, strict=True):
        assert np.abs(a - b).max() < 1e-12 * (1 + np.abs(a).max())


@pytest.mark.slow
def test_the_pictures_of_the_page_are_drawn(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(FOLDER.parent / "learn"))
    monkeypatch.setattr(sys, "argv", ["engine_figures.py", "--pictures", str(tmp_path)])
    figures = importlib.import_module("engine_figures")
    monkeypatch.setattr(figures, "STEPS", 3)
    for draw in (figures.timeline, figures.stream, figures.parity):
        draw()
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == set(re.findall(r"\(images/([\w-]+\.png)\)", PAGE)) and len(drawn) == 3
