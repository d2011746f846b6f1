"""The definitions of the layers on arrays small enough to check by hand, and their errors."""

import numpy as np
import pytest
from hypothesis import given

from minidl.errors import ShapeError, UsageError
from minidl.layers import (
    INFER,
    PROBE,
    TRAIN,
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Context,
    Conv2D,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2D,
    Mode,
    ReLU,
    Rule,
    Sequential,
    SiLU,
    map_leaves,
)
from tests.examples import example, leaf_names
from tests.strategies import randomized, windows

F64 = np.float64
GRADIENT, GUIDED, DECONV = (Rule(name) for name in ("gradient", "guided", "deconv"))


def project(layer: Layer, x, signal, rule):
    _, cache = layer.forward(x, PROBE)
    return layer.project(signal, cache, rule)


# ------------------------------------------------------------------ projections


def captums_network():
    """Captum's own test of its deconvnet, re-derived by hand: conv (bias -50, -75), ReLU, linear, ReLU."""
    net = Sequential([Conv2D(1, 2, 3, dtype=F64), ReLU(), Flatten(), Linear(8, 4, bias=False, dtype=F64), ReLU()])
    conv, fc = net.layers["0"], net.layers["3"]
    conv.params["weight"].value[...] = 1
    conv.params["bias"].value[...] = [-50, -75]
    row = np.array([1, 1, 1, 1, 1, -1, -1, -1]).reshape(2, 2, 2)  # (C, H, W)
    fc.params["weight"].value[...] = row.transpose(1, 2, 0).reshape(8, 1)  # -> (H, W, C) -> (H W C, 1)
    return net, np.arange(16.0).reshape(1, 4, 4, 1), np.array([[1.0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("rule", "pixels"),
    [
        # The convolution's outputs are -5 4 / 31 40 and -30 -21 / 6 15: its ReLU lets 4 31 40 6 15 pass.
        (GRADIENT, [[0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]]),  # 0 1 / 1 1  and  0 0 / -1 -1
        (GUIDED, [[0, 1, 1, 1], [1, 3, 3, 2], [1, 3, 3, 2], [1, 2, 2, 1]]),  # 0 1 / 1 1  and  nothing
        (DECONV, [[2, 3, 3, 1], [3, 5, 5, 2], [3, 5, 5, 2], [1, 2, 2, 1]]),  # 1 1 / 1 1  and  1 0 / 0 0
    ],
    ids=["gradient", "guided", "deconv"],
)
def test_the_projections_of_captums_network(rule, pixels):
    net, x, signal = captums_network()
    assert project(net, x, signal, rule)[0, :, :, 0].tolist() == pixels


@pytest.mark.parametrize(
    ("rule", "expected"), [(GRADIENT, [0, 0, 3, -4]), (GUIDED, [0, 0, 3, 0]), (DECONV, [1, 0, 3, 0])]
)
def test_a_relu_masks_by_its_input_by_the_signal_or_by_both(rule, expected):
    x, signal = np.array([[-1.0, -1.0, 1.0, 1.0]]), np.array([[1.0, -2.0, 3.0, -4.0]])
    assert project(ReLU(), x, signal, rule).tolist() == [expected]


@pytest.mark.parametrize(
    ("rule", "expected"), [(GRADIENT, [0.5, -1, 3, -4]), (GUIDED, [0.5, -0.5, 3, -2]), (DECONV, [1, -1, 3, -2])]
)
def test_a_leaky_relu_weakens_by_its_input_by_the_signal_or_by_both(rule, expected):
    x, signal = np.array([[-1.0, -1.0, 1.0, 1.0]]), np.array([[1.0, -2.0, 3.0, -4.0]])
    assert project(LeakyReLU(0.5), x, signal, rule).tolist() == [expected]


@pytest.mark.parametrize("rule", [GRADIENT, GUIDED, DECONV])
def test_a_leaky_relu_with_slope_zero_is_a_relu(rule):
    x, signal = np.random.default_rng(0).normal(size=(2, 3, 40))
    np.testing.assert_array_equal(project(LeakyReLU(0), x, signal, rule), project(ReLU(), x, signal, rule))
    np.testing.assert_array_equal(LeakyReLU(0)(x), ReLU()(x))


def test_a_silu_lets_only_positive_signals_pass_where_a_relu_would():
    x, signal = np.array([[-3.0, 3.0, -3.0, 3.0]]), np.array([[1.0, 1.0, -1.0, -1.0]])
    slope = SiLU().input_grad(np.ones_like(x), x)
    assert slope[0, 0] < 0 < slope[0, 1]
    np.testing.assert_array_equal(project(SiLU(), x, signal, GRADIENT), signal * slope)
    np.testing.assert_array_equal(project(SiLU(), x, signal, GUIDED), [[slope[0, 0], slope[0, 1], 0, 0]])
    assert project(SiLU(), x, signal, DECONV).tolist() == [[1, 1, 0, 0]]


@pytest.mark.parametrize("slope", ["0.1", None, np.nan, np.inf])
def test_a_slope_that_is_no_number_is_refused(slope):
    with pytest.raises(UsageError, match=r"^LeakyReLU: negative_slope is .*, must be a finite number$"):
        LeakyReLU(slope)


def test_a_relu_has_the_gradient_zero_at_zero():
    assert project(ReLU(), np.zeros((1, 1)), np.ones((1, 1)), GRADIENT) == 0


def test_a_deconvnet_skips_a_batch_normalization_or_scales_by_it():
    bn = BatchNorm2D(2, eps=0.0, dtype=F64)
    bn.params["gamma"].value[...] = [3, -6]
    bn.buffers["running_var"][...] = [4, 9]
    x = signal = np.ones((1, 1, 1, 2))
    assert project(bn, x, signal, Rule("deconv", bn="skip")).ravel().tolist() == [1, 1]
    for rule in (Rule("deconv", bn="scale"), GUIDED, GRADIENT, Rule("gradient", bn="skip")):
        np.testing.assert_allclose(project(bn, x, signal, rule).ravel(), [1.5, -2], rtol=1e-15)


def test_skip_is_scale_where_gamma_is_the_standard_deviation():
    net, x, signal = example("inception")
    for leaf in net.leaves():
        if isinstance(leaf, BatchNorm2D):
            leaf.params["gamma"].value[...] = np.sqrt(leaf.buffers["running_var"] + leaf.eps)
    skip, scale = (project(net, x, signal, Rule("deconv", bn=bn)) for bn in ("skip", "scale"))
    np.testing.assert_allclose(skip, scale, rtol=1e-12, atol=1e-14)
    assert np.abs(skip).max() > 0.1


def test_windows_that_share_their_maximum_join_as_the_rule_says():
    x = np.array([[0.0, 9, 0], [0, 0, 0]]).reshape(1, 2, 3, 1)  # both windows of 2x2 hold the 9
    signal = np.array([2.0, -5.0]).reshape(1, 1, 2, 1)
    pool = MaxPool2D(2, 1)
    for unpool, value in {"sum": -3, "last": -5, "max": 2}.items():
        back = project(pool, x, signal, Rule("deconv", unpool=unpool))
        assert back[0, :, :, 0].tolist() == [[0, value, 0], [0, 0, 0]]
        for rule in (Rule("gradient", unpool=unpool), Rule("guided", unpool=unpool)):
            assert project(pool, x, signal, rule)[0, 0, 1, 0] == -3


def test_the_branches_signals_are_summed_before_the_preceding_layer():
    module = Concat([{"a": ReLU()}, {"b": ReLU()}])
    x, signal = np.ones((1, 1, 1, 1)), np.array([3.0, -2.0]).reshape(1, 1, 1, 2)
    assert project(module, x, signal, GRADIENT) == 1
    assert project(module, x, signal, DECONV) == 3


def test_a_rule_refuses_names_it_does_not_know():
    assert (Rule().name, Rule().bn, Rule().unpool) == ("gradient", "skip", "sum")
    for field, value in {"name": "lrp", "bn": "sum", "unpool": "first"}.items():
        with pytest.raises(UsageError, match=f"Rule.{field} is '{value}': choose"):
            Rule(**{field: value})


# ------------------------------------------------------------------------ adjoints


@given(windows(pool=False))
def test_a_convolutions_backward_is_its_adjoint(window):
    rng = np.random.default_rng(0)
    conv = Conv2D(window.shape[-1], 3, *window.geometry, bias=False, rng=rng, dtype=F64)
    assert_adjoint(conv, rng.normal(size=window.shape), rng)


@given(windows(pool=True))
def test_an_average_pools_backward_is_its_adjoint(window):
    rng = np.random.default_rng(0)
    assert_adjoint(AvgPool2D(*window.geometry), rng.normal(size=window.shape), rng)


def assert_adjoint(layer, x, rng):
    """<A x, y> = <x, A' y>"""
    ax, cache = layer.forward(x, PROBE)
    y = rng.normal(size=ax.shape)
    assert (ax * y).sum() == pytest.approx((x * layer.input_grad(y, cache)).sum(), rel=1e-11, abs=1e-11)


@given(windows(pool=True))
def test_a_max_pools_backward_is_the_adjoint_of_reading_at_fixed_switches(window):
    rng = np.random.default_rng(0)
    pool = MaxPool2D(*window.geometry)
    ranks = rng.permutation(float(np.prod(window.shape)) - np.arange(np.prod(window.shape))).reshape(window.shape)
    read, cache = pool.forward(ranks, PROBE)  # all different: what was read says where
    x, y = rng.normal(size=ranks.shape), rng.normal(size=read.shape)
    ax = x.ravel()[np.argsort(ranks.ravel())[read.astype(int) - 1]]  # A x at the switches of `ranks`
    assert (ax * y).sum() == pytest.approx((x * pool.input_grad(y, cache)).sum(), rel=1e-11, abs=1e-11)


# ------------------------------------------------------------- batch normalization


def test_running_statistics_take_a_tenth_of_the_batchs_with_the_unbiased_variance():
    bn = BatchNorm2D(1, dtype=F64)
    y, _ = bn.forward(np.array([1.0, 3.0]).reshape(2, 1, 1, 1), TRAIN)  # mean 2, variance 1, unbiased 2
    np.testing.assert_allclose(y.ravel(), np.array([-1, 1]) / np.sqrt(1 + 1e-5), rtol=1e-14)
    assert bn.buffers["running_mean"] == pytest.approx(0.1 * 2, rel=1e-15)
    assert bn.buffers["running_var"] == pytest.approx(0.9 * 1 + 0.1 * 2, rel=1e-15)
    bn.forward(np.array([0.0, 0.0, 0.0]).reshape(3, 1, 1, 1), TRAIN)
    assert bn.buffers["running_mean"] == pytest.approx(0.9 * 0.2, rel=1e-15)
    assert bn.buffers["running_var"] == pytest.approx(0.9 * 1.1, rel=1e-15)


def test_running_statistics_are_numpys_mean_and_unbiased_variance_of_the_batch():
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 2))
    bn = BatchNorm2D(2, momentum=1.0, dtype=F64)
    bn.forward(x, TRAIN)
    np.testing.assert_allclose(bn.buffers["running_mean"], x.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(bn.buffers["running_var"], x.var((0, 1, 2), ddof=1), rtol=1e-12)


def test_the_momentum_is_the_share_of_the_new_batch():
    bn = BatchNorm2D(1, momentum=0.75, dtype=F64)
    bn.forward(np.array([[0.0], [4.0]]), TRAIN)  # mean 2, unbiased variance 8
    assert (bn.buffers["running_mean"], bn.buffers["running_var"]) == (1.5, 0.25 + 0.75 * 8)


def test_running_statistics_are_constants_outside_of_training():
    bn = BatchNorm2D(1, eps=0.5, dtype=F64)
    bn.params["gamma"].value[...], bn.params["beta"].value[...] = 6, 7
    bn.buffers["running_mean"][...], bn.buffers["running_var"][...] = 1, 3.5
    y, cache = bn.forward(np.array([[2.0], [5.0]]), PROBE)
    assert y.ravel().tolist() == [6 / 2 + 7, 4 * 6 / 2 + 7]
    assert bn.backward(np.array([[1.0], [-2.0]]), cache).ravel().tolist() == [3, -6]
    assert bn.params["gamma"].grad == 1 * 0.5 - 2 * 2 and bn.params["beta"].grad == -1


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (1, 3)])
def test_training_on_one_value_per_channel_is_refused(shape):
    bn = BatchNorm2D(3)
    with pytest.raises(ShapeError, match=r"BatchNorm2D: training needs more than one value per channel.*\(1, "):
        bn.forward(np.ones(shape, np.float32), TRAIN)
    assert bn.forward(np.ones(shape, np.float32), INFER)[0].shape == shape


