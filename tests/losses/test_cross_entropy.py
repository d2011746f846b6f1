"""Softmax cross-entropy against its formula, finite differences and torch; top-k counts against sorting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minidl.errors import ShapeError, UsageError
from minidl.losses import softmax, softmax_cross_entropy, top_k_correct

SMOOTHINGS = [0.0, 0.1, 1.0]


def batch(n=5, k=7, dtype=np.float64, scale=3.0):
    rng = np.random.default_rng(0)
    return rng.normal(0, scale, (n, k)).astype(dtype), rng.integers(0, k, n)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_the_loss_is_the_mean_of_minus_q_log_p(smoothing):
    logits, labels = batch()
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    q = (1 - smoothing) * np.eye(7)[labels] + smoothing / 7
    loss, dlogits = softmax_cross_entropy(logits, labels, smoothing)
    assert loss == pytest.approx(-(q * np.log(p)).sum() / 5, rel=1e-13)
    np.testing.assert_allclose(dlogits, (p - q) / 5, atol=1e-15)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_the_gradient_is_the_finite_difference_of_the_loss(smoothing):
    logits, labels = batch(3, 4)
    _, dlogits = softmax_cross_entropy(logits, labels, smoothing)
    h = 1e-5
    for i in np.ndindex(logits.shape):
        up, down = logits.copy(), logits.copy()
        up[i] += h
        down[i] -= h
        numeric = softmax_cross_entropy(up, labels, smoothing)[0] - softmax_cross_entropy(down, labels, smoothing)[0]
        assert dlogits[i] == pytest.approx(numeric / (2 * h), abs=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, np.float64(0.1)])
def test_loss_and_gradient_keep_the_dtype_of_the_logits(dtype, smoothing):
    loss, dlogits = softmax_cross_entropy(*batch(dtype=dtype), smoothing)
    assert isinstance(loss, np.ndarray) and loss.shape == ()
    assert loss.dtype == dlogits.dtype == softmax(batch(dtype=dtype)[0]).dtype == dtype


def test_huge_logits_neither_overflow_nor_lose_the_loss():
    logits = np.array([[1e4, 0.0], [-1e4, 0.0]], np.float32)
    loss, dlogits = softmax_cross_entropy(logits, np.array([1, 1]))
    assert loss == 5e3
    np.testing.assert_array_equal(dlogits, np.array([[0.5, -0.5], [0, 0]], np.float32))


def test_a_class_that_is_ruled_out_by_minus_infinity_does_not_spoil_the_loss():
    loss, dlogits = softmax_cross_entropy(np.array([[0.0, -np.inf, 0.0]]), np.array([0]))
    assert loss == pytest.approx(np.log(2))
    np.testing.assert_allclose(dlogits, [[-0.5, 0, 0.5]])


def test_a_nan_logit_makes_the_loss_nan():
    assert np.isnan(softmax_cross_entropy(np.array([[0.0, np.nan], [0.0, 1.0]]), np.array([0, 1]))[0])


def test_the_loss_changes_neither_logits_nor_labels():
    logits, labels = batch()
    before = logits.copy(), labels.copy()
    softmax_cross_entropy(logits, labels, 0.1)
    top_k_correct(logits, labels, 3)
    np.testing.assert_array_equal(logits, before[0])
    np.testing.assert_array_equal(labels, before[1])


def test_one_class_costs_nothing():
    loss, dlogits = softmax_cross_entropy(np.array([[3.0]]), np.array([0]), 0.1)
    assert loss == 0 and dlogits == pytest.approx(0, abs=1e-16)


@pytest.mark.parametrize("logits", [np.zeros((2, 3, 4)), np.zeros((0, 3)), np.zeros((2, 3)), np.zeros((3, 3))])
def test_shapes_that_do_not_belong_together_are_a_shape_error(logits):
    labels = np.zeros(3, float if len(logits) == 3 else int)
    with pytest.raises(ShapeError):
        softmax_cross_entropy(logits, labels)


def test_a_smoothing_above_one_is_a_usage_error():
    with pytest.raises(UsageError, match="label smoothing"):
        softmax_cross_entropy(*batch(), 1.5)


@given(arrays(np.float64, (4, 6), elements=st.integers(-3, 3).map(float)), st.integers(1, 7))
def test_the_top_k_of_a_row_are_the_first_k_of_a_stable_sort(logits, k):
    labels = np.array([0, 2, 3, 5])
    order = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    assert top_k_correct(logits, labels, k) == (order == labels[:, None]).any(1).sum()


def test_of_equal_logits_the_lower_class_comes_first():
    equal = np.zeros((3, 3), np.float32)
    assert [int(top_k_correct(equal, np.array([0, 1, 2]), k)) for k in (1, 2, 3)] == [1, 2, 3]
    assert top_k_correct(equal[:1], np.array([1]), 1) == 0


def test_a_row_with_a_nan_counts_as_wrong():
    logits = np.array([[np.nan, 5.0], [0.0, 5.0]])
    assert top_k_correct(logits, np.array([1, 1]), 1) == 1
    assert top_k_correct(logits, np.array([0, 1]), 2) == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_any_integer_type_labels(dtype):
    logits, labels = batch()
    assert (
        softmax_cross_entropy(logits, labels.astype(dtype), 0.1)[0] == softmax_cross_entropy(logits, labels, 0.1)[0]
    )
    assert top_k_correct(logits, labels.astype(dtype), 2) == top_k_correct(logits, labels, 2)


@pytest.mark.parity
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_loss_and_gradient_are_torchs(smoothing):
    torch = pytest.importorskip("torch")
    logits, labels = batch(16, 10)
    leaf = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(leaf, torch.tensor(labels), label_smoothing=smoothing)
    expected.backward()
    loss, dlogits = softmax_cross_entropy(logits, labels, smoothing)
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(dlogits, leaf.grad.numpy(), atol=1e-12, rtol=0)
