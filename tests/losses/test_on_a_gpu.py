"""The losses, ranks and clipping on the stand-in for CuPy: the numbers of NumPy, nothing refused, no wait."""

import numpy as np
import pytest

from minidl.clipping import clip_norm
from minidl.layers.base import Parameter
from minidl.losses import CrossEntropy, SideHeads, binary_cross_entropy, label_ranks, weighted_cross_entropy
from minidl.losses.protocol import call_loss
from tests.cuda_standin import KERNEL_SETS, RECORD, install

RNG = np.random.default_rng(0)
LOGITS, LABELS = RNG.normal(size=(6, 3, 4)).astype(np.float32), np.array([0, -1, 3, 1, 2, -1])
WEIGHTS = [0.5, 1.0, 2.0, 4.0]
ASKED = {
    "binary": lambda z, y: binary_cross_entropy(z[:, 0], z[:, 1] > 0),
    "weighted": lambda z, y: CrossEntropy(WEIGHTS, 0.1)(z[:, 0], y),
    "ignored": lambda z, y: weighted_cross_entropy(z[:, 0], y),
    "heads": lambda z, y: SideHeads(CrossEntropy(WEIGHTS))(z, y),
    "one's own": lambda z, y: call_loss(SideHeads(), z, abs(y)),
    "plain heads": lambda z, y: SideHeads()(z, abs(y)),
    "weight": lambda z, y: (SideHeads(CrossEntropy(WEIGHTS)).weight(y), CrossEntropy().weight(y)),
    "ranks": lambda z, y: (label_ranks(z[:, 0], y),),
}


@pytest.fixture(params=KERNEL_SETS)
def xp(request, monkeypatch):
    yield install(monkeypatch, request.param)
    assert not RECORD.refusals


@pytest.mark.parametrize("name", ASKED)
def test_the_numbers_are_those_of_numpy_and_nothing_waits(name, xp):
    expected = ASKED[name](LOGITS.copy(), LABELS)
    logits, labels = xp.asarray(LOGITS), xp.asarray(LABELS)
    RECORD.clear()
    found = ASKED[name](logits, labels)
    assert not RECORD.syncs
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours.get(), theirs, rtol=1e-6, atol=1e-7)


def test_a_label_that_is_no_class_makes_the_loss_nan(xp):
    logits, labels = xp.asarray(LOGITS[:, 0]), xp.asarray(np.array([0, -1, 3, 4, 2, -1]))
    loss, dlogits = CrossEntropy(WEIGHTS)(logits, labels)
    assert np.isnan(loss.get()) and np.isnan(dlogits.get()[0]).all()


def test_the_weights_are_copied_to_the_device_once(xp):
    loss, logits, labels = CrossEntropy(WEIGHTS), xp.asarray(LOGITS[:, 0]), xp.asarray(LABELS)
    loss(logits, labels)
    RECORD.clear()
    loss(logits, labels)
    assert not RECORD.uploads


def test_clipping_waits_for_nothing(xp):
    host, there = (Parameter(np.zeros((3, 4), np.float32)), Parameter(xp.zeros((3, 4), xp.float32)))
    host.grad[...] = RNG.normal(size=(3, 4))
    there.grad[...] = xp.asarray(host.grad)
    RECORD.clear()
    norm = clip_norm([there], 0.5)
    assert not RECORD.syncs
    assert norm.get() == pytest.approx(clip_norm([host], 0.5), rel=1e-12)
    np.testing.assert_allclose(there.grad.get(), host.grad, rtol=1e-6)
