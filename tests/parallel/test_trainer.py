"""The Trainer on ranks, which are threads here, with layers and loaders of a user's own."""

import numpy as np
import pytest

import minidl as md
from minidl.engine import prepare
from minidl.errors import UsageError
from minidl.layers import (
    BatchNorm2D,
    Conv2D,
    GeneralConv2D,
    GeneralMaxPool2D,
    GlobalAvgPool,
    Layer,
    Linear,
    Parameter,
    ReLU,
    Sequential,
    freeze,
)
from minidl.layers.parameter import FROZEN
from minidl.optim import Adam
from minidl.parallel.communicator import ALONE
from minidl.parallel.runner import RankRunner
from minidl.parallel.share import Share
from minidl.parallel.step import DataParallel
from minidl.schedules import constant
from minidl.storage.weights import model_arrays
from minidl.training.trainer import Trainer
from tests.parallel.threads import on_ranks

RNG = np.random.default_rng(0)
ARRAYS = RNG.normal(size=(19, 8, 8, 3)).astype(np.float32), RNG.integers(0, 4, 19)


class Gain(Layer):
    """y = g x. Training needs no `input_grad`, so there is none."""

    def __init__(self):
        self.params = {"g": Parameter(np.ones(1, np.float32))}

    def forward(self, x, ctx):
        return self.params["g"].value * x, x

    def backward(self, dy, x, need_dx=True):
        self.params["g"].grad += (dy * x).sum()
        return self.params["g"].value * dy


def network():
    rng = np.random.default_rng(1)
    return Sequential(
        {
            "conv": Conv2D(3, 8, 3, padding=1, rng=rng),
            "bn": BatchNorm2D(8),
            "relu": ReLU(),
            "gain": Gain(),
            "grouped": GeneralConv2D(8, 8, (3, 2), padding="same", groups=4, rng=rng),
            "hanging": GeneralMaxPool2D(3, 2, ceil_mode=True),
            "conv2": Conv2D(8, 8, 3, padding=1, rng=rng),
            "bn2": BatchNorm2D(8),
            "relu2": ReLU(),
            "pool": GlobalAvgPool(),
            "fc": Linear(8, 4, rng=rng),
        }
    )


def trainer(comm, batch=9, frozen=None, drop_last=True, **modes):
    share, model = Share(comm), network()
    if frozen:
        for a in model.named_layers()["bn"].buffers.values():
            a += 0.1
        model = freeze(model, frozen)
    exact = modes.get("exact", False)
    model = prepare(model, 1, RankRunner(1, share, exact) if modes else None)
    train = md.Loader(ARRAYS, batch, drop_last=drop_last, workers=0)
    val = md.Loader(ARRAYS, 7, shuffle=False, drop_last=False, workers=0)
    learning = {name: p for name, p in model.named_parameters().items() if FROZEN not in p.tags}
    parallel = DataParallel(model, share, **modes)
    return Trainer(model, Adam(learning, 1e-2), constant(1e-2), train, val, epochs=2, parallel=parallel)


@pytest.mark.parametrize("frozen", [None, "relu", "relu2"])  # relu2: a user's layer among frozen composites
def test_exact_training_with_a_layer_of_ones_own_has_the_same_bits_on_all_ranks(frozen):
    def work(comm):
        t = trainer(comm, frozen=frozen, exact=True)
        losses = [(row["train_loss"], row["val_loss"]) for row in t.fit().history]
        return losses, model_arrays(t.model)

    one = work(ALONE)
    for size in (2, 4):
        for losses, arrays in on_ranks(size, work):
            assert losses == one[0]
            for name, a in arrays.items():
                np.testing.assert_array_equal(a, one[1][name], err_msg=name)


def test_frozen_statistics_keep_their_bits_on_3_ranks():
    def work(comm):
        t = trainer(comm, frozen="relu")
        before = {name: a.copy() for name, a in model_arrays(t.model).items() if name.startswith("bn.")}
        t.fit()
        return before, model_arrays(t.model)

    for before, after in on_ranks(3, work):
        for name, a in before.items():
            np.testing.assert_array_equal(after[name], a, err_msg=name)


def test_a_last_batch_that_cannot_be_shared_is_refused_at_once():
    def line(comm, **given):
        with pytest.raises(UsageError) as error:
            trainer(comm, drop_last=False, **given)
        return str(error.value)

    assert "last batch of an epoch has 1 image, and" in on_ranks(2, line)[0]
    assert "share 8 or more" in line(ALONE, exact=True)
    trainer(ALONE, batch=11, drop_last=False, exact=True)  # the last one has 8


def test_an_engine_that_knows_nothing_of_ranks_is_refused():
    """It would train, with the statistics of each rank's own part."""

    def line(comm):
        with pytest.raises(UsageError) as error:
            DataParallel(prepare(network(), 1), Share(comm), sync_bn=True)
        return str(error.value)

    assert "RankRunner(threads, share, exact=False)" in on_ranks(2, line)[0]
