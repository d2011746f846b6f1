"""An atlas on the stand-in for CuPy says what one on the CPU says."""

import numpy as np
import pytest

from minidl.atlas.build import Settings, make_atlas
from minidl.atlas.versions import State
from minidl.training.execution import Execution
from tests.atlas.reading import read
from tests.atlas.test_build import network, viewed
from tests.cuda_standin import RECORD, install


def numbers(record):
    """All numbers of a record, in order."""
    match record:
        case dict():
            return [n for value in record.values() for n in numbers(value)]
        case list():
            return [n for value in record for n in numbers(value)]
        case int() | float():
            return [float(record)]
    return []


def made(folder, backend):
    run = Execution("plain", backend, threads=1)
    other = viewed(model=network(1), execution=run)
    few = Settings(layers=("relu1", "fc"), units=3)
    make_atlas(viewed(execution=run), folder, few, snapshots=[State(1, None, lambda: network(2))], other=other)
    return folder


def agreements(folder):
    effects = read(folder, "atlas")["effects"]
    return [(of["correlation"], of["units"]) for of in (effects["all"], *effects["layers"])]


@pytest.mark.slow
def test_an_atlas_of_the_gpu_is_that_of_the_cpu(tmp_path, monkeypatch):
    cpu = made(tmp_path / "cpu", "numpy")
    install(monkeypatch)
    gpu = made(tmp_path / "gpu", "cupy")
    assert not RECORD.refusals
    assert sorted(p.name for p in (gpu / "sheets").iterdir()) == sorted(p.name for p in (cpu / "sheets").iterdir())
    for name in ("layer-000", "layer-001", "images-000", "classes-000", "epoch-001-000", "other-001"):
        a, b = (np.array(numbers(read(folder, name))) for folder in (cpu, gpu))
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4, err_msg=name)
    for of, on_cpu in zip(*(agreements(folder) for folder in (gpu, cpu)), strict=True):
        assert of == (pytest.approx(on_cpu[0]), on_cpu[1])
