"""benchmarks.gpu on the stand-in for CuPy: what it compares, refuses, measures and writes. No figure counts."""

import json
import sys

import numpy as np
import pytest

from benchmarks import cli, gpu
from benchmarks.settings import SIDES
from tests.cuda_standin import KERNEL_SETS, RECORD, install

KERNELS = {"relu": {"float32": 1e-7, "float64": 0.0}, "adam": {"float32": 2e-7, "float64": 3e-16}}


@pytest.fixture(params=KERNEL_SETS)
def xp(request, monkeypatch):
    """The stand-in, on which whatever is timed takes 4 ms."""
    cupy = install(monkeypatch, request.param)
    cupy.cuda.get_elapsed_time = lambda start, end: 4.0
    yield cupy
    assert not RECORD.refusals


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["gpu", *arguments])
    cli.run(gpu.main)


def test_without_a_gpu_it_stops_with_the_doctors_line(monkeypatch, capsys):
    monkeypatch.setattr(
        "minidl.backend.arrays.cupy_problem", lambda: "no NVIDIA GPU was found: nvidia-smi must list it"
    )
    with pytest.raises(SystemExit) as ended:
        call(monkeypatch, "--quick")
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert "no NVIDIA GPU was found: nvidia-smi must list it" in error and error.count("\n") == 1


@pytest.mark.slow
def test_it_compares_then_measures_then_writes(xp, monkeypatch, tmp_path):
    monkeypatch.setitem(SIDES, "refined", 32)
    monkeypatch.setattr(gpu, "STEPS", 2)
    monkeypatch.setattr(gpu, "why_no_torch", lambda: "it is not installed")
    call(monkeypatch, "--quick", "--batch-sizes", "2", "3", "--results", str(tmp_path))
    figures = json.loads((tmp_path / "gpu.json").read_text())
    rows = [(r["batch_size"], r["name"], r["train_img_s"], r["infer_img_s"]) for r in figures["speed"]]
    assert rows == [(2, "minidl", 500.0, 500.0), (3, "minidl", 750.0, 750.0)]
    assert figures["parity"]["losses"] <= gpu.LOSS_BOUND
    text = (tmp_path / "gpu.md").read_text()
    assert "| 3 | minidl | 750.0 | 750.0 |" in text
    assert "torch took no part: it is not installed." in text
    assert "stand-in, CuPy" in text


def test_a_gpu_that_differs_from_numpy_is_not_timed(xp, monkeypatch, capsys):
    monkeypatch.setattr("tests.cuda.device.largest_difference", lambda name, dtype, xp: 1e-3 * (name == "relu"))
    monkeypatch.setattr(gpu, "losses", lambda xp: [1.0 if xp is np else float("nan")])
    monkeypatch.setattr(gpu, "speeds", None)
    with pytest.raises(SystemExit) as ended:
        call(monkeypatch, "--quick")
    assert ended.value.code == 4
    said = "relu in float32 by 1.0e-03, relu in float64 by 1.0e-03, the losses of 20 steps by nan"
    assert f"the GPU differs from NumPy: {said}; " in capsys.readouterr().err


def test_rounds_go_from_one_to_the_next_and_the_first_warms_up():
    done = []

    class Fake:
        def __init__(self, name):
            self.name, self.times = name, iter((9.0, 1.0, 2.0))

        def train(self, step):
            done.append(f"{self.name}{step}")

        def seconds(self, work):
            work()
            return next(self.times)

    seen = gpu.alternate({"a": Fake("a"), "b": Fake("b")}, "train", rounds=2, steps=2)
    assert done == ["a0", "a1", "b0", "b1", "a2", "a3", "b2", "b3", "a4", "a5", "b4", "b5"]
    assert seen == {"a": [1.0, 2.0], "b": [1.0, 2.0]}


def test_the_report_names_the_kernel_that_is_furthest_off():
    settings = {"rounds": 7, "steps": 10, "load": 0.0, "date": "2017-06-12"}
    speed = [{"batch_size": 64, "name": n, "train_img_s": 1.0, "infer_img_s": 2.0} for n in ("minidl", "torch_nchw")]
    text = gpu.report(
        {
            "gpu": "Abacus",
            "machine": {"cores": 2},
            "settings": settings,
            "no_torch": None,
            "parity": {"kernels": KERNELS, "losses": 1e-13},
            "speed": speed,
        }
    )
    assert "| 64 | torch_nchw | 1.0 | 2.0 |" in text
    assert "at most 2.0e-07 in float32 (adam) and 3.0e-16 in float64 (adam)" in text
    assert "torch took no part" not in text


@pytest.mark.parity
@pytest.mark.parametrize("channels_last", [False, True])
def test_torchs_side_trains_and_infers(channels_last, monkeypatch):
    torch = pytest.importorskip("torch")
    from benchmarks.torch_gpu import OnCuda

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self): ...

        def synchronize(self): ...

        def elapsed_time(self, end):
            return 4.0

    monkeypatch.setattr(torch.nn.Module, "cuda", lambda self: self)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setitem(SIDES, "refined", 32)
    contender = OnCuda(2, 1, channels_last)
    assert contender.seconds(lambda: (contender.train(0), contender.infer(0))) == 0.004
    assert not torch.backends.cudnn.allow_tf32
