"""Training steps on several ranks, which are threads here, against the same steps in one process."""

import numpy as np
import pytest

from minidl.engine import prepare
from minidl.errors import UsageError
from minidl.layers import BatchNorm2D, Dropout
from minidl.layers.base import Context, Mode
from minidl.layers.convert import convert
from minidl.losses import softmax_cross_entropy, top_k_correct
from minidl.optim import Adam
from minidl.parallel.communicator import ALONE
from minidl.parallel.layers import SyncBatchNorm2D, sharing
from minidl.parallel.runner import RankRunner
from minidl.parallel.share import Share
from minidl.parallel.step import DataParallel
from minidl.storage.weights import model_arrays
from tests.engine.chains import Block, Branches, Conv, Layers, MaxPool, Own, network
from tests.parallel.threads import on_ranks
from tests.strategies import randomized

ROWS = (
    Conv(8, 3),  # the fused stem, with the pool
    MaxPool(4, 2),
    Branches(((Conv(8, 1),), (Conv(6, 1), Conv(9, 3, padding=1)), (MaxPool(3, 1, 1), Conv(4, 1)))),
    Block((Conv(16, 3, padding=1), Conv(16, 3, padding=1))),
    MaxPool(2, 2),
    Own((Conv(8, 3, padding=1, act="silu"), Layers(("relu", "dropout")))),
)
SIDE, CLASSES, SMOOTHING = 20, 4, 0.1


def plain_model(dtype=np.float64):
    model = randomized(network(ROWS, 3, CLASSES), np.random.default_rng(1))
    for layer in model.leaves():
        if isinstance(layer, Dropout):
            layer.p = 0.3
    return convert(model, dtype=dtype)


def batches(images, steps, dtype=np.float64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(steps, images, SIDE, SIDE, 3)).astype(dtype)
    return list(zip(x, rng.integers(0, CLASSES, (steps, images)), strict=True))


def one_process(engine, data):
    """(losses, right answers, gradients of the first step, all arrays in the end)"""
    model = plain_model(data[0][0].dtype)
    model = prepare(model, 1) if engine == "fused" else model
    return _train(model, data, lambda x, y, ctx: _gradients(model, x, y, ctx))


def _gradients(model, x, y, ctx):
    logits, cache = model.forward(x, ctx)
    loss, dlogits = softmax_cross_entropy(logits, y, SMOOTHING)
    model.zero_grad()
    model.backward(dlogits, cache, need_dx=False)
    return loss, top_k_correct(logits, y, 1)


def one_rank(comm, engine, data, sync_bn=True, exact=False, threads=1, cut=None):
    """The same of one rank. `cut`: where the batch is cut, instead of into equal parts."""
    share = Share(comm)
    if cut:
        comm.share = lambda n: slice(cut[comm.rank], cut[comm.rank + 1])
    model = plain_model(data[0][0].dtype)
    runner = RankRunner(threads, share, exact) if sync_bn or exact else None  # as session.make_trainer does
    model = prepare(model, threads, runner) if engine == "fused" else model
    parallel = DataParallel(model, share, sync_bn=sync_bn, exact=exact)

    def gradients(x, y, ctx):
        part = comm.share(len(x))
        return parallel.gradients(x[part], y[part], len(x), ctx, SMOOTHING)

    return _train(model, data, gradients)


def _train(model, data, gradients):
    optimizer, losses, right = Adam(model.named_parameters(), lr=1e-3), [], []
    first = None
    for step, (x, y) in enumerate(data):
        loss, correct = gradients(x, y, Context(Mode.TRAIN, 3, step))
        first = first or {name: p.grad.copy() for name, p in model.named_parameters().items()}
        optimizer.step()
        losses.append(float(loss))
        right.append(int(correct))
    return losses, right, first, model_arrays(model)


def same_bits(a, b):
    assert a[:2] == b[:2]
    for one, other in zip(a[2:], b[2:], strict=True):
        for name in other:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.parametrize("engine", ["fused", "plain"])
def test_with_sync_bn_losses_and_gradients_are_those_of_one_process(engine):
    data = batches(5, 20 if engine == "plain" else 6)
    one = one_process(engine, data)
    for rank in on_ranks(3, lambda comm: one_rank(comm, engine, data)):  # shares of 1, 2 and 2
        np.testing.assert_allclose(rank[0], one[0], rtol=0, atol=1e-10)
        assert rank[1] == one[1]
        for name, g in one[2].items():
            np.testing.assert_allclose(rank[2][name], g, rtol=0, atol=1e-12 * np.abs(g).max() + 1e-15, err_msg=name)


def test_very_unequal_shares_give_the_same_gradients():
    data = batches(11, 1)
    one = one_process("fused", data)
    for rank in on_ranks(2, lambda comm: one_rank(comm, "fused", data, cut=(0, 1, 11))):
        for name, g in one[2].items():
            np.testing.assert_allclose(rank[2][name], g, rtol=0, atol=1e-12 * np.abs(g).max() + 1e-15, err_msg=name)


