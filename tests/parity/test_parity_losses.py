"""The losses against torch's in float64, over random cases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import later

torch = pytest.importorskip("torch", reason=later("parity"))

from torch.nn import functional  # noqa: E402

from minidl.losses import SideHeads, binary_cross_entropy, weighted_cross_entropy  # noqa: E402
from tests.parity.torch_models import error  # noqa: E402
from tests.strategies import arranged, cases, layouts, seeds  # noqa: E402

pytestmark = pytest.mark.parity
TOLERANCE = 1e-11


def compare(ours, logits, theirs):
    """The worst error of the loss and of its gradient."""
    t = torch.from_numpy(np.array(logits, order="C")).requires_grad_()
    expected = theirs(t)
    expected.backward()
    loss, dlogits = ours
    return max(error(loss, expected.detach().numpy()), error(dlogits, t.grad.numpy()))


@cases(60)
@given(
    *(st.integers(1, 8), st.integers(1, 7), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.sampled_from([1, 100])),
    *(st.booleans(), st.sampled_from([-1, -100, 0, 255]), layouts, seeds),
)
def test_class_weights_and_ignored_labels(n, k, smoothing, scale, weighted, ignore, layout, seed):
    rng = np.random.default_rng(seed)
    logits, labels = arranged(scale * rng.normal(size=(n, k)), layout), rng.integers(0, k, n)
    ignore = ignore if k > 1 else -1
    labels[rng.random(n) < 0.3] = ignore
    labels[0] = k - 1  # of no labels at all the mean is NaN in torch
    weights = rng.random(k) + 0.01 if weighted else None
    worst = compare(
        weighted_cross_entropy(logits, labels, weights, smoothing, ignore),
        logits,
        lambda t: functional.cross_entropy(
            t,
            torch.from_numpy(labels),
            None if weights is None else torch.from_numpy(weights),
            ignore_index=ignore,
            label_smoothing=smoothing,
        ),
    )
    assert worst <= TOLERANCE


@cases(40)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=3), st.sampled_from([1, 100]), layouts, seeds)
def test_binary_cross_entropy(shape, scale, layout, seed):
    rng = np.random.default_rng(seed)
    logits, targets = arranged(scale * rng.normal(size=shape), layout), rng.random(shape)
    worst = compare(
        binary_cross_entropy(logits, targets),
        logits,
        lambda t: functional.binary_cross_entropy_with_logits(t, torch.from_numpy(targets)),
    )
    assert worst <= TOLERANCE


@cases(20)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 6), seeds)
def test_side_heads(n, heads, k, seed):
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(n, heads, k)), rng.integers(0, k, n)
    y = torch.from_numpy(labels)
    share = [1.0] + [0.3] * (heads - 1)
    worst = compare(
        SideHeads()(logits, labels),
        logits,
        lambda t: sum(s * functional.cross_entropy(t[:, h], y) for h, s in enumerate(share)),
    )
    assert worst <= TOLERANCE
