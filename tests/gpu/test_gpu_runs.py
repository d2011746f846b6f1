"""Runs of train.py on the stand-in for CuPy: the memory of the device, TF32, and moving between the backends."""

import json
import os
import re

import numpy as np
import pytest

import models
import train
from minidl import TRAIN, summary
from minidl.backend.arrays import available_memory, get_backend, memory_report
from minidl.data import load_shapes
from minidl.errors import UsageError
from minidl.kernels import launch
from minidl.layers.convert import convert
from minidl.losses import softmax_cross_entropy
from minidl.optim import Adam
from minidl.storage.weights import load_arrays
from minidl.training.config import Config
from minidl.training.execution import training_bytes
from tests.cuda_standin import RECORD, install, run_on_the_host
from tests.cuda_standin.device import Device
from tests.cuda_standin.pool import MEMORY

pytestmark = pytest.mark.usefixtures("sketches")
SMALL = ["--model", "convnet", "--batch-size", "16", "--epochs", "2", "--threads", "1"]


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    monkeypatch.setattr("minidl.data.load_shapes", lambda seed: load_shapes(40, 20, seed))


@pytest.fixture
def xp(monkeypatch):
    """The stand-in as CuPy, on the reference kernels; a refusal fails the test."""
    yield install(monkeypatch)
    assert not RECORD.refusals


def run(folder, *flags, backend="cupy"):
    """Exit code of a small run in `folder`."""
    names = ["--output", str(folder.parent), "--name", folder.name]
    return train.main([*SMALL, "--backend", backend, *names, *flags])


def one_line(capsys):
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Traceback" not in error, error
    return error


# ------------------------------------------------------------------ memory


def test_the_memory_that_can_be_had_is_what_is_free_and_what_the_pool_holds(xp):
    assert available_memory(xp) == MEMORY.size
    x = xp.ones(1 << 20)
    assert available_memory(xp) == MEMORY.size
    assert (MEMORY.pool.used_bytes(), xp.cuda.runtime.memGetInfo()[0]) == (x.nbytes, MEMORY.size - x.nbytes)
    MEMORY.pool.set_limit(size=1000)
    assert available_memory(xp) == 1000


def test_the_report_says_what_the_pool_uses_and_holds(xp):
    x = xp.zeros(10_000_000, np.uint8)
    del x
    assert memory_report(xp) == "CuPy's pool uses 0 MB and holds 10 MB; 85,889 MB of the GPU's 85,899 MB are free"
    assert memory_report(np) is None


def test_a_run_on_the_gpu_ends_with_a_line_on_its_memory_and_one_on_the_cpu_does_not(xp, tmp_path):
    assert run(tmp_path / "gpu", "--epochs", "1") == run(tmp_path / "cpu", "--epochs", "1", backend="numpy") == 0
    gpu, cpu = ((tmp_path / name / "log.txt").read_text().splitlines() for name in ("gpu", "cpu"))
    assert [line for line in gpu if "pool" in line] == [gpu[-2]]
    assert gpu[-2].startswith("memory   CuPy's pool uses ")
    assert not any("pool" in line for line in cpu)


@pytest.mark.compiler  # the reference kernels need more
def test_a_step_takes_what_was_estimated_and_up_to_a_quarter_more(monkeypatch):
    xp = install(monkeypatch, run_on_the_host)
    shape = (2, 32, 32, 3)
    model = convert(models.build("refined", 20), xp=xp)
    optimizer = Adam(model.named_parameters(), 1e-3)
    needed = training_bytes(Config(backend="cupy"), summary(model, shape).memory)
    for _ in range(2):
        logits, cache = model.forward(xp.zeros(shape, np.float32), TRAIN)
        _, dlogits = softmax_cross_entropy(logits, xp.zeros(2, np.int64))
        model.zero_grad()
        model.backward(dlogits, cache, need_dx=False)
        optimizer.step()
    assert needed <= MEMORY.pool.total_bytes() <= 1.25 * needed