@pytest.mark.parametrize("engine", ["fused", "plain"])
@pytest.mark.parametrize("sync_bn", [False, True])
def test_all_ranks_have_the_same_weights(engine, sync_bn):
    first, *others = on_ranks(3, lambda comm: one_rank(comm, engine, batches(7, 2), sync_bn))
    statistics = {name for name in first[3] if "running" in name}
    for other in others:
        assert first[:2] == other[:2]
        for name in first[3].keys() - (set() if sync_bn else statistics):
            np.testing.assert_array_equal(first[3][name], other[3][name], err_msg=name)
    if not sync_bn:  # every rank its own, until `agree`
        assert any((first[3][name] != others[0][3][name]).any() for name in statistics)


@pytest.mark.parametrize("images, sizes", [(8, [8]), (21, [2, 4, 8]), (64, [2])])
def test_exact_gives_the_same_bits_on_1_2_4_and_8_ranks(images, sizes):
    data = batches(images, 2 if images < 64 else 1, np.float32)
    (one,) = on_ranks(1, lambda comm: one_rank(comm, "fused", data, exact=True, threads=2))
    for size in sizes:
        for rank in on_ranks(size, lambda comm: one_rank(comm, "fused", data, exact=True)):
            same_bits(rank, one)


def test_exact_needs_no_second_process():
    data = batches(9, 2, np.float32)
    (other,) = on_ranks(1, lambda comm: one_rank(comm, "fused", data, exact=True))
    same_bits(one_rank(ALONE, "fused", data, exact=True), other)


def test_exact_agrees_with_one_process_without_it():
    data = batches(19, 3)
    one, exact = one_process("fused", data), one_rank(ALONE, "fused", data, exact=True)
    np.testing.assert_allclose(exact[0], one[0], rtol=0, atol=1e-10)


def test_one_flat_vector_is_exchanged_in_a_step_without_sync_bn():
    def calls(comm):
        one_rank(comm, "fused", batches(6, 1), sync_bn=False)
        return comm.calls

    assert [call.split()[0] for call in on_ranks(2, calls)[0]] == ["allreduce"]


def test_sync_batch_norm_passes_a_gradient_check_across_ranks():
    """dL/dx of rank 0 contains what its numbers change on rank 1, through the mean and the variance."""
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, 5, 2, 3, 4))
    cut = (0, 2, 5)
    layer = BatchNorm2D(4, dtype=np.float64)
    layer.params["gamma"].value[...] = rng.normal(size=4)

    def loss(x):
        y, _ = layer.forward(x, Context(Mode.TRAIN))
        return (y * dy).sum()

    def dx(comm):
        comm.share = lambda n: slice(cut[comm.rank], cut[comm.rank + 1])
        share = Share(comm)
        own = convert(layer, dtype=np.float64)
        norm = SyncBatchNorm2D(own, share)
        with share.of(5):
            _, cache = norm.forward(x[share.rows], Context(Mode.TRAIN))
            return norm.backward(dy[share.rows], cache)

    got, h = np.concatenate(on_ranks(2, dx)), 1e-5
    for index in np.ndindex(*x.shape):
        step = np.zeros_like(x)
        step[index] = h
        numeric = (loss(x + step) - loss(x - step)) / (2 * h)
        assert abs(numeric - got[index]) < 1e-8, index


def test_statistics_of_each_rank_become_their_mean():
    def work(comm):
        parallel = DataParallel(plain_model(), Share(comm))
        a = np.array([1.0, 2.0]) * comm.rank
        parallel.agree([a])
        return a.tolist()

    assert on_ranks(3, work) == [[1.0, 2.0]] * 3


def test_names_and_parameters_stay():
    for exact in (False, True):
        share = Share(ALONE)
        model = prepare(plain_model(), 1, RankRunner(1, share, exact))
        shared = sharing(model, share, sync_bn=True, exact=exact)
        assert list(shared.named_parameters()) == list(model.named_parameters())
        for name, p in model.named_parameters().items():
            assert shared.named_parameters()[name] is p


def test_a_batch_that_cannot_be_cut_is_refused():
    def require(comm, exact, batch):
        with pytest.raises(UsageError) as error:
            DataParallel(plain_model(), Share(comm), exact=exact).require(batch)
        return str(error.value)

    assert "3 ranks can't share 8 shards" in on_ranks(3, lambda comm: require(comm, True, 64))[0]
    assert "--batch-size 8 or more" in on_ranks(2, lambda comm: require(comm, True, 7))[0]
    assert "--batch-size 3 or more" in on_ranks(3, lambda comm: require(comm, False, 2))[0]
