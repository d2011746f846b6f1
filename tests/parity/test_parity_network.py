"""The refined net against its torch twin: weights there and back, both passes, and twenty steps of training."""

import numpy as np
import pytest

from tests.conftest import later

torch = pytest.importorskip("torch", reason=later("parity"))

import models  # noqa: E402
from benchmarks import torch_refined  # noqa: E402
from minidl.engine import fuse  # noqa: E402
from minidl.layers import INFER, PROBE, TRAIN  # noqa: E402
from minidl.losses import softmax_cross_entropy  # noqa: E402
from minidl.optim import Adam  # noqa: E402
from minidl.storage.weights import load_torch_state_dict, to_torch_state_dict  # noqa: E402
from tests.parity.torch_models import error, minidl_pass, to_numpy, to_torch, torch_pass, twin, worst_error  # noqa: E402
from tests.strategies import randomized  # noqa: E402

pytestmark = pytest.mark.parity
CLASSES, BATCH, SIDE = 200, 8, 32
STEPS, LEARNING_RATE, WEIGHT_DECAY = 20, 1e-3, 3.16e-5


@pytest.fixture(params=[lambda model: model, fuse], ids=["plain", "fused"])
def pair(request):
    """The refined net in both libraries, in float64, without dropout, with the same weights."""
    ours = request.param(models.build("refined", CLASSES, dropout=0.0, seed=1, dtype=np.float64))
    return ours, twin(ours, torch_refined.refined(CLASSES, dropout=0.0))


def test_a_state_dict_is_a_round_trip():
    torch.manual_seed(0)
    theirs = torch_refined.refined(CLASSES)
    theirs(torch.randn(2, 3, SIDE, SIDE))  # so that the running statistics are not what they start as
    state = {name: t.clone() for name, t in theirs.state_dict().items() if not name.endswith("num_batches_tracked")}
    ours = models.build("refined", CLASSES)
    load_torch_state_dict(ours, theirs.state_dict())
    exported = to_torch_state_dict(ours)
    assert exported.keys() == state.keys()
    for name, t in state.items():
        np.testing.assert_array_equal(exported[name], t.numpy())
    again = torch_refined.refined(CLASSES)
    again.load_state_dict({n: torch.from_numpy(a) for n, a in exported.items()} | _counters(again))
    assert all(torch.equal(t, again.state_dict()[name]) for name, t in state.items())


def _counters(module):
    return {name: t for name, t in module.state_dict().items() if name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("ctx", [TRAIN, PROBE], ids=["train", "eval"])
def test_both_passes_of_the_whole_net(pair, ctx):
    ours, theirs = pair
    rng = np.random.default_rng(2)
    randomized(ours, rng)
    twin(ours, theirs)
    x, dy = rng.normal(size=(BATCH, SIDE, SIDE, 3)), rng.normal(size=(BATCH, CLASSES))
    assert worst_error(minidl_pass(ours, x, dy, ctx), torch_pass(theirs, x, dy, ctx.training)) <= 1e-11


@pytest.mark.parametrize("side", [33, 64])
def test_inference_at_other_sizes(pair, side):
    ours, theirs = pair
    x = np.random.default_rng(3).normal(size=(2, side, side, 3))
    assert error(ours.forward(x, INFER)[0], to_numpy(theirs.eval()(to_torch(x)))) <= 1e-11


def test_twenty_steps_of_training(pair):
    ours, theirs = pair
    rng = np.random.default_rng(4)
    optimizer = Adam(ours.named_parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    reference = torch.optim.Adam(theirs.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    losses = []
    for step in range(STEPS):
        x, labels = rng.normal(size=(BATCH, SIDE, SIDE, 3)), rng.integers(0, CLASSES, BATCH)

        logits, cache = ours.forward(x, TRAIN.at_step(step))
        loss, dlogits = softmax_cross_entropy(logits, labels)
        ours.zero_grad()
        ours.backward(dlogits, cache, need_dx=False)
        optimizer.step()

        their_loss = torch.nn.functional.cross_entropy(theirs(to_torch(x)), torch.from_numpy(labels))
        reference.zero_grad()
        their_loss.backward()
        reference.step()

        losses.append((loss, their_loss.detach().numpy()))
    assert max(error(a, b) for a, b in losses) <= 1e-9
    state = theirs.state_dict()
    worst = {name: error(a, state[name].numpy()) for name, a in to_torch_state_dict(ours).items()}
    assert max(worst.values()) <= 1e-7, max(worst, key=worst.get)
