"""Weighted softmax cross-entropy against its sums, the plain one, finite differences and scikit-learn."""

import numpy as np
import pytest

from minidl.errors import ShapeError, UsageError
from minidl.losses import CrossEntropy, SideHeads, balanced_weights, softmax_cross_entropy, weighted_cross_entropy

SMOOTHINGS = [0.0, 0.1, 1.0]


def batch(n=6, k=4, dtype=np.float64):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, k, n)
    labels[[1, 4]] = -1
    return rng.normal(0, 2, (n, k)).astype(dtype), labels, rng.random(k).astype(dtype) + 0.1


def by_loops(logits, labels, weights, s):
    total, weight, k = 0.0, 0.0, logits.shape[1]
    for z, y in zip(logits, labels, strict=True):
        if y == -1:
            continue
        log_p = z - np.log(np.exp(z).sum())
        weight += weights[y]
        total -= (1 - s) * weights[y] * log_p[y] + sum(s / k * weights[j] * log_p[j] for j in range(k))
    return total / weight


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_the_loss_is_the_weighted_mean_over_the_images_with_a_label(smoothing):
    logits, labels, weights = batch()
    loss, _ = weighted_cross_entropy(logits, labels, weights, smoothing)
    assert loss == pytest.approx(by_loops(logits, labels, weights, smoothing), rel=1e-13)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_the_gradient_is_the_finite_difference_of_the_loss(smoothing):
    logits, labels, weights = batch(6, 3)
    _, dlogits = weighted_cross_entropy(logits, labels, weights, smoothing)
    h = 1e-5
    for i in np.ndindex(logits.shape):
        up, down = logits.copy(), logits.copy()
        up[i] += h
        down[i] -= h
        numeric = (
            weighted_cross_entropy(up, labels, weights, smoothing)[0]
            - weighted_cross_entropy(down, labels, weights, smoothing)[0]
        )
        assert dlogits[i] == pytest.approx(numeric / (2 * h), abs=1e-9)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_with_equal_weights_and_all_labels_it_is_the_plain_one(smoothing):
    logits, labels, _ = batch()
    labels = abs(labels)
    plain = softmax_cross_entropy(logits, labels, smoothing)
    for weights in (None, np.full(4, 2.5)):
        for ours, theirs in zip(weighted_cross_entropy(logits, labels, weights, smoothing), plain, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, np.float64(0.1)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_loss_and_gradient_keep_the_dtype_of_the_logits(dtype, smoothing, kind):
    logits, labels, weights = batch(dtype=dtype)
    loss, dlogits = weighted_cross_entropy(logits, labels, weights.astype(kind), smoothing)
    assert isinstance(loss, np.ndarray) and loss.shape == () and loss.dtype == dlogits.dtype == dtype
    assert CrossEntropy([1.0, 2, 3, 4])(logits, labels)[1].dtype == dtype


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_a_batch_without_labels_teaches_nothing(smoothing):
    logits, labels, weights = batch()
    ignored = np.full_like(labels, -1)
    weightless = np.where(np.arange(4) == 2, 0, weights)
    for y, w in ((ignored, weights), (ignored, None), (np.full_like(labels, 2), weightless)):
        loss, dlogits = weighted_cross_entropy(logits, y, w, smoothing)
        assert loss == 0 and not dlogits.any()


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_an_ignored_row_has_no_gradient_and_no_say_whatever_it_holds(smoothing):
    logits, labels, weights = batch()
    before = weighted_cross_entropy(logits, labels, weights, smoothing)
    logits[1], logits[4, 2] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        loss, dlogits = weighted_cross_entropy(logits, labels, weights, smoothing)
    assert loss == before[0] and not dlogits[[1, 4]].any()
    np.testing.assert_array_equal(dlogits, before[1])


def test_another_number_can_stand_for_no_label():
    logits, labels, weights = batch()
    for ignore in (255, 0):
        other = np.where(labels == -1, ignore, abs(labels) % 3 + 1)
        minus = np.where(labels == -1, -1, other)
        loss, dlogits = weighted_cross_entropy(logits, other, weights, ignore=ignore)
        assert loss == weighted_cross_entropy(logits, minus, weights)[0]
        assert not dlogits[[1, 4]].any()


def test_a_nan_logit_makes_the_loss_nan_and_minus_infinity_does_not():
    logits, labels, weights = batch()
    logits[0, (labels[0] + 1) % 4] = -np.inf
    loss, dlogits = weighted_cross_entropy(logits, labels, weights)
    assert np.isfinite(loss) and np.isfinite(dlogits).all()
    logits[0, 0] = np.nan
    assert np.isnan(weighted_cross_entropy(logits, labels, weights)[0])


def test_a_class_of_weight_zero_may_be_ruled_out():
    logits, labels = np.array([[0.0, -np.inf, 1.0], [0.0, -np.inf, 0.0]]), np.array([0, 1])
    loss, dlogits = weighted_cross_entropy(logits, labels, np.array([1.0, 0, 2]), 0.3)
    assert np.isfinite(loss) and np.isfinite(dlogits).all()


def test_huge_logits_neither_overflow_nor_lose_the_loss():
    with np.errstate(over="raise"):
        loss, _ = weighted_cross_entropy(np.array([[1e4, 0.0], [-1e4, 0.0]]), np.array([1, 1]), np.array([1.0, 2]))
    assert loss == 5e3


def test_the_arguments_stay_as_they_are():
    given = batch()
    before = [a.copy() for a in given]
    weighted_cross_entropy(*given, 0.1)
    for a, b in zip(given, before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_any_integer_type_labels(dtype):
    logits, labels, weights = batch()
    labels = abs(labels)
    expected = weighted_cross_entropy(logits, labels, weights, 0.1)[0]
    assert weighted_cross_entropy(logits, labels.astype(dtype), weights, 0.1)[0] == expected


@pytest.mark.parametrize(
    "change, error, text",
    [
        ({"labels": np.array([4, 0])}, UsageError, "label 4 is none of the classes 0 to 3"),
        ({"labels": np.array([-2, 0])}, UsageError, "label -2"),
        ({"labels": np.array([0.0, 1.0])}, ShapeError, "one integer a row"),
        ({"labels": np.array([0])}, ShapeError, "one integer a row"),
        ({"logits": np.zeros((2, 3, 4))}, ShapeError, "expected"),
        ({"weights": np.ones(3)}, ShapeError, "each of the 4 classes"),
        ({"weights": np.array([1.0, -1, 1, 1])}, UsageError, "0 or more"),
        ({"weights": np.array([1.0, np.nan, 1, 1])}, UsageError, "0 or more"),
        ({"label_smoothing": 1.5}, UsageError, "label smoothing"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_one_line(change, error, text):
    given = {"logits": np.zeros((2, 4)), "labels": np.array([0, 1]), "weights": np.ones(4)}
    with pytest.raises(error, match=text):
        weighted_cross_entropy(**{**given, **change})


def test_the_weight_of_a_batch_is_what_its_mean_divides_by():
    labels = np.array([0, 1, -1, 1])
    assert CrossEntropy([0.5, 2.0]).weight(labels) == 4.5
    assert CrossEntropy().weight(labels) == 3
    assert CrossEntropy([0.5, 2.0]).weight(np.array([-1])) == 0
    with pytest.raises(UsageError, match="class weights"):
        CrossEntropy([1.0, -1.0])


def test_balanced_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.random.default_rng(0).choice(5, 100, p=[0.5, 0.2, 0.15, 0.1, 0.05])
    expected = compute_class_weight("balanced", classes=np.arange(5), y=labels)
    np.testing.assert_allclose(balanced_weights(labels, 5), expected, rtol=1e-14)
    assert balanced_weights(labels, 5)[labels].mean() == pytest.approx(1)
    np.testing.assert_allclose(balanced_weights(np.array([0, 0, 0, 1]), 2), [4 / 6, 4 / 2])
    with np.errstate(all="raise"):
        np.testing.assert_allclose(balanced_weights(np.r_[labels, [-1, -1]], 6), [*expected, 0], rtol=1e-14)


def test_a_list_in_place_of_an_array_is_named():
    for given in (([[0.0, 1.0]], np.zeros(1, int)), (np.zeros((1, 2)), [0])):
        with pytest.raises(UsageError, match="list in place of an array"):
            weighted_cross_entropy(*given)


def test_weights_may_be_a_list():
    logits, labels = np.random.default_rng(0).normal(size=(4, 3)), np.array([0, 1, 2, 1])
    for a, b in zip(
        weighted_cross_entropy(logits, labels, [1, 2, 3]),
        weighted_cross_entropy(logits, labels, np.array([1.0, 2, 3])),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(balanced_weights([0, 0, 1, -1], 2), [0.75, 1.5])


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        (lambda: CrossEntropy("abc"), "class weights must be a row of numbers"),
        (lambda: CrossEntropy({"a": 1}), "class weights must be a row of numbers"),
        (lambda: CrossEntropy(label_smoothing=2), "label smoothing is 2"),
        (lambda: CrossEntropy(label_smoothing="a"), "label smoothing is 'a'"),
        (lambda: balanced_weights([0.0, 1.0], 2), r"labels are float64 \(2,\), must be whole numbers"),
        (lambda: balanced_weights(2, np.array([0, 1])), r"labels are int64 \(\), must be whole numbers \(N,\)"),
        (lambda: balanced_weights([0, 1], [0, 1]), "classes is .* must be a whole number"),
        (lambda: balanced_weights([0, 1, 2], 2), "label 2 is none of the classes 0 to 1"),
        (lambda: balanced_weights([-1, -1], 2), "no image has a label"),
        (lambda: SideHeads(3), "the loss is 3, must be a function"),
        (lambda: SideHeads(share="a"), "share is 'a', must be a number"),
    ],
)
def test_what_is_no_weight_label_or_loss_is_refused_at_once(ask, line):
    with pytest.raises(UsageError, match=line):
        ask()


def test_weights_that_the_caller_changes_later_stay_what_they_were():
    logits, labels, _ = batch()
    weights = np.ones(4)
    loss = CrossEntropy(weights)
    before = loss(logits, labels)[0]
    weights[0] = 9
    assert loss(logits, labels)[0] == before == CrossEntropy(np.ones(4))(logits, labels)[0]


@pytest.mark.parametrize("loss", [softmax_cross_entropy, weighted_cross_entropy])
def test_scores_that_are_whole_numbers_are_refused(loss):
    with pytest.raises(UsageError, match="logits are int64"):
        loss(np.zeros((2, 3), np.int64), np.array([0, 1]))
