"""What is said of answers of every kind, right or wrong."""

import numpy as np
import pytest

from minidl.kernels import reference
from minidl.learn import EXERCISES, check


def found(name, function):
    function.__name__ = name
    verdict = check(function)
    assert not verdict.solved
    return verdict


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((np.zeros((2, 2)), np.zeros(3)), "(an array (2, 2) of float64, an array (3,) of float64)"),
        ([[1.0], [1.0, 2.0]], "list [[1.0], [1.0, 2.0]]"),
        ("text", "str 'text'"),
        (None, "None"),
        (1.5, "a Python float, 1.5"),
    ],
)
def test_an_answer_of_another_kind_is_described(value, text):
    verdict = found("relu_dx", lambda dy, mask: value)
    assert verdict.found == "kind" and verdict.lines[0] == f"dx is {text}, must be an array (4,) of float64."


class Unwritten:
    def __repr__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    "value", [Unwritten(), np.full(4, Unwritten()), np.zeros(4, [("a", float)]), np.ones(4) + 0j]
)
def test_the_strangest_answer_is_refused_without_an_error(value):
    found("relu_dx", lambda dy, mask: value)


def test_a_tuple_in_place_of_a_number_is_described():
    def answer(logits, labels, smoothing):
        loss, dz = reference.softmax_cross_entropy(logits, labels, smoothing)
        return (loss, np.zeros(3)), dz

    assert found("softmax_cross_entropy", answer).found == "kind"


def test_a_python_number_in_float32_is_described():
    def answer(logits, labels, smoothing):
        loss, dz = reference.softmax_cross_entropy(logits, labels, smoothing)
        return float(loss), dz

    verdict = found("softmax_cross_entropy", answer)
    assert verdict.found == "float32" and "loss is a Python float" in verdict.lines[0]


def test_a_number_of_numpy_in_float64_is_not_called_a_python_float():
    def answer(logits, labels, smoothing):
        loss, dz = reference.softmax_cross_entropy(logits, labels, smoothing)
        return np.float64(loss), dz

    verdict = found("softmax_cross_entropy", answer)
    assert "loss is float64" in verdict.lines[0] and "A float64 array in between" in verdict.lines[0]


def test_an_answer_that_returns_nothing_for_float32_is_described():
    def answer(x):
        if x.dtype == np.float64:
            return np.maximum(x, 0), x > 0

    assert found("relu", answer).lines == ("Right in float64, but for float32: Return y, mask: yours returns None.",)


def test_zero_is_written_without_a_sign():
    lines = found("relu_dx", lambda dy, mask: dy * 1.0).lines
    assert "must be [1., -2., 0., 0.]" in lines[-2]


def test_every_case_has_the_same_outputs_and_the_same_words_about_it():
    for exercise in EXERCISES.values():
        cases = exercise.cases(np.random.default_rng(0))
        assert len({tuple(case.about) for case in cases}) == 1, exercise.name
        outcomes = [exercise.call(exercise.reference, case.fresh()) for case in cases]
        assert len({tuple(outcome) for outcome in outcomes}) == 1, exercise.name


def test_an_answer_that_is_nearly_right_is_called_so_with_the_digits_that_differ():
    def answer(logits, labels, smoothing):
        loss, dz = reference.softmax_cross_entropy(logits, labels, smoothing)
        return loss + 1e-7, dz.astype(np.float32).astype(np.float64)

    verdict = found("softmax_cross_entropy", answer)
    assert verdict.found == "nearly" and "loss is nearly right" in verdict.lines[0]
    assert verdict.lines[-2] == "loss is 0.693147281, must be 0.693147181"
