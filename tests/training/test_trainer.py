"""The Trainer in Python: what it takes, and what it says of anything else."""

from types import SimpleNamespace

import numpy as np
import pytest

import minidl as md
import models
from minidl.errors import DivergedError, ShapeError, UsageError
from minidl.training.averaging import WeightAverage
from minidl.training.trainer import Callback

ARRAYS = (np.zeros((4, 3, 3, 1), np.uint8), np.arange(4) % 2)
BATCHES = md.Loader(ARRAYS, 2, workers=0)
RATE = md.schedules.constant(0.1)


def net():
    return md.Sequential({"flat": md.Flatten(), "hidden": md.Linear(9, 4), "relu": md.ReLU(), "fc": md.Linear(4, 2)})


MODEL = net()
SGD = md.SGD(MODEL.named_parameters(), 0.1)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"model": SGD, "optimizer": MODEL}, "model is a SGD: give a layer"),
        ({"optimizer": MODEL}, "optimizer is a Sequential: give Adam"),
        ({"optimizer": md.SGD}, "optimizer is a class"),
        ({"optimizer": "adam"}, "optimizer is a str"),
        ({"schedule": 0.1}, "schedule is a float: give the rate as a function of the step"),
        ({"schedule": BATCHES}, "schedule is a Loader"),
        ({"schedule": md.softmax_cross_entropy}, "schedule is a function: give the rate as a function of the step"),
        ({"train": ARRAYS}, r"train is a tuple: give a Loader, of arrays Loader\(\(images, labels\)"),
        ({"val": None}, "val is a NoneType: give a Loader"),
        ({"epochs": "3"}, "epochs is a str: give a whole number"),
        ({"loss": "bce"}, "loss is a str: give a function"),
        ({"loss": md.losses.CrossEntropy}, "loss is a class"),
        ({"loss": RATE}, r"loss is a function: give a function \(logits, labels\)"),
        ({"val": md.Loader((ARRAYS[0], [0, -1, 1, -1]), 2)}, "2 of the 4 images of val have no label"),
        ({"val": md.Loader((ARRAYS[0], None), 2)}, "4 of the 4 images of val have no label"),
        ({"callbacks": [SimpleNamespace(log=print)]}, r"is a SimpleNamespace: give minidl\.Logging\(it\)"),
        ({"callbacks": Callback()}, "callbacks is a Callback: give a list of them"),
        ({"callbacks": (c for c in [Callback()])}, "callbacks is a generator: give a list"),
        ({"callbacks": [Callback]}, "is the class Callback: give a subclass"),
        ({"callbacks": [print]}, "is a builtin_function_or_method: give a subclass"),
        ({"loss": md.softmax_cross_entropy, "label_smoothing": 0.1}, r"loss=CrossEntropy\(label_smoothing=0.1\)"),
        ({"label_smoothing": None}, "label_smoothing is None"),
        ({"label_smoothing": 2}, "label_smoothing is 2: choose a number from 0 to 1"),
        ({"average": 0.99}, r"average is 0.99: give WeightAverage\(model, 0.999\)"),
        ({"average": WeightAverage(net(), 0.99)}, "the average is of another model"),
        ({"xp": "numpy"}, "xp is 'numpy': give the module"),
        ({"state": "last"}, "state is 'last': give the TrainState"),
        ({"parallel": 2}, "parallel is 2: give a DataParallel"),
    ],
)
def test_an_argument_that_is_another_thing_is_named(given, line):
    right = {"model": MODEL, "optimizer": SGD, "schedule": RATE, "train": BATCHES, "val": BATCHES, "epochs": 1}
    with pytest.raises(UsageError, match=line):
        md.Trainer(**(right | given))


def trainer(model, optimizer, schedule=RATE):
    return md.Trainer(model, optimizer, schedule, BATCHES, BATCHES, epochs=1)


@pytest.mark.parametrize(
    ("schedule", "line"),
    [
        (lambda step: None, r"lr is None, must be a number: does the schedule return one for every step\?"),
        (lambda step: np.array([0.1, 0.2]), r"lr is array\(\[0.1, 0.2\]\), must be a number"),
        (lambda step: float("nan"), "lr can't be nan"),
    ],
)
def test_a_schedule_that_gives_no_rate_is_told_so_and_changes_no_weight(schedule, line):
    model = net()
    before = {name: p.value.copy() for name, p in model.named_parameters().items()}
    with pytest.raises(UsageError, match=line):
        trainer(model, md.SGD(model.named_parameters(), 0.1), schedule).fit()
    assert all(np.array_equal(p.value, before[name]) for name, p in model.named_parameters().items())


