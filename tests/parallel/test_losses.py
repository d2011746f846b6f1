"""Losses of a user's own on several ranks, which are threads here: those of one process, also if the mean is not over
images and the ranks know only their part of what it divides by."""

import numpy as np
import pytest

import minidl as md
from minidl.engine import prepare
from minidl.layers import Layer, Linear, Sequential
from minidl.layers.base import Context, Mode
from minidl.layers.convert import convert
from minidl.losses import CrossEntropy, SideHeads, binary_cross_entropy
from minidl.optim import SGD
from minidl.parallel.communicator import ALONE
from minidl.parallel.runner import RankRunner
from minidl.parallel.share import Share
from minidl.parallel.step import DataParallel
from minidl.schedules import constant
from minidl.storage.weights import model_arrays
from minidl.training.trainer import Trainer
from tests.parallel.test_step import batches, plain_model
from tests.parallel.threads import on_ranks

WEIGHTS = [0.2, 1.0, 3.0, 0.5]


def yes_or_no(logits, labels):
    """The mean over images of a loss without a `weight`."""
    loss, dlogits = binary_cross_entropy(logits, labels[:, None] == np.arange(logits.shape[1]))
    return loss, dlogits


LOSSES = {
    "weights": CrossEntropy(WEIGHTS, 0.1),
    "no weights": CrossEntropy(label_smoothing=0.1),
    "heads": SideHeads(CrossEntropy(WEIGHTS)),
    "images": yes_or_no,
    "heads of images": SideHeads(),
}


def some_labels(data):
    """Every third image has no label; the images of rank 0 in `cut` have none at all."""
    return [(x, np.where((np.arange(len(y)) % 3 == 1) | (np.arange(len(y)) < 2), -1, y)) for x, y in data]


class Heads(Layer):
    """y = (x, 2x, x/2) in training, and x elsewhere: three heads that cost nothing."""

    training_only = frozenset({"side"})

    def forward(self, x, ctx):
        return (np.stack([x, 2 * x, x / 2], axis=1) if ctx.training else x), ctx.training

    def input_grad(self, dy, training):
        return dy[:, 0] + 2 * dy[:, 1] + dy[:, 2] / 2 if training else dy


def model_of(loss, dtype):
    model = plain_model(dtype)
    return Sequential({"net": model, "heads": Heads()}) if "heads" in loss else model


def trained(model, gradients, data):
    optimizer, numbers, first = SGD(model.named_parameters(), 0.05, clip_norm=0.5), [], None
    for step, (x, y) in enumerate(data):
        loss, correct = gradients(x, y, Context(Mode.TRAIN, 3, step))
        first = first or {name: p.grad.copy() for name, p in model.named_parameters().items()}
        optimizer.step()
        numbers.append((float(loss), int(correct)))
    return numbers, first, model_arrays(model)


def one_process(name, data):
    loss, model = LOSSES[name], model_of(name, data[0][0].dtype)

    def gradients(x, y, ctx):
        logits, cache = model.forward(x, ctx)
        value, dlogits = loss(logits, y)
        model.zero_grad()
        model.backward(dlogits, cache, need_dx=False)
        main = logits if logits.ndim == 2 else logits[:, 0]
        return value, (main.argmax(axis=1) == y).sum()

    return trained(model, gradients, data)


def one_rank(comm, name, data, engine="plain", exact=False, cut=None):
    share, model = Share(comm), model_of(name, data[0][0].dtype)
    if cut:
        comm.share = lambda n: slice(cut[comm.rank], cut[comm.rank + 1])
    if engine == "fused":
        model = prepare(model, 1, RankRunner(1, share, exact))
    parallel = DataParallel(model, share, sync_bn=not exact, exact=exact)

    def gradients(x, y, ctx):
        part = comm.share(len(x))
        return parallel.gradients(x[part], y[part], len(x), ctx, 0.0, LOSSES[name])

    return trained(model, gradients, data)


