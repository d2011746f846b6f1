"""What loggers get: the right numbers at the right steps, and no way to stop a training."""

import json

import numpy as np
import pytest

import minidl as md
import train
from minidl.clipping import gradient_norm
from minidl.errors import DivergedError, UsageError
from minidl.training.loggers import Logging
from minidl.training.trainer import Callback
from tests.training.test_training import assert_same_run, run, stop_after

pytestmark = pytest.mark.usefixtures("sketches")
FLAGS = ["--clip-norm", "0.5", "--class-weights", "balanced", "--epochs", "2"]


class Kept:
    """A logger that keeps what it gets."""

    def __init__(self):
        self.rows = []

    def log(self, values, step):
        json.dumps(values)  # plain numbers
        self.rows.append((step, values))


class Failing:
    def __init__(self):
        self.calls = 0

    def log(self, values, step):
        self.calls += 1
        raise OSError("no network")


def fitted(*callbacks, lr=0.1, **options):
    """The Trainer of two epochs of five steps."""
    rng = np.random.default_rng(0)
    batches = md.Loader((rng.normal(size=(20, 3, 3, 1)), np.arange(20) % 2), 4, workers=0)
    model = md.Sequential({"flat": md.Flatten(), "fc": md.Linear(9, 2, rng=np.random.default_rng(1))})
    optimizer = md.SGD(model.named_parameters(), lr, **options)
    schedule = lambda step: lr * (1 + step)  # noqa: E731
    trainer = md.Trainer(model, optimizer, schedule, batches, batches, epochs=2, callbacks=callbacks)
    trainer.fit()
    return trainer


class Watch(Callback):
    """Loss, rate and norm of every step, by themselves."""

    def __init__(self):
        self.losses, self.norms, self.before = [], [], 0.0

    def on_step(self, trainer):
        trainer.read_sums()
        self.losses.append(trainer.state.loss_sum - (self.before if trainer.state.batch > 1 else 0))
        self.before = trainer.state.loss_sum
        self.norms.append(float(gradient_norm(trainer.optimizer.params.values())))


def test_a_logger_gets_the_numbers_of_every_step_and_epoch():
    kept, watch = Kept(), Watch()
    trainer = fitted(watch, md.Logging(kept, every=1))
    steps = [(step, values) for step, values in kept.rows if "step/loss" in values]
    assert [step for step, _ in steps] == list(range(1, 11))
    assert [values["step/loss"] for _, values in steps] == pytest.approx(watch.losses)
    assert [values["step/gradient_norm"] for _, values in steps] == pytest.approx(watch.norms)
    assert [values["step/lr"] for _, values in steps] == pytest.approx([0.1 * s for s in range(1, 11)])
    assert ["step/images_per_s" in values for _, values in steps] == [False, *[True] * 4] * 2
    epochs = [(step, values) for step, values in kept.rows if "step/loss" not in values]
    assert [step for step, _ in epochs] == [5, 10]
    for (_, values), row in zip(epochs, trainer.state.history, strict=True):
        assert values == {
            **{f"train/{name}": row[f"train_{name}"] for name in ("loss", "top1")},
            **{f"val/{name}": row[f"val_{name}"] for name in ("loss", "top1", "top5")},
            "epoch": row["epoch"],
        }


def test_the_loss_is_the_mean_since_the_last_one_in_the_epoch():
    kept, watch = Kept(), Watch()
    fitted(watch, md.Logging(kept, every=3))
    steps = {step: values["step/loss"] for step, values in kept.rows if "step/loss" in values}
    losses = watch.losses
    assert steps == pytest.approx({3: np.mean(losses[:3]), 6: losses[5], 9: np.mean(losses[6:9])})


def test_the_norm_is_that_before_clipping():
    kept, watch = Kept(), Watch()
    fitted(watch, md.Logging(kept, every=1), clip_norm=1e-3)
    norms = [values["step/gradient_norm"] for _, values in kept.rows if "step/loss" in values]
    assert min(norms) > 2e-3 and max(watch.norms) < 1.001e-3


def test_logging_changes_no_number():
    with_logger, without = fitted(md.Logging(Kept(), every=1)), fitted()
    for name, p in with_logger.model.named_parameters().items():
        np.testing.assert_array_equal(p.value, without.model.named_parameters()[name].value)
    for one, two in zip(with_logger.state.history, without.state.history, strict=True):
        assert {k: v for k, v in one.items() if k not in ("seconds", "images_per_s")} == {
            k: v for k, v in two.items() if k not in ("seconds", "images_per_s")
        }


def test_a_logger_that_fails_is_called_once_and_named_in_one_line(capsys):
    failing = Failing()
    assert fitted(md.Logging(failing, every=1)).state.epoch == 2
    assert failing.calls == 1
    assert capsys.readouterr().err == "warning  Failing: OSError no network; training continues\n"


def test_a_loss_that_is_no_number_still_ends_the_training():
    with pytest.raises(DivergedError), np.errstate(all="ignore"):
        fitted(md.Logging(Kept(), every=1), lr=1e39)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    code, folder = run(tmp_path_factory.mktemp("whole"), *FLAGS)
    assert code == 0
    return folder


@pytest.mark.parametrize("steps", [3, 10])
def test_a_run_that_clips_and_weighs_classes_resumes_to_the_same_bits(whole, tmp_path, monkeypatch, steps):
    from minidl.cli import train as fit

    with monkeypatch.context() as patch:
        patch.setattr(fit, "Interruption", stop_after(steps))
        assert run(tmp_path, *FLAGS)[0] == 130
    assert train.main(["--resume", str(tmp_path / "run")]) == 0
    assert_same_run(whole, tmp_path / "run")


def test_tensorboard_that_is_missing_is_one_line_before_anything_else(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "tensorboard.compat.proto", None)
    assert run(tmp_path, "--log", "tensorboard")[0] == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "pip install 'minidl[tensorboard]'" in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("given", [(print,), (None,), (Kept,), (Kept(), 0), (Kept(), "a")])
def test_what_can_not_log_is_refused_before_the_training(given):
    with pytest.raises(UsageError, match="Logging: "):
        Logging(*given)
