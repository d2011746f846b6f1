"""A layer that breaks what others rely on is refused by its name, also where its gradients look right."""

import numpy as np
import pytest

from minidl.diagnostics.gradcheck import gradcheck
from minidl.diagnostics.trace import trace
from minidl.errors import UsageError
from minidl.layers import Flatten, Layer, Linear, Parameter, ReLU, Residual, Sequential

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


@pytest.mark.parametrize(
    ("dx", "words"),
    [
        (lambda dy: dy.sum(axis=0), r"\(3,\)"),
        (lambda dy: 2 * dy[:1], r"\(1, 3\)"),
        (lambda dy: None, "None"),
        (lambda dy: (2 * dy, None), "a tuple"),
    ],
)
def test_a_dx_that_is_not_of_the_shape_of_x_is_named_with_both_shapes(dx, words):
    layer = Double()
    layer.input_grad = lambda dy, cache: dx(dy)
    for model, name in everywhere(layer):
        with pytest.raises(UsageError, match=name + rf"input_grad returns .*{words}, must .*\(2, 3\)"):
            gradcheck(model, X.copy(), dy=np.ones((2, 3)))


def test_a_layer_that_is_used_twice_may_have_two_shapes_of_x():
    flat = Flatten()
    model = Sequential({"a": flat, "fc": Linear(6, 6, rng=0, dtype=np.float64), "b": flat})
    assert gradcheck(model, X.reshape(1, 1, 2, 3).copy()).error < 1e-7


class Shorter(Layer):
    """It forgets its out_shape."""

    def forward(self, x, ctx):
        return x[:, :2], x.shape

    def input_grad(self, dy, cache):
        return np.pad(dy, [(0, 0), (0, 1)])


@pytest.mark.parametrize("ask", [gradcheck, trace])
def test_a_forgotten_out_shape_is_told_of_its_own_layer_not_of_the_next(ask):
    net = Sequential({"own": Shorter(), "fc": Linear(2, 2, rng=0, dtype=np.float64)})
    for model, name in ((net, r"^own \(Shorter\)"), (Sequential({"b": net}), r"^b\.own \(Shorter\)")):
        with pytest.raises(UsageError, match=name + r": .*\(2, 2\) for x .*\(2, 3\), .*out_shape says \(2, 3\)"):
            ask(model, X.copy())


def test_a_container_that_promises_another_shape_is_refused():
    class Wrong(Residual):
        def out_shape(self, in_shape):
            return (*in_shape[:-1], 7)

    with pytest.raises(UsageError, match=r"^own \(Wrong\): .*out_shape says \(2, 7\)"):
        gradcheck(Sequential({"own": Wrong(Double())}), X.copy())


class Early(Layer):
    """Without need_dx it is done too early."""

    def __init__(self):
        self.w = Parameter(np.full(3, 2.0))

    def forward(self, x, ctx):
        return x * self.w.value, x

    def backward(self, dy, cache, need_dx=True):
        if not need_dx:
            return None
        self.w.grad += (dy * cache).sum(axis=0)
        return self.input_grad(dy, cache)

    def input_grad(self, dy, cache):
        return dy * self.w.value


def test_a_layer_that_learns_nothing_where_a_network_begins_is_refused():
    for model, name in ((Early(), "w"), (Sequential({"own": Early(), "relu": ReLU()}), r"own\.w")):
        with pytest.raises(UsageError, match=f"need_dx=False, .* adds nothing to {name}: "):
            gradcheck(model, X.copy())


def test_a_layer_that_replaces_a_buffer_in_place_of_writing_to_it_is_refused():
    class Mean(Double):
        def __init__(self):
            self.buffers["mean"] = np.zeros(3)

        def forward(self, x, ctx):
            self.buffers["mean"] = 0.9 * self.buffers["mean"] + 0.1 * x.mean(axis=0)
            return 2 * x, None

    model = Sequential({"own": Mean()})
    held = model["own"].buffers["mean"]
    with pytest.raises(UsageError, match=r"^own \(Mean\): .* buffers\['mean'\]\[...\] = array"):
        gradcheck(model, X.copy())
    assert model["own"].buffers["mean"] is held and not held.any()
