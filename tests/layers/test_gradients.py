"""Every backward pass is the derivative of its forward pass: central differences over random geometry.

The end of the test run says how many random cases there were, and the largest errors.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import models
from minidl.diagnostics.gradcheck import EVERYTHING, assert_gradients, gradcheck, spaced
from minidl.errors import UsageError
from minidl.layers import (
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2D,
    Mode,
    Parameter,
    ReLU,
    Sequential,
    SiLU,
    freeze,
)
from minidl.losses import SideHeads, softmax_cross_entropy
from models.inception import REFINED, Inception, inception
from tests.models.narrow import LARGE, short
from tests.strategies import LAYOUTS, Setup, arranged, cases, layouts, randomized, seeds, setups, shapes, windows

F64 = np.float64
SMOOTH, KINKED = 1e-7, 1e-5
CASES = {
    "Conv2D": 80,
    "BatchNorm2D": 50,
    "ReLU": 20,
    "LeakyReLU": 20,
    "SiLU": 20,
    "MaxPool2D": 60,
    "AvgPool2D": 40,
    "GlobalAvgPool": 15,
    "Dropout": 15,
    "Linear": 25,
    "Flatten": 10,
    "smooth module": 20,
    "inception module": 12,
    "loss": 25,
}


def held(layer: Layer, x: np.ndarray, tol: float, max_skipped: float = 0.2, **options) -> None:
    """The gradient check, in which kinks may spoil few of the differences."""
    report = assert_gradients(layer, x, tol, **options)
    assert report.skipped_share <= max_skipped


def check(layer: Layer, shape: tuple, setup: Setup, tol: float, gap: float = 0.02, **options) -> None:
    """Random parameters, input and dy, in the layouts asked for; then the gradient check."""
    rng = np.random.default_rng(setup.seed)
    randomized(layer, rng)
    x = arranged(spaced(rng, shape, gap), setup.x_layout)
    dy = arranged(rng.normal(size=layer.out_shape(shape)), setup.dy_layout)
    held(layer, x, tol, mode=setup.mode, seed=setup.seed, dy=dy, **options)


@cases(CASES["Conv2D"])
@given(windows(pool=False), st.integers(1, 4), st.booleans(), setups)
def test_convolution(window, filters, bias, setup):
    conv = Conv2D(window.shape[-1], filters, *window.geometry, bias=bias, rng=0, dtype=F64)
    check(conv, window.shape, setup, SMOOTH, coordinates=4)


@cases(CASES["BatchNorm2D"])
@given(shapes(min_batch=2), setups)
def test_batch_normalization_with_batch_and_with_running_statistics(shape, setup):
    # A wide gap: where two values make a channel's whole variance, the step must be small beside their distance.
    check(BatchNorm2D(shape[-1], dtype=F64), shape, setup, SMOOTH, gap=0.1)


@cases(CASES["ReLU"])
@given(shapes(), setups)
def test_relu(shape, setup):
    check(ReLU(), shape, setup, KINKED)


@cases(CASES["LeakyReLU"])
@given(shapes(), setups, st.sampled_from([0.01, 0.3, 0.0, -0.5, 2.0]))
def test_leaky_relu(shape, setup, slope):
    check(LeakyReLU(slope), shape, setup, KINKED)


@cases(CASES["SiLU"])
@given(shapes(), setups)
def test_silu(shape, setup):
    check(SiLU(), shape, setup, SMOOTH)


@cases(CASES["MaxPool2D"])
@given(windows(pool=True), setups)
def test_max_pooling_with_overlap_and_padding(window, setup):
    check(MaxPool2D(*window.geometry), window.shape, setup, KINKED, coordinates=12)


@cases(CASES["AvgPool2D"])
@given(windows(pool=True), setups)
def test_average_pooling(window, setup):
    check(AvgPool2D(*window.geometry), window.shape, setup, SMOOTH)


@cases(CASES["GlobalAvgPool"])
@given(shapes(), setups)
def test_global_average_pooling(shape, setup):
    check(GlobalAvgPool(), shape, setup, SMOOTH)


@cases(CASES["Dropout"])
@given(shapes(), st.floats(0, 0.95), setups)
def test_dropout_with_one_mask_for_all_evaluations(shape, p, setup):
    check(Dropout(p), shape, setup, SMOOTH)


@cases(CASES["Linear"])
@given(st.tuples(st.integers(1, 5), st.integers(1, 9)), st.integers(1, 6), st.booleans(), setups)
def test_linear(shape, outputs, bias, setup):
    check(Linear(shape[-1], outputs, bias=bias, rng=0, dtype=F64), shape, setup, SMOOTH)


@cases(CASES["Flatten"])
@given(shapes(), setups)
def test_flatten(shape, setup):
    check(Flatten(), shape, setup, SMOOTH)


@cases(CASES["smooth module"])
@given(st.integers(2, 3), st.integers(3, 7), st.integers(3, 7), st.integers(1, 3), setups)
def test_branches_that_are_joined_inside_a_sequence(n, h, w, c, setup):
    branches = [
        {"a": Conv2D(c, 3, 3, padding=1, bias=False, rng=0, dtype=F64), "bn": BatchNorm2D(3, dtype=F64)},
        {"b": AvgPool2D(3, stride=1, padding=1)},
        {"c": Dropout(0.3)},
    ]
    module = {"join": Concat(branches), "pool": AvgPool2D(2, 1, 1), "flat": Flatten()}
    features = (h + 1) * (w + 1) * (3 + 2 * c)
    net = Sequential({**module, "fc": Linear(features, 4, rng=0, dtype=F64)})
    check(net, (n, h, w, c), setup, SMOOTH, coordinates=3)


@cases(CASES["inception module"])
@given(st.tuples(*[st.integers(1, 4)] * 6), st.integers(2, 7), st.integers(2, 7), st.integers(1, 4), setups)
def test_an_inception_module(widths, h, w, c, setup):
    module = inception(c, Inception(*widths), np.random.default_rng(0), F64)
    check(module, (2, h, w, c), setup, KINKED, coordinates=2, step=1e-6)


@cases(CASES["loss"])
@given(st.integers(1, 6), st.integers(2, 8), st.floats(0, 1), st.sampled_from(["C", "F", "reversed"]), seeds)
def test_softmax_cross_entropy(n, classes, smoothing, layout, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    logits = arranged(spaced(rng, (n, classes), gap=0.1), layout)

    def loss(z):
        return softmax_cross_entropy(z, labels, smoothing)

    held(Sequential([]), logits, SMOOTH, loss=loss)


def test_there_are_at_least_300_random_cases():
    assert sum(CASES.values()) >= 300


@pytest.mark.parametrize("mode", [Mode.TRAIN, Mode.PROBE])
@pytest.mark.parametrize("row", ["inception1", "inception4"])
def test_an_inception_module_of_the_papers_width(row, mode):
    rng = np.random.default_rng(0)
    module = randomized(inception(16, REFINED[row], rng, F64), rng)
    held(module, rng.normal(size=(2, 6, 5, 16)), KINKED, mode=mode, coordinates=2, step=1e-6)


ALIKE = ("resnet34", "vgg16", "vgg16-bn")  # as resnet18, vgg11 and vgg11-bn, but for more of the same layers


def check_whole_network(name, mode, side, objectives, coordinates=1):
    # Of the deeper networks a short form, in which fewer ReLUs leave no step without a kink.
    net = short(name, 5, dropout=0.4, dtype=F64, **({"activation": "silu"} if name in LARGE else {}))
    x, labels = np.random.default_rng(1).normal(size=(2, side, side, 3)), np.array([1, 4])
    smoothed = SideHeads(lambda logits, labels: softmax_cross_entropy(logits, labels, 0.1))
    losses = {"loss": lambda logits: smoothed(logits, labels), "logits": None}
    # A bias before a batch normalization has the gradient 0: of its differences only rounding is left, which a longer
    # step divides by more.
    step = 1e-5 if name == "vgg11-bn" else 1e-6
    for objective in objectives:
        held(net, x, KINKED, 0.1, mode=mode, coordinates=coordinates, step=step, loss=losses[objective])


@pytest.mark.parametrize("name", ["convnet", "refined"])
def test_a_whole_network_and_its_loss(name):
    check_whole_network(name, Mode.TRAIN, 16, ["loss"])


@pytest.mark.slow
@pytest.mark.parametrize("mode", [Mode.TRAIN, Mode.PROBE])
@pytest.mark.parametrize("name", [name for name in models.REGISTRY if name not in ALIKE])
def test_a_whole_network_and_its_loss_on_larger_images(name, mode):
    check_whole_network(name, mode, 32, ["loss"])


@pytest.mark.slow
@pytest.mark.parametrize("mode", [Mode.TRAIN, Mode.PROBE])
def test_the_refined_network_for_any_gradient_of_its_logits(mode):
    check_whole_network("refined", mode, 16, ["logits"])


# ------------------------------------------------------- the check itself


class Wrong(Layer):
    """y = 2 x with one wrong entry in dx."""

    def forward(self, x, ctx):
        return 2 * x, x

    def input_grad(self, dy, cache):
        dx = 2 * dy
        dx[1, 2] *= 1.001
        return dx


def test_one_wrong_entry_is_found_by_the_direction_and_named_by_the_coordinates():
    report = gradcheck(Wrong(), np.ones((3, 4)), coordinates=12)
    assert report.error > 1e-4
    lines = {line.name: line for line in report.lines}
    assert lines["input"].index == (1, 2) and lines["input"].analytic == pytest.approx(1.001 * lines["input"].numeric)
    assert lines[EVERYTHING].error > 1e-5
    with pytest.raises(AssertionError, match=r"input .*\(1, 2\)"):
        report.raise_if_above(1e-5)


def test_a_gradient_that_is_not_a_number_is_an_infinite_error():
    class NotANumber(Wrong):
        def input_grad(self, dy, cache):
            return dy * np.nan

    with pytest.raises(AssertionError, match="inf"):
        assert_gradients(NotANumber(), np.ones((3, 4)), KINKED)


def test_a_batch_normalization_that_forgets_its_mean_is_caught():
    class Forgetful(BatchNorm2D):
        def backward(self, dy, cache, need_dx=True):
            return super().backward(dy, cache._replace(training=False), need_dx)

    x = spaced(np.random.default_rng(0), (2, 3, 3, 2))
    assert gradcheck(Forgetful(2, dtype=F64), x, mode=Mode.PROBE).error < SMOOTH
    report = gradcheck(Forgetful(2, dtype=F64), x, mode=Mode.TRAIN)
    assert {line.name for line in report.lines if line.error > 1e-2} == {"input", EVERYTHING}


def test_a_difference_across_a_kink_is_skipped_and_counted():
    x = np.array([[1e-6, 1.0, -1.0, 2.0]])  # a step of 1e-5 carries the first entry across zero
    report = gradcheck(ReLU(), x, coordinates=4)
    line = next(line for line in report.lines if line.name == "input")
    assert (line.checked, line.skipped) == (3, 1) and line.error < 1e-9
    assert report.skipped_share > 0 and "1 skipped" in str(report)


def test_a_maximum_that_moves_is_skipped_too():
    x = np.array([1.0, 1.0 + 1e-6, 0.0, 0.0]).reshape(1, 2, 2, 1)
    line = next(line for line in gradcheck(MaxPool2D(2), x, coordinates=4).lines if line.name == "input")
    assert (line.checked, line.skipped) == (2, 2)


def test_an_array_of_which_nothing_could_be_checked_does_not_pass():
    report = gradcheck(ReLU(), np.full((2, 3), 1e-9))
    assert report.error == np.inf
    with pytest.raises(AssertionError):
        report.raise_if_above(KINKED)


def test_a_parameter_called_input_hides_no_wrong_dx():
    class Scale(Layer):
        def __init__(self):
            self.input = Parameter(np.full(4, 2.0))

        def forward(self, x, ctx):
            return x * self.input.value, x

        def backward(self, dy, cache, need_dx=True):
            self.input.grad += (dy * cache).sum(axis=0)
            return self.input_grad(dy, cache) if need_dx else None

        def input_grad(self, dy, cache):
            return dy  # and the scale?

    report = gradcheck(Scale(), np.ones((3, 4)))
    assert {line.name for line in report.lines if line.error > 1e-2} == {"the input", EVERYTHING}


def test_frozen_parameters_are_left_out():
    net = Sequential({"a": Linear(4, 3, rng=0, dtype=F64), "b": Linear(3, 2, rng=0, dtype=F64)})
    report = assert_gradients(freeze(net, "a"), np.ones((3, 4)), SMOOTH, mode=Mode.PROBE)
    assert {line.name for line in report.lines} == {EVERYTHING, "input", "b.weight", "b.bias"}


def test_a_bias_without_effect_has_the_gradient_zero():
    net = Sequential([Conv2D(2, 3, 1, rng=0, dtype=F64), BatchNorm2D(3, dtype=F64)])
    x = spaced(np.random.default_rng(0), (2, 4, 4, 2))
    assert_gradients(net, x, SMOOTH)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mode", [Mode.TRAIN, Mode.PROBE])
def test_the_check_leaves_no_trace(layout, mode):
    rng = np.random.default_rng(0)
    net = Sequential({"conv": Conv2D(2, 3, 3, rng=0, dtype=F64), "bn": BatchNorm2D(3, dtype=F64), "drop": Dropout()})
    for p in net.named_parameters().values():
        p.grad[...] = rng.normal(size=p.grad.shape)
    x = arranged(rng.normal(size=(2, 5, 5, 2)), layout)
    dy = rng.normal(size=(2, 3, 3, 3))
    state = [x, dy, *net.named_buffers().values()]
    state += [a for p in net.named_parameters().values() for a in (p.value, p.grad)]
    before = [a.copy() for a in state]
    first = gradcheck(net, x, mode=mode, dy=dy)
    for a, b in zip(state, before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert str(gradcheck(net, x, mode=mode, dy=dy)) == str(first)


def test_float32_a_list_and_infer_mode_are_refused_in_one_line():
    with pytest.raises(UsageError, match="weight is float32"):
        gradcheck(Linear(2, 2), np.ones((1, 2)))
    with pytest.raises(UsageError, match="INFER"):
        gradcheck(ReLU(), np.ones((1, 2)), mode=Mode.INFER)
    with pytest.raises(UsageError, match="list in place of an array"):
        gradcheck(ReLU(), [[1.0, 2.0]])


@given(st.tuples(st.integers(1, 9), st.integers(1, 9)), st.floats(1e-3, 1), seeds)
def test_spaced_values_keep_their_distance_from_each_other_and_from_zero(shape, gap, seed):
    values = np.sort(spaced(np.random.default_rng(seed), shape, gap).ravel())
    assert np.abs(values).min() >= gap * (1 - 1e-9)
    assert values.size == 1 or np.diff(values).min() >= gap * (1 - 1e-9)


@given(shapes(), layouts)
def test_an_arranged_array_has_the_same_values(shape, layout):
    x = np.random.default_rng(0).normal(size=shape)
    np.testing.assert_array_equal(arranged(x, layout), x)