def test_an_optimizer_of_another_model_is_refused():
    with pytest.raises(UsageError, match=r"doesn't have 4 of the model's 4 parameters, such as hidden\.weight"):
        trainer(net(), SGD)
    head = {name: p for name, p in MODEL.named_parameters().items() if "fc" in name}
    with pytest.raises(UsageError, match=r"2 of the model's 4 .* minidl\.freeze"):
        trainer(MODEL, md.SGD(head, 0.1))


def test_a_fused_model_shares_its_parameters_and_frozen_ones_need_no_optimizer():
    assert trainer(md.fuse(MODEL), SGD).fit().epoch == 1
    model = net()
    head = {name: p for name, p in model.named_parameters().items() if "fc" in name}
    before = model["hidden"].weight.value.copy()
    assert trainer(md.freeze(model, "relu"), md.SGD(head, 0.1)).fit().epoch == 1
    np.testing.assert_array_equal(model["hidden"].weight.value, before)


def test_a_loader_of_ones_own_needs_epoch_length_and_batch_size_only():
    class Own:
        batch_size = 2

        def __len__(self):
            return len(BATCHES)

        def epoch(self, epoch, start=0):
            return BATCHES.epoch(epoch, start)

    model = net()
    own, optimizer = Own(), md.SGD(model.named_parameters(), 0.1)
    assert md.Trainer(model, optimizer, RATE, own, own, epochs=1).fit().epoch == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint64])
def test_labels_of_any_whole_type_are_counted_at_their_classes(dtype):
    labels = np.array([2, 99, 127, 0], dtype)

    class Own:
        def epoch(self, epoch, start=0, step=1):
            yield np.eye(4, 200)[[1, 0, 2, 3]], labels

        def __len__(self):
            return 1

    confusion = md.evaluate(md.ReLU(), Own()).confusion
    assert [(int(t), int(p)) for t, p in np.argwhere(confusion)] == [(0, 3), (2, 1), (99, 0), (127, 2)]


def test_a_loader_of_ones_own_that_is_exhausted_is_told_so_and_no_epoch_without_images_counts():
    class Once:
        batch_size, batches = 2, BATCHES.epoch(0)

        def __len__(self):
            return 2

        def epoch(self, epoch, start=0):
            return self.batches

    model = net()
    optimizer = md.SGD(model.named_parameters(), 0.1)
    run = md.Trainer(model, optimizer, RATE, Once(), BATCHES, epochs=2)
    with pytest.raises(UsageError, match="train gave no batch"):
        run.fit()
    assert run.state.epoch == 1
    with pytest.raises(UsageError, match="gave no batch"):
        md.evaluate(model, run.train)


def fitted(labels, **options):
    """The row of an epoch on nine-pixel images of random numbers."""
    rng = np.random.default_rng(0)
    batches = md.Loader((rng.normal(size=(len(labels), 3, 3, 1)), labels), 4, workers=0, drop_last=False)
    val = md.Loader((np.zeros((2, 3, 3, 1)), np.array([0, 1])), 2, workers=0)
    model = md.Sequential({"flat": md.Flatten(), "fc": md.Linear(9, 2, rng=np.random.default_rng(1))})
    run = md.Trainer(model, md.SGD(model.named_parameters(), 0.1), RATE, batches, val, epochs=1, **options)
    return run.fit().history[-1], model


def test_a_loss_of_ones_own_takes_the_place_of_the_cross_entropy():
    labels = np.arange(8) % 2
    one, model = fitted(labels)
    own, same = fitted(labels, loss=md.softmax_cross_entropy)
    assert [one[key] for key in ("train_loss", "train_top1", "val_loss")] == [
        own[key] for key in ("train_loss", "train_top1", "val_loss")
    ]
    np.testing.assert_array_equal(model["fc"].weight.value, same["fc"].weight.value)
    doubled, _ = fitted(labels, loss=lambda z, y: tuple(2 * a for a in md.softmax_cross_entropy(z, y)))
    assert doubled["train_loss"] != one["train_loss"]


def test_images_without_a_label_count_neither_as_right_nor_as_wrong():
    def always_right(logits, labels):
        """Pulls every labelled image's logit up before it is looked at."""
        seen.append(int((labels >= 0).sum()))
        logits[np.arange(len(labels)), labels] = np.where(labels >= 0, 1e3, logits[:, -1])
        return md.losses.CrossEntropy()(logits, labels)

    seen = []
    row, _ = fitted(np.array([0, -1, 1, 0, -1, -1, 1, 0, 1, -1]), loss=always_right)
    assert row["train_top1"] == 1 and sum(seen) == 6
    with pytest.raises(UsageError, match="1 of the 4 images of train have no label"):
        fitted(np.array([0, -1, 1, 0]))