# ------------------------------------------------------------------------- dropout


def test_dropout_zeroes_the_share_p_and_keeps_the_mean():
    x = np.ones((100, 1000))
    y, cache = Dropout(0.3).forward(x, TRAIN.at_step(0))
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.7], rtol=1e-15)
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert y.mean() == pytest.approx(1, abs=0.01)
    np.testing.assert_array_equal(Dropout(0.3).input_grad(x, cache), y)


def test_a_dropout_mask_is_a_function_of_seed_step_and_path_alone():
    def mask(seed, step, path, batch=50):
        return Dropout(0.5).forward(np.ones((batch, 40)), Context(Mode.TRAIN, seed, step).at(path))[0]

    first = mask(1, 2, "a")
    np.testing.assert_array_equal(mask(1, 2, "a"), first)
    np.testing.assert_array_equal(
        Dropout(0.5).forward(np.ones((50, 40)), Context(Mode.TRAIN, 1, 2))[0], mask(1, 2, "")
    )
    for other in (mask(2, 2, "a"), mask(1, 3, "a"), mask(1, 2, "b"), mask(2, 1, "a")):
        assert 0.4 < (other == first).mean() < 0.6


@pytest.mark.parametrize("ctx", [PROBE, INFER])
def test_dropout_does_nothing_outside_of_training(ctx):
    x = np.ones((3, 4))
    y, cache = Dropout(0.5).forward(x, ctx)
    assert cache is None
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(Dropout(0.5).backward(x, cache), x)