def test_a_batch_that_cannot_fit_the_gpu_is_refused_before_anything_is_written(xp, tmp_path, capsys):
    MEMORY.size = 10_000_000
    assert run(tmp_path / "run") == 5
    assert "batch size 16 needs about 0.0 GB and 0.0 GB are free: try --batch-size 8" in one_line(capsys)
    assert not list(tmp_path.iterdir())


def test_out_of_memory_names_the_batch_what_the_pool_holds_a_smaller_batch_and_the_checkpoint(xp, tmp_path, capsys):
    MEMORY.size = 18_000_000  # a step is estimated to take 14 MB and takes more here
    assert run(tmp_path / "run") == 5
    line = one_line(capsys)
    assert re.search(r"out of memory at batch size 16 \(CuPy's pool uses 1\d MB and holds 1\d MB; .* free\)", line)
    assert line.endswith("try --batch-size 8; last good checkpoint: none yet\n")


def fails_from(step):
    """A Trainer.train_step that runs out of memory after so many steps."""
    from minidl.training.trainer import Trainer
    from tests.cuda_standin.device import OutOfMemoryError

    train_step = Trainer.train_step

    def function(self, x, y):
        if self.state.step >= step:
            raise OutOfMemoryError(1 << 30, 0)
        return train_step(self, x, y)

    return function