def test_the_right_answers_of_a_smaller_last_batch_are_shares_of_its_images():
    row, _ = fitted(np.zeros(6, int), loss=lambda z, y: (np.float32(0), z * 0))
    assert row["train_top1"] * 6 == pytest.approx(round(row["train_top1"] * 6))


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (lambda z, y: 0.0, r"the loss <lambda>: returns a float, must return \(loss, dlogits\)"),
        (lambda z, y: (0.0, z[0]), r"dlogits \(2,\), must be .* logits, \(4, 2\)"),
        (lambda z, y: (z.sum(axis=1), z), r"a loss \(4,\)"),
    ],
)
def test_a_loss_that_returns_something_else_is_named(answer, line):
    with pytest.raises(UsageError, match=line):
        fitted(np.arange(4) % 2, loss=answer)


def test_a_loss_in_float64_promotes_nothing():
    def double(logits, labels):
        return tuple(a.astype(np.float64) for a in md.softmax_cross_entropy(logits, labels))

    row, model = fitted(np.arange(8) % 2, loss=double)
    one, same = fitted(np.arange(8) % 2)
    assert row["train_loss"] == one["train_loss"] and model["fc"].weight.grad.dtype == np.float32
    np.testing.assert_array_equal(model["fc"].weight.value, same["fc"].weight.value)


def wrong_gradient(value):
    """A loss that is finite, with dlogits of which one is not."""

    def loss(logits, labels):
        loss, dlogits = md.softmax_cross_entropy(logits, labels)
        dlogits[0, 0] = value
        return loss, dlogits

    return loss


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_dlogits_that_are_not_finite_end_the_training_as_a_loss_does(value):
    model = net()
    given = {"epochs": 1, "loss": wrong_gradient(value)}
    run = md.Trainer(model, md.SGD(model.named_parameters(), 0.1), RATE, BATCHES, BATCHES, **given)
    with pytest.raises(DivergedError, match="the loss or its gradient is not a number in epoch 1"):
        run.fit()
    assert not run.state.history


def test_a_validation_loss_that_is_not_finite_ends_the_training():
    model = net()
    run = trainer(model, md.SGD(model.named_parameters(), 0.1))
    run.callbacks = [Callback()]
    run.callbacks[0].on_step = lambda t: t.state.step == 2 and model["fc"].bias.value.fill(np.nan)
    advice = r"the validation loss is nan after epoch 1: try a smaller learning rate \(--lr\)"
    with pytest.raises(DivergedError, match=advice):
        run.fit()
    assert run.state.epoch == 0


def test_time_between_two_trainings_is_no_time_of_training(monkeypatch):
    now = iter(range(1000))
    clock = SimpleNamespace(monotonic=lambda: 0.001 * next(now))
    monkeypatch.setattr("minidl.training.trainer.time", clock)
    model = net()
    run = trainer(model, md.SGD(model.named_parameters(), 0.1))
    for run.epochs in (1, 2):
        clock.monotonic = lambda past=clock.monotonic: 3600 + past()
        run.fit()
    assert [row["epoch"] for row in run.state.history] == [1, 2] and run.state.seconds < 1


def test_side_heads_need_a_loss_over_all_heads():
    model = md.Sequential(
        {"flat": md.Flatten(), "side": md.SideHead({"a": md.Linear(9, 2)}, {"fc": md.Linear(9, 2)})}
    )
    given = (model, md.SGD(model.named_parameters(), 0.1), RATE, BATCHES, BATCHES)
    with pytest.raises(UsageError, match=r"scores of several heads: give loss=minidl\.losses\.SideHeads\(\)"):
        md.Trainer(*given, epochs=1)
    with pytest.raises(ShapeError, match=r"\(2, 2, 2\): expected \(N, K\) .*minidl\.losses\.SideHeads\(loss\)"):
        md.Trainer(*given, epochs=1, loss=md.losses.CrossEntropy()).fit()
    assert md.Trainer(*given, epochs=1, loss=md.losses.SideHeads()).fit().epoch == 1


def test_a_loss_that_gives_no_numbers_is_named():
    model = net()

    def words(logits, labels):
        return "x", logits

    run = md.Trainer(model, md.SGD(model.named_parameters(), 0.1), RATE, BATCHES, BATCHES, epochs=1, loss=words)
    with pytest.raises(UsageError, match="the loss words: returns str and ndarray, must return numbers"):
        run.fit()


@pytest.mark.parametrize("options", [{"seed": -1}, {"seed": "a"}, {"patience": -1}, {"patience": "3"}])
def test_a_seed_or_patience_that_is_no_whole_number_is_refused(options):
    with pytest.raises(UsageError, match="it must be"):
        fitted(np.arange(8) % 2, **options)
    with pytest.raises(UsageError, match="seed is -1"):
        models.build("convnet", seed=-1)