@pytest.mark.parametrize("p", [-0.1, 1, 1.5])
def test_dropout_refuses_a_share_outside_of_zero_to_one(p):
    with pytest.raises(UsageError, match=f"p is {p}"):
        Dropout(p)


def test_a_share_of_numpys_leaves_float32_what_it_is():
    y, mask = Dropout(np.float64(0.5)).forward(np.ones((3, 4), np.float32), TRAIN.at_step(0))
    assert y.dtype == mask.dtype == np.float32


# ----------------------------------------------------------- other layers, by hand


def test_a_convolution_on_four_pixels():
    conv = Conv2D(1, 1, 2, padding=1, dtype=F64)
    conv.params["weight"].value[...] = np.array([[1.0, 2], [3, 4]]).reshape(2, 2, 1, 1)
    conv.params["bias"].value[...] = 10
    y, cache = conv.forward(np.array([[1.0, 0], [0, 2]]).reshape(1, 2, 2, 1), TRAIN)
    assert y[0, :, :, 0].tolist() == [[14, 13, 10], [12, 19, 16], [10, 14, 12]]
    dx = conv.backward(np.arange(9.0).reshape(1, 3, 3, 1), cache)
    assert dx[0, :, :, 0].tolist() == [[13, 23], [43, 53]]
    assert conv.params["weight"].grad[:, :, 0, 0].tolist() == [[20, 17], [11, 8]]
    assert conv.params["bias"].grad == 36


