"""Which loss a run has, and trainings of a network with a side head in one process and on ranks."""

from types import SimpleNamespace

import numpy as np
import pytest

import minidl as md
from minidl.engine import prepare
from minidl.layers.side_head import SideHead
from minidl.losses import CrossEntropy, SideHeads
from minidl.parallel.communicator import ALONE
from minidl.parallel.runner import RankRunner
from minidl.parallel.share import Share
from minidl.parallel.step import DataParallel
from minidl.storage.weights import model_arrays
from minidl.training.config import Config
from minidl.training.session import make_loss
from tests.parallel.threads import on_ranks

RNG = np.random.default_rng(0)
ARRAYS = RNG.normal(size=(18, 6, 6, 3)).astype(np.float32), np.arange(18) % 3
DATA = SimpleNamespace(train=md.Loader(ARRAYS, 9).split, dataset=SimpleNamespace(classes=["a", "b", "c"]))


def network():
    rng = np.random.default_rng(1)
    rest = {"conv2": md.Conv2D(4, 5, 3, rng=rng), "pool": md.GlobalAvgPool(), "fc": md.Linear(5, 3, rng=rng)}
    head = {"side_pool": md.GlobalAvgPool(), "side_fc": md.Linear(4, 3, rng=rng)}
    first = {"conv": md.Conv2D(3, 4, 3, padding=1, rng=rng), "bn": md.BatchNorm2D(4), "relu": md.ReLU()}
    return md.Sequential({**first, "side": SideHead(head, rest)})


def test_side_heads_and_class_weights_change_the_loss_and_nothing_else_does():
    plain = md.Sequential({"fc": md.Linear(4, 3)})
    assert make_loss(Config(label_smoothing=0.1), DATA, plain) is None
    weighed = make_loss(Config(class_weights="balanced", label_smoothing=0.1), DATA, plain)
    assert isinstance(weighed, CrossEntropy) and weighed.label_smoothing == 0.1
    np.testing.assert_allclose(weighed.weights, 1)  # six images of each class
    heads = make_loss(Config(label_smoothing=0.1), DATA, network())
    assert isinstance(heads, SideHeads) and heads.share == 0.3
    assert heads.loss.weights is None and heads.loss.label_smoothing == 0.1
    assert make_loss(Config(class_weights="balanced"), DATA, network()).loss.weights is not None


def trained(comm, engine, exact=False):
    """The rows of metrics and all arrays after two epochs of two steps."""
    share, model = Share(comm), network()
    if engine == "fused":
        model = prepare(model, 1, RankRunner(1, share, exact) if comm.size > 1 or exact else None)
    parallel = DataParallel(model, share, sync_bn=True, exact=exact) if comm.size > 1 or exact else None
    batches = md.Loader(ARRAYS, 9, workers=0)
    optimizer = md.SGD(model.named_parameters(), 0.1, clip_norm=1.0)
    options = {"epochs": 2, "loss": make_loss(Config(), DATA, model), "parallel": parallel}
    run = md.Trainer(model, optimizer, md.schedules.constant(0.1), batches, batches, **options)
    rows = [[row[k] for k in ("train_loss", "train_top1", "val_loss")] for row in run.fit().history]
    return rows, model_arrays(model)


@pytest.mark.parametrize("engine", ["plain", "fused"])
def test_a_network_with_a_side_head_trains_on_ranks_as_in_one_process(engine):
    start, (rows, arrays) = model_arrays(network()), trained(ALONE, engine)
    assert rows[0][0] > 1.2 * np.log(3)  # the loss of both heads
    assert not np.array_equal(arrays["side.side_fc.weight"], start["side.side_fc.weight"])
    for got, others in on_ranks(2, lambda comm: trained(comm, engine)):
        np.testing.assert_allclose(got, rows, atol=1e-5)
        for name, a in arrays.items():
            np.testing.assert_allclose(others[name], a, atol=1e-5, err_msg=name)


def test_exact_has_the_same_bits_on_two_ranks():
    rows, arrays = trained(ALONE, "fused", exact=True)
    for got, others in on_ranks(2, lambda comm: trained(comm, "fused", exact=True)):
        assert got == rows
        for name, a in arrays.items():
            np.testing.assert_array_equal(others[name], a, err_msg=name)