@pytest.mark.parametrize(
    "name, labels", [(name, some_labels) for name in list(LOSSES)[:3]] + [("images", list), ("heads of images", list)]
)
def test_the_loss_over_ranks_is_that_of_one_process(name, labels):
    data = labels(batches(7, 2))
    numbers, grads, arrays = one_process(name, data)
    for ranks, cut in ((2, (0, 2, 7)), (3, None)):  # the two images of the first cut have no label
        for got in on_ranks(ranks, lambda comm, cut=cut: one_rank(comm, name, data, cut=cut)):
            np.testing.assert_allclose(got[0], numbers, rtol=0, atol=1e-10)
            for key, g in grads.items():
                np.testing.assert_allclose(got[1][key], g, rtol=0, atol=1e-12 * np.abs(g).max() + 1e-15, err_msg=key)
            for key, a in arrays.items():
                np.testing.assert_allclose(got[2][key], a, rtol=0, atol=1e-10, err_msg=key)


@pytest.mark.parametrize("name", ["weights", "heads"])
def test_exact_gives_the_same_bits_on_1_2_and_4_ranks(name):
    data = some_labels(batches(9, 2, np.float32))
    one = one_rank(ALONE, name, data, "fused", exact=True)
    for size in (2, 4):
        for other in on_ranks(size, lambda comm: one_rank(comm, name, data, "fused", exact=True)):
            assert other[0] == one[0]
            for got, expected in zip(other[1:], one[1:], strict=True):
                for key, a in expected.items():
                    np.testing.assert_array_equal(got[key], a, err_msg=key)


def test_a_batch_without_any_label_has_no_gradient_on_any_rank():
    data = [(x, np.full_like(y, -1)) for x, y in batches(5, 1)]
    for numbers, grads, _ in on_ranks(2, lambda comm: one_rank(comm, "weights", data)):
        assert numbers == [(0.0, 0)] and not any(g.any() for g in grads.values())


def test_one_label_in_all_teaches_what_it_does_in_one_process():
    data = [(x, np.where(np.arange(len(y)) == 3, y, -1)) for x, y in batches(5, 1)]
    numbers, grads, _ = one_process("no weights", data)
    for got in on_ranks(2, lambda comm: one_rank(comm, "no weights", data)):
        np.testing.assert_allclose(got[0], numbers, rtol=0, atol=1e-12)
        for key, g in grads.items():
            np.testing.assert_allclose(got[1][key], g, rtol=0, atol=1e-12 * np.abs(g).max() + 1e-15, err_msg=key)


def test_one_vector_is_exchanged_in_a_step():
    def calls(comm):
        model = model_of("weights", np.float32)
        parallel, (x, y) = DataParallel(model, Share(comm)), batches(6, 1, np.float32)[0]
        part = comm.share(6)
        parallel.gradients(x[part], y[part], 6, Context(Mode.TRAIN, 3, 0), 0.0, LOSSES["weights"])
        return comm.calls

    assert [call.split()[0] for call in on_ranks(2, calls)[0]] == ["allreduce"]


def test_a_trainer_on_ranks_takes_a_loss():
    rng = np.random.default_rng(0)
    arrays = (
        rng.normal(size=(12, 4, 4, 1)).astype(np.float64),
        np.where(np.arange(12) % 4 == 3, -1, np.arange(12) % 3),
    )

    def fitted(comm):
        model = Sequential({"flat": md.Flatten(), "fc": Linear(16, 3, rng=np.random.default_rng(1))})
        model = convert(model, dtype=np.float64)
        loader = md.Loader(arrays, 6, workers=0)
        val = md.Loader((arrays[0], abs(arrays[1])), 6, workers=0)
        parallel = DataParallel(model, Share(comm)) if comm.size > 1 else None
        options = {"epochs": 2, "loss": CrossEntropy([1.0, 2, 3]), "parallel": parallel}
        t = Trainer(model, SGD(model.named_parameters(), 0.1), constant(0.1), loader, val, **options)
        return [(row["train_loss"], row["train_top1"], row["val_loss"]) for row in t.fit().history]

    for rows in on_ranks(2, fitted):
        np.testing.assert_allclose(rows, fitted(ALONE), rtol=0, atol=1e-7)  # pixels are float32
