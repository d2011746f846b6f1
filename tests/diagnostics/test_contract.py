"""A layer that breaks what others rely on is refused by its name, also where its gradients look right."""

import numpy as np
import pytest

from minidl.diagnostics.gradcheck import gradcheck
from minidl.errors import UsageError
from minidl.layers import Layer, Linear, ReLU, Residual, Sequential

X = np.random.default_rng(0).normal(size=(2, 3))


class Double(Layer):
    def forward(self, x, ctx):
        return 2 * x, None

    def input_grad(self, dy, cache):
        return 2 * dy


class IntoX(Double):
    def forward(self, x, ctx):
        x *= 2
        return x, None


class IntoDy(Double):
    def input_grad(self, dy, cache):
        dy *= 2
        return dy


def everywhere(layer):
    """(model, its layer's name in messages): alone, in a chain, in a residual block"""
    fc = Linear(3, 3, rng=0, dtype=np.float64)
    kind = type(layer).__name__
    yield layer, rf"^{kind}: "
    yield Sequential({"fc": fc, "own": layer, "relu": ReLU()}), rf"^own \({kind}\): "
    yield Sequential({"block": Residual(layer)}), rf"^block\.body \({kind}\): "


@pytest.mark.parametrize(("layer", "words"), [(IntoX(), "forward writes into x"), (IntoDy(), "writes into dy")])
def test_a_layer_that_writes_in_place_is_named_and_x_is_restored(layer, words):
    for model, name in everywhere(layer):
        x, dy = X.copy(), np.ones((2, 3))
        with pytest.raises(UsageError, match=name + ".*" + words):
            gradcheck(model, x, dy=dy)
        np.testing.assert_array_equal(x, X)
        np.testing.assert_array_equal(dy, 1)


def test_the_check_leaves_nothing_behind():
    model = Sequential({"own": Double(), "block": Residual(IntoX())})
    before = [dict(vars(layer)) for _, layer in model.places()]
    with pytest.raises(UsageError):
        gradcheck(model, X.copy())
    assert [vars(layer) for _, layer in model.places()] == before
    assert gradcheck(Double(), X.copy()).error < 1e-7
