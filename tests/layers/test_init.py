"""Initial weights: their variance, and the same numbers for every dtype."""

import math

import numpy as np
import pytest

from minidl.layers.init import he_normal

SHAPE, FAN_IN = (3, 3, 64, 128), 576


def draw(dtype=np.float64, seed=0):
    return he_normal(np.random.default_rng(seed), SHAPE, FAN_IN, dtype)


def test_weights_have_mean_zero_and_the_variance_of_the_paper():
    w, variance = draw(), 2 / FAN_IN
    assert w.shape == SHAPE
    assert abs(w.mean()) < 5 * math.sqrt(variance / w.size)  # five standard errors
    assert w.var() == pytest.approx(variance, rel=0.03)


def test_float32_weights_are_the_float64_weights_rounded():
    single = draw(np.float32)
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, draw().astype(np.float32))


def test_the_generator_alone_decides():
    np.testing.assert_array_equal(draw(), draw())
    assert (draw() != draw(seed=1)).any()


def test_he_weights_keep_the_size_of_a_signal_through_twenty_relu_layers():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 256))
    for _ in range(20):
        x = np.maximum(x @ he_normal(rng, (256, 256), 256, np.float64), 0)
    assert 0.3 < (x**2).mean() < 3