def test_linear_flatten_and_the_pools_on_small_arrays():
    linear = Linear(2, 1, dtype=F64)
    linear.params["weight"].value[...], linear.params["bias"].value[...] = [[2], [3]], 1
    y, cache = linear.forward(np.array([[5.0, 7]]), TRAIN)
    assert y == 2 * 5 + 3 * 7 + 1
    assert linear.backward(np.array([[10.0]]), cache).tolist() == [[20, 30]]
    assert linear.params["weight"].grad.tolist() == [[50], [70]] and linear.params["bias"].grad == 10

    x = np.arange(12.0).reshape(1, 2, 3, 2)
    assert Flatten().forward(x, INFER)[0].tolist() == [list(range(12))]
    y, cache = GlobalAvgPool().forward(x, TRAIN)
    assert y.tolist() == [[5, 6]]
    assert (GlobalAvgPool().backward(np.array([[6.0, 12.0]]), cache) == [1, 2]).all()
    y, cache = AvgPool2D(2, padding=1).forward(x, TRAIN)
    assert y[0, :, :, 0].tolist() == [[0 / 4, (2 + 4) / 4], [6 / 4, (8 + 10) / 4]]
    assert MaxPool2D(2, 1).forward(x, TRAIN)[0].tolist() == [[[[8, 9], [10, 11]]]]


def test_the_initial_weights_have_hes_variance_and_belong_to_the_seed():
    conv = Conv2D(64, 100, 3, rng=5)
    assert conv.params["weight"].value.std() == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.02)
    assert not conv.params["bias"].value.any()
    np.testing.assert_array_equal(Conv2D(64, 100, 3, rng=5).params["weight"].value, conv.params["weight"].value)
    assert Linear(400, 300, rng=0).params["weight"].value.std() == pytest.approx(1 / np.sqrt(400), rel=0.02)


