"""Initial weights: their variance, their bounds, and the same numbers for every dtype."""

import math

import numpy as np
import pytest

from minidl.errors import ShapeError
from minidl.layers import init

SHAPE, FAN_IN, FAN_OUT = (3, 3, 64, 128), 576, 1152
MAKERS = {
    "he_normal": (lambda rng, dtype: init.he_normal(rng, SHAPE, FAN_IN, dtype), 2 / FAN_IN),
    "he_uniform": (lambda rng, dtype: init.he_uniform(rng, SHAPE, FAN_IN, dtype), 2 / FAN_IN),
    "glorot_normal": (lambda rng, dtype: init.glorot_normal(rng, SHAPE, FAN_IN, FAN_OUT, dtype), 2 / 1728),
    "glorot_uniform": (lambda rng, dtype: init.glorot_uniform(rng, SHAPE, FAN_IN, FAN_OUT, dtype), 2 / 1728),
}


def draw(name, dtype=np.float64, seed=0):
    return MAKERS[name][0](np.random.default_rng(seed), dtype)


def test_fans_of_filters_and_of_matrices():
    assert init.fans(SHAPE) == (FAN_IN, FAN_OUT)
    assert init.fans((10, 4)) == (10, 4)
    with pytest.raises(ShapeError, match=r"\(3,\)"):
        init.fans((3,))


@pytest.mark.parametrize("name", MAKERS)
def test_weights_have_mean_zero_and_the_variance_of_the_paper(name):
    w, variance = draw(name), MAKERS[name][1]
    assert w.shape == SHAPE
    assert abs(w.mean()) < 5 * math.sqrt(variance / w.size)  # five standard errors
    assert w.var() == pytest.approx(variance, rel=0.03)


@pytest.mark.parametrize("name", ["he_uniform", "glorot_uniform"])
def test_uniform_weights_fill_their_interval_and_stay_within(name):
    limit = math.sqrt(3 * MAKERS[name][1])
    assert 0.99 * limit < np.abs(draw(name)).max() <= limit


@pytest.mark.parametrize("name", MAKERS)
def test_float32_weights_are_the_float64_weights_rounded(name):
    single = draw(name, np.float32)
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, draw(name).astype(np.float32))


@pytest.mark.parametrize("name", MAKERS)
def test_the_generator_alone_decides(name):
    np.testing.assert_array_equal(draw(name), draw(name))
    assert (draw(name) != draw(name, seed=1)).any()


def test_he_weights_keep_the_size_of_a_signal_through_twenty_relu_layers():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 256))
    for _ in range(20):
        x = np.maximum(x @ init.he_normal(rng, (256, 256), 256, np.float64), 0)
    assert 0.3 < (x**2).mean() < 3
