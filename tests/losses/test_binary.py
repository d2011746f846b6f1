"""Binary cross-entropy against its formula, finite differences and far numbers."""

import numpy as np
import pytest

from minidl.errors import ShapeError, UsageError
from minidl.losses import binary_cross_entropy


def batch(shape=(4, 3), dtype=np.float64, scale=3.0):
    rng = np.random.default_rng(0)
    return rng.normal(0, scale, shape).astype(dtype), rng.random(shape)


@pytest.mark.parametrize("shape", [(4, 3), (5,), (2, 3, 4), (1, 1)])
def test_the_loss_is_the_mean_of_its_definition(shape):
    logits, targets = batch(shape)
    p = 1 / (1 + np.exp(-logits))
    loss, dlogits = binary_cross_entropy(logits, targets)
    assert loss == pytest.approx(-(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean(), rel=1e-12)
    np.testing.assert_allclose(dlogits, (p - targets) / logits.size, atol=1e-15)


def test_the_gradient_is_the_finite_difference_of_the_loss():
    logits, targets = batch((2, 3))
    _, dlogits = binary_cross_entropy(logits, targets)
    h = 1e-5
    for i in np.ndindex(logits.shape):
        up, down = logits.copy(), logits.copy()
        up[i] += h
        down[i] -= h
        numeric = binary_cross_entropy(up, targets)[0] - binary_cross_entropy(down, targets)[0]
        assert dlogits[i] == pytest.approx(numeric / (2 * h), abs=1e-10)


def test_large_logits_neither_overflow_nor_lose_the_loss():
    with np.errstate(over="raise"):
        loss, dlogits = binary_cross_entropy(np.array([1e4, -1e4, 1e4, -1e4]), np.array([1.0, 0, 0, 1]))
    assert loss == 5e3
    np.testing.assert_array_equal(dlogits, [0, 0, 0.25, -0.25])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("targets", [np.array([[True, False]]), np.array([[1, 0]]), np.array([[1.0, 0.0]])])
def test_loss_and_gradient_keep_the_dtype_of_the_logits(dtype, targets):
    loss, dlogits = binary_cross_entropy(np.ones((1, 2), dtype), targets)
    assert isinstance(loss, np.ndarray) and loss.shape == () and loss.dtype == dlogits.dtype == dtype


def test_logits_and_targets_stay_as_they_are():
    logits, targets = batch()
    before = logits.copy(), targets.copy()
    binary_cross_entropy(logits, targets)
    np.testing.assert_array_equal(logits, before[0])
    np.testing.assert_array_equal(targets, before[1])


@pytest.mark.parametrize("targets", [np.zeros((3,)), np.zeros((2, 1)), np.zeros((0, 3))])
def test_there_is_one_target_for_each_logit(targets):
    with pytest.raises(ShapeError, match="one for each logit"):
        binary_cross_entropy(np.zeros((2, 3)) if targets.size else targets, targets)


@pytest.mark.parametrize("target", [1.5, -0.5, np.nan])
def test_a_target_that_is_no_share_is_refused(target):
    with pytest.raises(UsageError, match="from 0"):
        binary_cross_entropy(np.zeros((1, 2)), np.array([[0.5, target]]))


def test_a_list_in_place_of_an_array_is_named():
    for given in (([0.0, 1.0], np.zeros(2)), (np.zeros(2), [0.0, 1.0])):
        with pytest.raises(UsageError, match="list in place of an array"):
            binary_cross_entropy(*given)


def test_scores_that_are_whole_numbers_are_refused():
    with pytest.raises(UsageError, match="logits are int64"):  # in whose type a target of 0.5 would be 0
        binary_cross_entropy(np.zeros((2, 3), np.int64), np.full((2, 3), 0.5))