def test_parameters_carry_the_tags_of_their_kind():
    net = Sequential({"conv": Conv2D(1, 1, 1), "bn": BatchNorm2D(1), "fc": Linear(1, 1)})
    tags = {name: set(p.tags) for name, p in net.named_parameters().items()}
    assert tags == {
        **{"conv.weight": {"weight"}, "conv.bias": {"bias"}, "bn.gamma": {"norm"}, "bn.beta": {"norm"}},
        **{"fc.weight": {"weight"}, "fc.bias": {"bias"}},
    }


# ---------------------------------------------------------------------- containers


def test_containers_name_what_they_hold():
    net = Sequential(
        {"m": Concat([{"a": Linear(2, 1), "r": ReLU()}, {"b": Linear(2, 3, bias=False)}]), "d": Dropout()}
    )
    assert list(net.named_parameters()) == ["m.a.weight", "m.a.bias", "m.b.weight"]
    assert leaf_names(net) == ["m.a", "m.r", "m.b", "d"]
    assert list(Sequential([BatchNorm2D(1)]).named_buffers()) == ["0.running_mean", "0.running_var"]


def test_a_mapped_tree_has_new_leaves_in_the_old_places():
    net = Sequential({"m": Concat([{"a": Linear(2, 1)}, {"b": ReLU()}]), "d": Dropout(0.5)})
    copy = map_leaves(net, lambda leaf: Dropout(0.1) if isinstance(leaf, Dropout) else leaf)
    assert copy.layers["d"].p == 0.1 and net.layers["d"].p == 0.5
    assert leaf_names(copy) == ["m.a", "m.b", "d"]
    assert copy.named_parameters() == net.named_parameters()


def test_two_branches_may_not_share_a_name():
    with pytest.raises(UsageError, match="different names, got a, a"):
        Concat([{"a": ReLU()}, {"a": ReLU()}])


def test_a_single_branch_is_a_sequence():
    layers = {"conv": Conv2D(3, 2, 3, rng=0, dtype=F64), "relu": ReLU()}
    x, signal = np.random.default_rng(0).normal(size=(2, 5, 5, 3)), np.ones((2, 3, 3, 2))
    a, b = (project(layer, x, signal, GUIDED) for layer in (Concat([layers]), Sequential(layers)))
    np.testing.assert_array_equal(a, b)


# ------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (Conv2D(3, 8, 5, 2, 1), (4, 2, 9, 3), ["Conv2D", "5x5", "stride 2", "padding 1", "(4, 2, 9, 3)"]),
        (Conv2D(3, 8, 3), (4, 9, 2, 3), ["Conv2D", "3x3", "stride 1", "padding 0", "(4, 9, 2, 3)"]),
        (Conv2D(3, 8, 3), (4, 9, 9, 5), ["Conv2D", "3 channels", "(4, 9, 9, 5)"]),
        (Conv2D(3, 8, 3), (4, 9), ["Conv2D", "(N, H, W, C)", "(4, 9)"]),
        (MaxPool2D(4, 2, 1), (1, 1, 9, 3), ["MaxPool2D", "4x4", "stride 2", "padding 1", "(1, 1, 9, 3)"]),
        (AvgPool2D(3, 1), (1, 9, 2, 3), ["AvgPool2D", "3x3", "stride 1", "padding 0", "(1, 9, 2, 3)"]),
        (GlobalAvgPool(), (4, 9), ["GlobalAvgPool", "(N, H, W, C)", "(4, 9)"]),
        (BatchNorm2D(3), (4, 9, 9, 5), ["BatchNorm2D", "3 channels", "(4, 9, 9, 5)"]),
        (Linear(3, 2), (4, 5), ["Linear", "3 channels", "(4, 5)"]),
        (Linear(3, 2), (4, 1, 1, 3), ["Linear", "(N, D)", "(4, 1, 1, 3)"]),
        (Concat([{"a": ReLU()}, {"b": MaxPool2D(2)}]), (1, 4, 4, 3), ["Concat", "(1, 4, 4, 3)", "(1, 2, 2, 3)"]),
    ],
    ids=lambda v: repr(v) if isinstance(v, Layer) else None,
)
def test_a_shape_that_does_not_fit_is_refused_in_one_line_that_names_all_of_it(layer, shape, words):
    net = Sequential({"here": layer})
    for refuse in (lambda: net.out_shape(shape), lambda: net.forward(np.ones(shape, np.float32), INFER)):
        with pytest.raises(ShapeError) as error:
            refuse()
        message = str(error.value)
        assert message.startswith("here") and "\n" not in message
        assert all(word in message for word in words), message


