"""How estimates are compared with what they stand for. No figures of a real network."""

import numpy as np
import pytest

import minidl as md
from benchmarks.agreement import ALL, Changes, effects, report


def network(*between):
    """Two maps with three units each, and scores of two classes."""
    layers = {"a": md.Conv2D(3, 3, 3, rng=0), "b": md.Concat({"x": md.Conv2D(3, 3, 3, rng=1)})}
    scores = {"pool": md.GlobalAvgPool(), "fc": md.Linear(3, 2, rng=2)}
    return md.Sequential({**layers, **{str(i): layer for i, layer in enumerate(between)}, **scores})


@pytest.fixture
def x():
    return np.random.default_rng(0).standard_normal((45, 8, 8, 3), dtype=np.float32)


UNITS = {"a": [0, 2], "b": [1], "b.x": [0, 1]}


def test_units_are_compared_by_module(x):
    model = network()
    found = effects(model, UNITS, x, model(x).argmax(1))
    assert {name: changes.real.shape for name, changes in found.items()} == {"a": (2, 45), "b": (3, 45), ALL: (5, 45)}


def test_in_a_linear_network_the_estimate_is_the_change(x):
    model = network()
    for estimated, real in effects(model, UNITS, x, model(x).argmax(1)).values():
        np.testing.assert_allclose(estimated, real, rtol=1e-3, atol=1e-4)


def test_across_a_relu_it_is_not(x):
    model = network(md.ReLU())
    estimated, real = effects(model, UNITS, x, model(x).argmax(1))["a"]
    assert not np.allclose(estimated, real, rtol=0.1, atol=0.01)


def test_the_correlations_are_over_pairs_and_means_over_classes_and_over_all_images():
    predicted = np.array([0, 0, 1])
    estimated, real = np.array([[1.0, 3, 5], [2, 2, 9]]), np.array([[2.0, 2, 4], [1, 1, 8]])
    by_pair = np.corrcoef([1, 3, 5, 2, 2, 9], [2, 2, 4, 1, 1, 8])[0, 1]
    by_class = np.corrcoef([2, 5, 2, 9], [2, 4, 1, 8])[0, 1]
    assert Changes(estimated, real).correlations(predicted) == pytest.approx((by_pair, by_class, 1.0))


def test_the_report_has_a_row_for_each_module_and_seed():
    text = report(
        [{"stem": (0.5, 0.6, 0.7)}, {"stem": (0.1, 0.2, -0.3)}], [["0", "1.0%", "2.0%"], ["1", "0.0%", "0.0%"]]
    )
    assert "| stem | 0.50, 0.10 | 0.60, 0.20 | 0.70, -0.30 |" in text
    assert "| 0 | 1.0% | 2.0% |" in text and "| 1 | 0.0% | 0.0% |" in text
