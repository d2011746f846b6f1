"""The average of the weights against its formula, its place in evaluation and checkpoints, exact resumption."""

import numpy as np
import pytest

import minidl as md
import train
from minidl.errors import DataError, UsageError
from minidl.storage.weights import load_arrays, model_arrays
from minidl.training import run_data
from minidl.training.averaging import WeightAverage
from minidl.training.checkpoints import load_checkpoint
from minidl.training.evaluation import evaluate
from minidl.training.runs import Run
from models import build
from tests.training.test_training import assert_same_run, rows, run, stop_after

pytestmark = pytest.mark.usefixtures("sketches")
OPTIONS = ["--augment", "crops", "--start-size", "48", "--ema", "0.9", "--no-decay-all", "--label-smoothing", "0.1"]
OPTIONS += ["--optimizer", "sgd", "--lr", "0.05", "--weight-decay", "5e-4"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run with an average, from start to end."""
    code, folder = run(tmp_path_factory.mktemp("whole"), *OPTIONS)
    assert code == 0
    return folder


@pytest.fixture
def model():
    return build("convnet", classes=3)


def drawn(arrays, rng):
    """Fills the arrays with random numbers, as a step of training does."""
    for a in arrays.values():
        a[...] = rng.normal(size=a.shape)


def test_the_average_is_that_of_a_loop_over_all_steps(model):
    rng, average, expected = np.random.default_rng(0), WeightAverage(model, 0.8), {}
    for step in range(1, 40):
        drawn(model_arrays(model), rng)
        average.update(step)
        d = min(0.8, (step - 1) / (step + 8))
        for name, w in model_arrays(model).items():
            expected[name] = d * expected.get(name, 0.0) + (1 - d) * w.astype(np.float64)
    for name, a in average.averaged.items():
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, expected[name], atol=1e-6)


def test_the_first_step_leaves_nothing_of_the_initial_weights(model):
    average = WeightAverage(model, 0.999)
    drawn(model_arrays(model), np.random.default_rng(1))
    average.update(1)
    for name, a in average.averaged.items():
        np.testing.assert_allclose(a, model_arrays(model)[name], atol=1e-6)


def test_inside_used_the_model_has_the_average_and_afterwards_its_own_weights_also_if_it_raised(model):
    average = WeightAverage(model, 0.9)
    initial = {name: a.copy() for name, a in model_arrays(model).items()}
    drawn(model_arrays(model), np.random.default_rng(2))
    trained = {name: a.copy() for name, a in model_arrays(model).items()}
    with pytest.raises(KeyError), average.used():
        assert all(np.array_equal(a, initial[name]) for name, a in model_arrays(model).items())
        raise KeyError
    assert all(np.array_equal(a, trained[name]) for name, a in model_arrays(model).items())
    assert all(np.array_equal(a, initial[name]) for name, a in average.averaged.items())


def test_what_does_not_fit_is_refused_and_changes_nothing(model):
    average = WeightAverage(model, 0.9)
    arrays = {name: a + 1 for name, a in model_arrays(model).items()}
    before = {name: a.copy() for name, a in average.averaged.items()}
    some = dict(list(arrays.items())[1:])
    with pytest.raises(DataError, match="missing: conv1.weight"):
        average.restore(arrays, some, "a file")
    assert all(np.array_equal(a, before[name]) for name, a in average.averaged.items())


@pytest.mark.parametrize("steps", [1, 10, 26])
def test_a_run_with_an_average_stopped_and_resumed_ends_in_the_same_bits(whole, tmp_path, monkeypatch, steps):
    from minidl.cli import train as fit

    with monkeypatch.context() as patch:
        patch.setattr(fit, "Interruption", stop_after(steps))
        code, folder = run(tmp_path, *OPTIONS)
    assert code == 130
    assert train.main(["--resume", str(folder)]) == 0
    assert_same_run(whole, folder)


def test_a_run_stopped_while_the_average_is_evaluated_ends_in_the_same_bits(whole, tmp_path, monkeypatch):
    from minidl.cli import train as fit

    class Stop(fit.Interruption):
        def on_evaluation_batch(self, trainer, images):
            self.stop()
            super().on_evaluation_batch(trainer, images)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "Interruption", Stop)
        code, folder = run(tmp_path, *OPTIONS)
    assert code == 130
    assert train.main(["--resume", str(folder)]) == 0
    assert_same_run(whole, folder)


def test_the_saved_weights_are_the_averaged_ones_that_were_evaluated(whole, tmp_path):
    last = load_checkpoint(whole / "checkpoints" / "last.safetensors")
    data = run_data.load_data(Run.open(whole).config())
    result = evaluate(last.build(build), data.loader(data.val))
    assert result.loss == pytest.approx(float(rows(whole)[-1]["val_loss"]), rel=1e-5)
    best = load_arrays(whole / "checkpoints" / "best.safetensors")[0]
    assert not np.array_equal(last.arrays["fc.weight"], last.arrays["trained/fc.weight"])
    assert not [name for name in best if "/" in name]  # neither optimizer nor the weights of training
    file = tmp_path / "exported.safetensors"
    assert train.main(["export", str(whole), "--checkpoint", "last", "--output", str(file)]) == 0
    assert load_arrays(file)[0].keys() == best.keys()


def test_best_has_no_weights_to_go_on_from_and_says_so(whole, capsys):
    assert train.main(["--resume", str(whole / "checkpoints" / "best.safetensors")]) == 3
    assert "best.safetensors: no run goes on from it, as `last` and snapshots allow: " in capsys.readouterr().err


def test_a_run_averages_over_every_step(tmp_path, monkeypatch):
    from minidl.cli import train as fit

    seen = []

    class Watch(fit.Checkpointer):
        def on_step(self, trainer):
            seen.append(trainer.model.named_parameters()["fc.weight"].value.astype(np.float64))
            super().on_step(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "Checkpointer", Watch)
        _, folder = run(tmp_path, *OPTIONS)
    expected = 0.0
    for step, w in enumerate(seen, 1):
        d = min(0.9, (step - 1) / (step + 8))
        expected = d * expected + (1 - d) * w
    last = load_checkpoint(folder / "checkpoints" / "last.safetensors").arrays
    np.testing.assert_allclose(last["fc.weight"], expected, atol=1e-5)
    assert np.array_equal(last["trained/fc.weight"], seen[-1].astype(np.float32))


@pytest.mark.parametrize("decay", [-1, 1, 2, None, "0.9", np.nan])
def test_a_decay_that_makes_no_average_is_refused(decay):
    with pytest.raises(UsageError, match="decay is"):
        WeightAverage(md.Sequential({"fc": md.Linear(2, 2)}), decay)