@pytest.mark.parametrize(
    "make",
    [
        lambda: Linear(0, 1),
        lambda: Linear(1, -1),
        lambda: BatchNorm2D(0),
        lambda: Conv2D(0, 1, 3),
        lambda: Conv2D(1, 0, 3),
        lambda: Conv2D(1, 1, 0),
        lambda: Conv2D(1, 1, 3, stride=0),
        lambda: Conv2D(1, 1, 3, padding=-1),
        lambda: MaxPool2D(0),
        lambda: MaxPool2D(2, 0),
        lambda: MaxPool2D(2, 1, -1),
        lambda: MaxPool2D(3, 1, 2),
        lambda: AvgPool2D(1, 1, 1),
        lambda: MaxPool2D(17),
    ],
)
def test_impossible_windows_and_sizes_are_refused_when_the_layer_is_made(make):
    with pytest.raises(ShapeError):
        make()


@pytest.mark.parametrize("size", [1, 4, 5])
def test_a_window_that_fits_exactly_is_accepted(size):
    assert AvgPool2D(size).out_shape((1, size, size, 2)) == (1, 1, 1, 2)
    assert MaxPool2D(size, 1, size // 2).out_shape((1, size, size, 2))[1] == 1 + 2 * (size // 2)


def test_every_layer_describes_itself():
    assert repr(Conv2D(3, 8, 5, 2, 1)) == "Conv2D(3 -> 8, 5x5, stride 2, padding 1)"
    assert repr(MaxPool2D(4, 2, 1)) == "MaxPool2D(4x4, stride 2, padding 1)"
    assert [repr(layer) for layer in (Linear(2, 3), BatchNorm2D(4), Dropout(0.5), ReLU())] == [
        *("Linear(2 -> 3)", "BatchNorm2D(4)", "Dropout(0.5)", "ReLU()")
    ]
    assert repr(Sequential([Concat([{"a": ReLU(), "b": ReLU()}, {"c": ReLU()}])])) == "Sequential(0)"
    assert repr(Concat([{"a": ReLU(), "b": ReLU()}, {"c": ReLU()}])) == "Concat(a + b, c)"


def test_a_layer_can_serve_two_inputs_of_different_sizes():
    conv = randomized(Conv2D(2, 3, 3, dtype=F64), np.random.default_rng(0))
    small, large = np.ones((1, 3, 3, 2)), np.ones((2, 6, 5, 2))
    (_, a), (_, b) = conv.forward(small, PROBE), conv.forward(large, PROBE)
    assert conv.input_grad(np.ones((2, 4, 3, 3)), b).shape == large.shape
    assert conv.input_grad(np.ones((1, 1, 1, 3)), a).shape == small.shape


def test_an_empty_batch_is_refused():
    for layer in (Conv2D(2, 3, 3), MaxPool2D(2), AvgPool2D(2)):
        with pytest.raises(ShapeError, match="at least one image"):
            layer.forward(np.ones((0, 5, 6, 2), np.float32), TRAIN)


@pytest.mark.parametrize("name", ["gradient", "guided", "deconv"])
def test_a_rule_may_be_given_by_its_name(name):
    layers = {"bn": BatchNorm2D(3, dtype=F64), "relu": ReLU(), "pool": MaxPool2D(2)}
    x, s = np.random.default_rng(0).normal(size=(1, 4, 4, 3)), np.random.default_rng(1).normal(size=(1, 2, 2, 3))
    for net in (Sequential(layers), Concat([layers])):
        np.testing.assert_array_equal(project(net, x, s, name), project(net, x, s, Rule(name)))
    for leaf, signal in ((ReLU(), x), (BatchNorm2D(3, dtype=F64), x), (MaxPool2D(2), s)):
        np.testing.assert_array_equal(project(leaf, x, signal, name), project(leaf, x, signal, Rule(name)))


def test_an_unknown_rule_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match="deconvnet.*gradient, guided, deconv"):
        project(ReLU(), np.ones((1, 2)), np.ones((1, 2)), "deconvnet")


def test_images_of_another_form_are_refused_with_what_is_meant():
    net, x = Sequential([Conv2D(3, 4, 3)]), np.zeros((2, 8, 8, 3), np.float32)
    for images, error, said in (
        (x.transpose(0, 3, 1, 2), ShapeError, r"channels first: give x.transpose\(0, 2, 3, 1\)"),
        (x[0], ShapeError, r"x\[None\]"),
        (x.astype(np.uint8), UsageError, "normalize images"),
    ):
        with pytest.raises(error, match=said):
            net.forward(images, INFER)