def test_out_of_memory_in_a_later_epoch_loses_nothing(xp, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr("minidl.training.trainer.Trainer.train_step", fails_from(3))
        assert run(tmp_path / "run") == 5
    last = tmp_path / "run" / "checkpoints" / "last.safetensors"
    assert f"try --batch-size 8; last good checkpoint: {last}" in one_line(capsys)
    assert train.main(["--resume", str(tmp_path / "run")]) == 0


@pytest.mark.parametrize("command", ["find-lr", "search"])
def test_out_of_memory_is_one_line_in_short_trainings_too(command, xp, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("minidl.training.trainer.Trainer.train_step", fails_from(0))
    output = ["--picture", tmp_path / "lr.png"] if command == "find-lr" else ["--output", tmp_path, "--trials", "1"]
    settings = ["--model", "convnet", "--subset", "1", "--batch-size", "4", "--threads", "1", "--backend", "cupy"]
    assert train.main([str(a) for a in [command, *settings, *output]]) == 5
    assert "try --batch-size 2\n" in capsys.readouterr().err


def test_out_of_memory_is_one_line_in_an_evaluation(xp, tmp_path, capsys):
    assert run(tmp_path / "run", "--epochs", "1") == 0
    capsys.readouterr()
    MEMORY.size = 1000
    assert train.main(["eval", str(tmp_path / "run"), "--backend", "cupy"]) == 5
    assert "out of memory (Out of memory allocating" in one_line(capsys)


@pytest.mark.parametrize(
    ("batch", "available", "advice"),
    [
        (128, 100, "--batch-size 96\n"),  # it was to fit: three quarters
        (128, 50, "--batch-size 56\n"),  # 0.9 of a half
        (20, 100, "--batch-size 8\n"),
        (10, 100, "--batch-size 4\n"),
        (2, 100, "--batch-size 1\n"),
        (1, 100, "a smaller --model\n"),
        (128, 1, "--batch-size 1\n"),
        (128, None, "--batch-size 96\n"),
    ],
)
def test_the_advice_is_the_share_of_the_batch_that_there_is_memory_for(batch, available, advice, monkeypatch):
    from minidl.cli import common
    from minidl.errors import OutOfMemoryError

    monkeypatch.setattr(common, "available_memory", lambda xp: available)
    with pytest.raises(OutOfMemoryError) as error, common.memory_guarded(Config(batch_size=batch), 100, np):
        raise MemoryError
    assert f"{error.value}\n".endswith(advice)


# -------------------------------------------------------------------- TF32


def loss_of(model, tf32, monkeypatch):
    """The loss of a batch in a process of its own."""
    install(monkeypatch)
    xp = get_backend("cupy", tf32)
    x = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype(np.float32)
    logits, _ = convert(model, xp=xp).forward(xp.asarray(x), TRAIN)
    return float(softmax_cross_entropy(logits, xp.asarray(np.arange(4)))[0])


def test_tf32_rounds_the_products_of_float32_networks_only(monkeypatch):
    single, double = (models.build("convnet", 4, dtype=dtype) for dtype in (np.float32, np.float64))
    exact, rounded = (loss_of(single, tf32, monkeypatch) for tf32 in (False, True))
    assert exact != rounded and rounded == pytest.approx(exact, rel=1e-2)
    assert loss_of(double, True, monkeypatch) == loss_of(double, False, monkeypatch)


def test_tf32_is_off_whatever_the_environment_says(xp, monkeypatch):
    monkeypatch.setenv("CUPY_TF32", "1")
    get_backend("cupy")
    assert os.environ["CUPY_TF32"] == "0"


def test_tf32_without_a_gpu_that_has_it_is_a_line(xp, monkeypatch):
    with pytest.raises(UsageError, match="--no-tf32"):
        get_backend("numpy", tf32=True)

    class Turing(Device):
        def __init__(self):
            super().__init__()
            self.compute_capability = "75"

    monkeypatch.setattr(xp.cuda, "Device", Turing)
    with pytest.raises(UsageError, match="this GPU is sm_75, and TF32 needs sm_80 or later"):
        get_backend("cupy", tf32=True)


def test_a_run_keeps_tf32_and_says_so(xp, tmp_path, capsys):
    assert run(tmp_path / "run", "--tf32", "--epochs", "1") == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["tf32"] is True
    assert "cupy plain, TF32" in capsys.readouterr().out
    assert train.main(["eval", str(tmp_path / "run"), "--backend", "cupy", "--tf32"]) == 0
    capsys.readouterr()
    for command in (["eval", str(tmp_path / "run")], [*SMALL, "--output", str(tmp_path), "--name", "cpu"]):
        assert train.main([*command, "--tf32"]) == 2
        assert "--tf32 is for --backend cupy" in one_line(capsys)
    assert not (tmp_path / "cpu").exists()


# -------------------------------------------------- from one backend to the other


@pytest.mark.parametrize("begun", ["cupy", "numpy"])
def test_a_run_begun_on_one_backend_goes_on_on_the_other(begun, xp, tmp_path, capsys):
    other = "numpy" if begun == "cupy" else "cupy"
    whole, moved = tmp_path / "whole", tmp_path / "moved"
    flags = ["--engine", "plain", "--schedule", "constant", "--lr", "1e-3"]
    assert run(whole, *flags, backend=begun) == 0
    assert run(moved, *flags, "--epochs", "1", backend=begun) == 0
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps({**config, "epochs": 2}))  # as if stopped after the first epoch
    capsys.readouterr()
    assert train.main(["--resume", str(moved), "--backend", other]) == 0
    assert f"{other} plain" in capsys.readouterr().out
    one, two = (load_arrays(folder / "checkpoints" / "last.safetensors")[0] for folder in (whole, moved))
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=0, atol=0.02 * max(np.abs(one[name]).max(), 0.1))


def test_a_run_with_tf32_goes_on_without_a_gpu_once_tf32_is_left_out(xp, tmp_path, capsys):
    assert run(tmp_path / "run", "--tf32", "--epochs", "1") == 0
    resume = ["--resume", str(tmp_path / "run"), "--backend", "numpy"]
    capsys.readouterr()
    assert train.main(resume) == 2
    assert "--no-tf32" in one_line(capsys)
    assert train.main([*resume, "--no-tf32"]) == 0


# ------------------------------------------------------------------ the stand-in


def test_kernels_built_by_one_cupy_are_not_for_the_next(monkeypatch):
    before, size, built = launch.kernel, launch.kernel.cache_info().currsize, []
    for _ in range(2):
        with monkeypatch.context() as patch:
            install(patch, run_on_the_host)
            built.append(launch.kernel("relu", "float"))
            assert launch.kernel("relu", "float") is built[-1]
    assert built[0] is not built[1]
    assert launch.kernel is before and before.cache_info().currsize == size
