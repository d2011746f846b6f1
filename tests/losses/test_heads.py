"""The loss of several heads, and the rank of a label."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minidl.errors import ShapeError, UsageError
from minidl.losses import (
    CrossEntropy,
    SideHeads,
    label_ranks,
    main_head,
    softmax_cross_entropy,
    top_k_correct,
    weighted_cross_entropy,
)

RNG = np.random.default_rng(0)
LOGITS, LABELS = RNG.normal(size=(5, 3, 4)), np.array([0, 3, 1, 1, 2])


def test_the_loss_is_that_of_the_main_head_and_three_tenths_of_each_other():
    loss, dlogits = SideHeads()(LOGITS, LABELS)
    parts = [softmax_cross_entropy(LOGITS[:, h], LABELS) for h in range(3)]
    assert loss == pytest.approx(parts[0][0] + 0.3 * parts[1][0] + 0.3 * parts[2][0], rel=1e-14)
    for h, share in enumerate([1, 0.3, 0.3]):
        np.testing.assert_allclose(dlogits[:, h], share * parts[h][1], rtol=1e-14)


def test_the_gradient_is_the_finite_difference_of_the_loss():
    loss = SideHeads(lambda z, y: softmax_cross_entropy(z, y, 0.1), share=0.7)
    _, dlogits = loss(LOGITS, LABELS)
    h = 1e-5
    for i in np.ndindex(LOGITS.shape):
        up, down = LOGITS.copy(), LOGITS.copy()
        up[i] += h
        down[i] -= h
        assert dlogits[i] == pytest.approx((loss(up, LABELS)[0] - loss(down, LABELS)[0]) / (2 * h), abs=1e-9)


def test_one_head_alone_is_no_other_loss():
    for logits in (LOGITS[:, 0], LOGITS[:, :1]):
        loss, dlogits = SideHeads()(logits, LABELS)
        plain = softmax_cross_entropy(LOGITS[:, 0], LABELS)
        assert loss == plain[0] and dlogits.shape == logits.shape
        np.testing.assert_array_equal(dlogits.reshape(5, 4), plain[1])


def test_any_loss_can_be_that_of_each_head():
    weights, labels = np.array([1.0, 2, 3, 4]), np.array([0, -1, 1, 1, 2])
    loss = SideHeads(CrossEntropy(weights, 0.1))
    parts = [weighted_cross_entropy(LOGITS[:, h], labels, weights, 0.1)[0] for h in range(3)]
    assert loss(LOGITS, labels)[0] == pytest.approx(parts[0] + 0.3 * (parts[1] + parts[2]))
    assert loss.weight(labels) == 1 + 2 + 2 + 3
    assert SideHeads().weight(labels) is None  # the number of images


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_loss_and_gradient_keep_the_dtype_of_the_logits(dtype):
    loss, dlogits = SideHeads(share=np.float64(0.3))(LOGITS.astype(dtype), LABELS)
    assert isinstance(loss, np.ndarray) and loss.shape == () and loss.dtype == dlogits.dtype == dtype


@pytest.mark.parametrize("shape", [(4,), (2, 0, 4), (2, 2, 2, 2)])
def test_other_shapes_are_refused(shape):
    for ask in (main_head, lambda z: SideHeads()(z, LABELS)):
        with pytest.raises(ShapeError, match=r"\(N, heads, K\)"):
            ask(np.zeros(shape))
    with pytest.raises(UsageError, match="share"):
        SideHeads(share=-1)


def test_the_main_head_is_the_first():
    assert main_head(LOGITS[:, 0]).shape == (5, 4)
    np.testing.assert_array_equal(main_head(LOGITS), LOGITS[:, 0])


@given(arrays(np.float64, (4, 6), elements=st.integers(-3, 3).map(float)), st.integers(1, 7))
def test_the_rank_of_a_label_says_whether_it_is_among_the_k_likeliest(logits, k):
    labels = np.array([0, 2, 3, 5])
    ranks = label_ranks(logits, labels)
    assert (ranks < k).sum() == top_k_correct(logits, labels, k)
    order = np.argsort(-logits, axis=1, kind="stable")
    np.testing.assert_array_equal(order[np.arange(4), ranks], labels)


def test_no_label_and_nan_are_never_right():
    logits = np.array([[0.0, 1, 2], [np.nan, 1, 2], [0, 1, 2]])
    np.testing.assert_array_equal(label_ranks(logits, np.array([-1, 2, 2])), [3, 3, 0])
    np.testing.assert_array_equal(label_ranks(logits, np.array([255, 3, 2], np.uint8)), [3, 3, 0])
    with pytest.raises(ShapeError):
        label_ranks(logits, np.array([0]))


def test_labels_are_whole_numbers():
    with pytest.raises(ShapeError, match="labels are float64"):
        label_ranks(np.zeros((2, 3)), np.array([0.0, 1.0]))


def test_a_list_in_place_of_an_array_is_named():
    for ask in (main_head, lambda z: SideHeads()(z, LABELS), lambda z: label_ranks(z, LABELS)):
        with pytest.raises(UsageError, match="list in place of an array"):
            ask(LOGITS[:, 0].tolist())


@pytest.mark.parametrize("result", [1.0, (1.0, LOGITS[:, 0, :1]), (1.0, LOGITS[:1, 0])])
def test_a_loss_of_a_head_that_returns_another_thing_is_refused_not_spread_over_the_classes(result):
    def own(logits, labels):
        return result

    for logits in (LOGITS, LOGITS[:, 0]):
        with pytest.raises(UsageError, match="the loss own: returns "):
            SideHeads(own)(logits, LABELS)
