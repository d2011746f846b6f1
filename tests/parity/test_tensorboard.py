"""Event files, read back by TensorBoard's own reader."""

import errno
import io

import numpy as np
import pytest
from PIL import Image

from tests.conftest import later

accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason=later("parity"))

from functools import partial  # noqa: E402

import train  # noqa: E402
from minidl.cli import train as fit  # noqa: E402
from minidl.storage.weights import load_arrays  # noqa: E402
from minidl.training.checkpoints import load_checkpoint  # noqa: E402
from minidl.training.loggers import Logging  # noqa: E402
from minidl.training.tensorboard import EventFile  # noqa: E402
from tests.training.test_training import assert_same_run, run, stop_after  # noqa: E402

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("sketches")]
FLAGS = ["--log", "tensorboard", "--ema", "0"]


def read(folder):
    everything = accumulators.STORE_EVERYTHING_SIZE_GUIDANCE
    return accumulators.EventAccumulator(str(folder), everything).Reload()


def curve(events, name):
    return [(e.step, e.value) for e in events.Scalars(name)]


@pytest.fixture(autouse=True)
def every_second_step(monkeypatch):
    monkeypatch.setattr(fit, "Logging", partial(Logging, every=2))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "Logging", partial(Logging, every=2))
        code, folder = run(tmp_path_factory.mktemp("whole"), *FLAGS)
    assert code == 0
    return folder


def test_scalars_are_those_of_the_run(whole):
    events, state = read(whole), load_checkpoint(whole / "checkpoints" / "last.safetensors").state
    for name, column in (("train/loss", "train_loss"), ("val/top1", "val_top1"), ("val/top5", "val_top5")):
        expected = [(10 * row["epoch"], pytest.approx(row[column], rel=1e-6)) for row in state.history]
        assert curve(events, name) == expected
    assert [step for step, _ in curve(events, "step/loss")] == list(range(2, 31, 2))
    assert all(value > 0 for name in ("step/gradient_norm", "step/lr") for _, value in curve(events, name)[:-1])


def test_pictures_histograms_and_settings_are_there(whole):
    events = read(whole)
    images = {name: events.Images(name) for name in events.Tags()["images"]}
    assert {name: [e.step for e in found] for name, found in images.items()} == {
        "batch": [1],
        "filters/conv1.weight": [1, 10, 20, 30],
    }
    for found in images.values():
        picture = Image.open(io.BytesIO(found[-1].encoded_image_string))
        assert picture.size == (found[-1].width, found[-1].height)
        assert np.asarray(picture).std() > 5
    arrays = load_arrays(whole / "checkpoints" / "last.safetensors")[0]
    names = [name for name in arrays if "running" not in name and "/" not in name]
    assert {*events.Tags()["histograms"]} == {f"{kind}/{name}" for kind in ("weights", "gradients") for name in names}
    for name in names:
        *_, last = events.Histograms(f"weights/{name}")
        h, a = last.histogram_value, arrays[name].astype(np.float64)
        assert (last.step, h.num, h.min, h.max) == (30, a.size, a.min(), a.max())
        assert h.sum == pytest.approx(a.sum()) and h.sum_squares == pytest.approx((a * a).sum())
        inside = [(a <= edge).sum() for edge in h.bucket_limit]
        np.testing.assert_allclose(np.cumsum(h.bucket), inside, atol=1)
    (text,) = (e.tensor_proto.string_val[0].decode() for e in events.Tensors("settings"))
    assert "| model | convnet |" in text


@pytest.mark.parametrize("steps", [5, 10, 26])
def test_a_resumed_run_goes_on_in_the_same_curves(whole, tmp_path, monkeypatch, steps):
    with monkeypatch.context() as patch:
        patch.setattr(fit, "Interruption", stop_after(steps))
        assert run(tmp_path, *FLAGS)[0] == 130
    folder = tmp_path / "run"
    assert train.main(["--resume", str(folder)]) == 0
    assert_same_run(whole, folder)
    events, one = read(folder), read(whole)
    assert len(list(folder.glob("events.*"))) == 2
    for name in ("train/loss", "val/loss", "epoch"):
        assert curve(events, name) == curve(one, name)
    logged = [step for step, _ in curve(events, "step/loss")]
    assert logged == sorted({*logged}) and {*range(2, 31, 2)} - {*logged} <= {steps + 1}


def test_steps_that_are_made_again_are_not_doubled(tmp_path):
    first = EventFile(tmp_path)
    for step in range(1, 8):
        first.log({"loss": step}, step=step)
    again = EventFile(tmp_path, steps=4)  # killed after step 7, and the last checkpoint was that of step 4
    for step in range(5, 10):
        again.log({"loss": 10 * step}, step=step)
    assert again.path.name > first.path.name and first.is_first and not again.is_first
    assert curve(read(tmp_path), "loss") == [(1, 1), (2, 2), (3, 3), (4, 4), *((s, 10 * s) for s in range(5, 10))]


def test_a_run_killed_before_its_first_checkpoint_doubles_no_step_and_keeps_its_settings(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(fit, "Interruption", stop_after(5))
        assert run(tmp_path, *FLAGS)[0] == 130
    folder = tmp_path / "run"
    (folder / "checkpoints" / "last.safetensors").unlink()
    assert train.main(["--resume", str(folder)]) == 0
    events = read(folder)
    assert [step for step, _ in curve(events, "step/loss")] == list(range(2, 31, 2))
    assert len(events.Tensors("settings")) == 1


def test_what_was_logged_before_a_kill_is_there(tmp_path):
    EventFile(tmp_path).log({"loss": 2.5}, step=3)  # and is never closed
    assert curve(read(tmp_path), "loss") == [(3, 2.5)]


def test_a_run_that_begins_to_log_later_has_the_epochs_before(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(fit, "Interruption", stop_after(12))
        assert run(tmp_path)[0] == 130
    folder = tmp_path / "run"
    assert train.main(["--resume", str(folder), "--log", "tensorboard"]) == 0
    assert [step for step, _ in curve(read(folder), "val/loss")] == [10, 20, 30]


def test_odd_arrays_have_histograms_too(tmp_path):
    events = EventFile(tmp_path)
    odd = {"empty": np.zeros(0), "one": np.ones(1), "equal": np.full(7, 3.0), "nan": np.array([np.nan, 1, np.inf, 2])}
    events.histograms({**odd, "large": np.arange(2_500_000, dtype=np.float32)}, step=1)
    found = read(tmp_path)
    numbers = {name: found.Histograms(name)[0].histogram_value.num for name in found.Tags()["histograms"]}
    assert numbers == {"one": 1, "equal": 7, "nan": 2, "large": 833_334}


@pytest.mark.parametrize("nth", [0, 1, 6])
def test_a_full_disk_ends_the_log_and_not_the_training(whole, tmp_path, monkeypatch, capsys, nth):
    real, calls = EventFile._write, []

    def write(self, **content):
        calls.append(content)
        if len(calls) > nth:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, **content)

    monkeypatch.setattr(EventFile, "_write", write)
    code, folder = run(tmp_path, *FLAGS)
    assert code == 0
    assert_same_run(whole, folder)
    lines = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert 1 <= len(lines) <= 2 and all(
        "EventFile: OSError" in line and "training continues" in line for line in lines
    )
