"""The layers of general windows, adaptive pooling, sigmoid, tanh and Flatten: gradients, shapes, facts, errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import ShapeError, UsageError
from minidl.kernels.general.window import ceil_padding
from minidl.layers import (
    INFER,
    PROBE,
    TRAIN,
    AdaptiveAvgPool2D,
    AvgPool2D,
    BatchNorm2D,
    Conv2D,
    Dropout,
    Flatten,
    GeneralAvgPool2D,
    GeneralConv2D,
    GeneralMaxPool2D,
    GlobalAvgPool,
    LeakyReLU,
    Linear,
    MaxPool2D,
    Rule,
    Sequential,
    Sigmoid,
    SiLU,
    Tanh,
)
from tests.layers.test_gradients import KINKED, SMOOTH, check
from tests.strategies import (
    cases,
    general_convolutions,
    general_pools,
    pairs,
    randomized,
    seeds,
    setups,
    shapes,
    windows,
)

F64 = np.float64
STEP = TRAIN.at_step(0)


# ------------------------------------------------------------------ gradients


@cases(60)
@given(general_convolutions(), st.integers(1, 3), st.booleans(), setups)
def test_the_gradients_of_a_general_convolution(case, filters, bias, setup):
    options = case.kernel, case.stride, case.padding, case.dilation, case.groups
    conv = GeneralConv2D(case.shape[3], filters * case.groups, *options, bias=bias, rng=0, dtype=F64)
    check(conv, case.shape, setup, SMOOTH, coordinates=4)


@cases(40)
@given(general_pools(), setups)
def test_the_gradients_of_a_general_max_pool(case, setup):
    check(GeneralMaxPool2D(*case.pool), case.shape, setup, KINKED, coordinates=12)


@cases(30)
@given(general_pools(), st.booleans(), setups)
def test_the_gradients_of_a_general_average_pool(case, include, setup):
    check(GeneralAvgPool2D(*case.pool, count_include_pad=include), case.shape, setup, SMOOTH)


@cases(30)
@given(shapes(), pairs(1, 8), setups)
def test_the_gradients_of_an_adaptive_average_pool(shape, size, setup):
    check(AdaptiveAvgPool2D(size), shape, setup, SMOOTH)


@cases(15)
@given(shapes(), setups, st.sampled_from([Sigmoid, Tanh, lambda: Flatten(channels_first=True)]))
def test_the_gradients_of_sigmoid_tanh_and_flatten(shape, setup, make):
    check(make(), shape, setup, SMOOTH)


@cases(30)
@given(general_convolutions(), seeds)
def test_dx_is_the_transpose_of_the_convolution(case, seed):
    options = case.kernel, case.stride, case.padding, case.dilation, case.groups
    rng = np.random.default_rng(seed)
    conv = GeneralConv2D(case.shape[3], 2 * case.groups, *options, bias=False, rng=rng, dtype=F64)
    x, dy = rng.normal(size=case.shape), rng.normal(size=conv.out_shape(case.shape))
    y, cache = conv.forward(x, PROBE)
    assert np.vdot(y, dy) == pytest.approx(np.vdot(x, conv.input_grad(dy, cache)), rel=1e-10, abs=1e-10)


# --------------------------------------------------------- beside other layers


@cases(20)
@given(windows(pool=True), seeds)
def test_square_windows_give_what_the_square_layers_give(window, seed):
    rng = np.random.default_rng(seed)
    x, c = rng.normal(size=window.shape), window.shape[3]
    square = Conv2D(c, 3, *window.geometry, rng=0, dtype=F64)
    pairs_of_layers = [
        (square, GeneralConv2D(c, 3, *window.geometry, rng=0, dtype=F64)),
        (MaxPool2D(*window.geometry), GeneralMaxPool2D(*window.geometry)),
        (AvgPool2D(*window.geometry), GeneralAvgPool2D(*window.geometry)),
    ]
    for old, new in pairs_of_layers:
        (y, cache), (y2, cache2) = old.forward(x, STEP), new.forward(x, STEP)
        np.testing.assert_allclose(y2, y, rtol=1e-12, atol=1e-12)
        dy = rng.normal(size=y.shape)
        np.testing.assert_allclose(new.backward(dy, cache2), old.backward(dy, cache), rtol=1e-12, atol=1e-12)
        for name, p in old.params.items():
            np.testing.assert_array_equal(new.params[name].value, p.value)
            np.testing.assert_allclose(new.params[name].grad, p.grad, rtol=1e-12, atol=1e-12)


def test_groups_are_convolutions_side_by_side():
    rng = np.random.default_rng(0)
    conv = randomized(GeneralConv2D(6, 9, 3, padding=1, groups=3, rng=0, dtype=F64), rng)
    x = rng.normal(size=(2, 5, 4, 6))
    for g in range(3):
        one = Conv2D(2, 3, 3, padding=1, dtype=F64)
        for name in ("weight", "bias"):
            one.params[name].value[...] = conv.params[name].value[..., 3 * g : 3 * g + 3]
        np.testing.assert_allclose(conv(x)[..., 3 * g : 3 * g + 3], one(x[..., 2 * g : 2 * g + 2]), atol=1e-12)


def test_dilation_leaves_holes_between_the_pixels_of_a_window():
    conv = GeneralConv2D(1, 1, 3, dilation=2, bias=False, dtype=F64)
    conv.params["weight"].value[...] = 1
    x = np.arange(25.0).reshape(1, 5, 5, 1)
    assert conv(x).item() == x[0, ::2, ::2].sum()


def test_an_average_pool_of_one_bin_is_global():
    x = np.random.default_rng(0).normal(size=(2, 5, 7, 3))
    pool = Sequential([AdaptiveAvgPool2D(1), Flatten()])
    np.testing.assert_allclose(pool(x), GlobalAvgPool()(x), rtol=1e-13)


def test_flatten_in_torchs_order_takes_one_channel_after_the_other():
    x = np.arange(12).reshape(1, 2, 2, 3)
    y, shape = Flatten(channels_first=True).forward(x, STEP)
    assert y.tolist() == [[0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]]
    assert (Flatten(channels_first=True).backward(y, shape) == x).all()
    assert Flatten(channels_first=True)(np.ones((2, 5))).shape == (2, 5)


# --------------------------------------------------------------------- shapes


@pytest.mark.parametrize(
    ("size", "stride", "kernel", "dilation", "sides"),
    [
        (5, 1, 3, 1, (1, 1)),
        (6, 2, 3, 1, (0, 1)),
        (5, 2, 3, 1, (1, 1)),
        (6, 1, 4, 1, (1, 2)),
        (7, 1, 3, 2, (2, 2)),
        (5, 3, 1, 1, (0, 0)),
        (7, 3, 2, 1, (0, 1)),
    ],
)
def test_same_padding_is_that_of_keras(size, stride, kernel, dilation, sides):
    conv = GeneralConv2D(1, 1, kernel, stride, "same", dilation)
    assert conv.window((1, size, size, 1)).padding == (sides, sides)
    assert conv.out_shape((1, size, size, 1)) == (1, -(-size // stride), -(-size // stride), 1)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "out"),
    [
        (112, 3, 2, 0, 56),  # GoogLeNet's
        (7, 3, 2, 0, 3),
        (8, 3, 2, 0, 4),
        (4, 2, 2, 1, 3),
        (5, 2, 2, 1, 3),  # the fourth window would start in the padding on the right
        (1, 2, 2, 0, 1),  # larger than the image
        (5, 1, 3, 0, 2),
        (4, 1, 3, 0, 2),
        (3, 1, 3, 0, 1),  # the second would start beyond the last pixel
    ],
)
def test_windows_are_counted_upwards_in_ceil_mode(size, kernel, stride, padding, out):
    for pool in (GeneralMaxPool2D, GeneralAvgPool2D):
        layer = pool(kernel, stride, padding, ceil_mode=True)
        assert layer.out_shape((1, size, size, 2)) == (1, out, out, 2)


def test_every_small_window_is_counted_by_torchs_formula():
    for size, kernel, stride in np.ndindex(12, 6, 6):
        size, kernel, stride = size + 1, kernel + 1, stride + 1
        for padding in range(kernel // 2 + 1):
            out = (size + 2 * padding - kernel + stride - 1) // stride + 1
            out -= (out - 1) * stride >= size + padding
            before, after = ceil_padding(size, kernel, stride, padding)
            assert before == padding and (size + before + after - kernel) // stride + 1 == out


def test_what_hangs_over_is_no_pixel_of_a_mean():
    x = np.ones((1, 3, 3, 1))
    for include in (True, False):
        assert (GeneralAvgPool2D(2, ceil_mode=True, count_include_pad=include)(x) == 1).all()
    assert GeneralAvgPool2D(2, padding=1)(x)[0, 0, 0, 0] == 1 / 4
    assert GeneralAvgPool2D(2, padding=1, count_include_pad=False)(x)[0, 0, 0, 0] == 1


ERRORS = [
    (
        GeneralConv2D(4, 8, (5, 3), (2, 1), (1, 0)),
        (4, 2, 9, 4),
        ["5x3 window", "stride (2, 1)", "padding (1, 0)", "(4, 2, 9, 4)"],
    ),
    (GeneralConv2D(4, 8, 3, dilation=4), (1, 8, 9, 4), ["3x3 window", "dilation 4", "(1, 8, 9, 4)"]),
    (GeneralConv2D(4, 8, 3, groups=2), (4, 9, 9, 2), ["4 channels", "(4, 9, 9, 2)"]),
    (GeneralConv2D(3, 8, 3), (4, 9), ["(N, H, W, C)", "(4, 9)"]),
    (GeneralConv2D(3, 8, 3, padding="same"), (4, 9, 9), ["(N, H, W, C)", "x[None]"]),
    (GeneralConv2D(3, 8, 3, padding="same"), (0, 9, 9, 3), ["at least one image"]),
    (GeneralConv2D(3, 8, 3, padding="same"), (1, 0, 9, 3), ["does not fit"]),
    (GeneralMaxPool2D((4, 3)), (1, 3, 9, 1), ["GeneralMaxPool2D", "4x3 window", "stride (4, 3)"]),
    (GeneralMaxPool2D(3, 1, ceil_mode=True), (1, 2, 9, 1), ["3x3 window"]),
    (GeneralAvgPool2D(3, 2), (4, 9), ["GeneralAvgPool2D", "(N, H, W, C)"]),
    (AdaptiveAvgPool2D(7), (4, 9), ["AdaptiveAvgPool2D", "(N, H, W, C)"]),
    (AdaptiveAvgPool2D(7), (1, 0, 9, 2), ["at least one"]),
]


@pytest.mark.parametrize(("layer", "shape", "said"), ERRORS)
def test_a_shape_that_does_not_fit_is_refused_by_name(layer, shape, said):
    for act in (layer.out_shape, lambda s: layer.forward(np.zeros(s, np.float32), INFER)):
        with pytest.raises(ShapeError) as error:
            act(shape)
        assert all(part in str(error.value) for part in [type(layer).__name__, *said]), error.value


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: GeneralConv2D(4, 8, 3, groups=3), ShapeError, "4 channels and 8 filters .* 3 groups"),
        (lambda: GeneralConv2D(4, 6, 3, groups=4), ShapeError, "4 channels and 6 filters .* 4 groups"),
        (lambda: GeneralConv2D(4, 6, 3, groups=0), ShapeError, "groups is 0"),
        (lambda: GeneralConv2D(0, 6, 3), ShapeError, "in_channels is 0"),
        (lambda: GeneralConv2D(4, 6, (3, 0)), ShapeError, r"kernel is \(3, 0\), must be at least 1"),
        (lambda: GeneralConv2D(4, 6, 3, stride=0), ShapeError, "stride is 0"),
        (lambda: GeneralConv2D(4, 6, 3, padding=(1, -1)), ShapeError, "padding"),
        (lambda: GeneralConv2D(4, 6, 3, dilation=0), ShapeError, "dilation"),
        (lambda: GeneralConv2D(4, 6, 3, padding="valid"), UsageError, "padding is 'valid'.*\"same\""),
        (lambda: GeneralConv2D(4, 6, (3, 3, 3)), UsageError, r"kernel is \(3, 3, 3\).*a pair"),
        (lambda: GeneralConv2D(4, 6, 2.5), UsageError, "kernel is 2.5"),
        (lambda: GeneralConv2D(4, 6, True), UsageError, "kernel is True"),
        (lambda: GeneralMaxPool2D(2, padding=2), ShapeError, "more than half of the kernel 2"),
        (lambda: GeneralMaxPool2D((17, 16)), ShapeError, "17x16 window has more than 256 pixels"),
        (lambda: GeneralAvgPool2D((3, 1), padding=1), ShapeError, "padding 1 is more than half"),
        (lambda: GeneralAvgPool2D("same"), UsageError, "kernel is 'same'"),
        (lambda: AdaptiveAvgPool2D(0), ShapeError, "size is 0"),
        (lambda: AdaptiveAvgPool2D(None), UsageError, "size is None"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, error, said):
    with pytest.raises(error, match=said):
        make()


def test_they_say_what_they_are():
    assert repr(GeneralConv2D(4, 8, 3)) == "GeneralConv2D(4 -> 8, 3x3, stride 1, padding 0)"
    conv = GeneralConv2D(4, 8, (1, 7), (2, 1), "same", 2, groups=4)
    assert repr(conv) == "GeneralConv2D(4 -> 8, 1x7, stride (2, 1), padding same, dilation 2, groups 4)"
    assert repr(GeneralMaxPool2D(3, 2, ceil_mode=True)) == "GeneralMaxPool2D(3x3, stride 2, padding 0, ceil_mode)"
    pool = GeneralAvgPool2D((3, 2), padding=(1, 0), count_include_pad=False)
    assert repr(pool) == "GeneralAvgPool2D(3x2, stride (3, 2), padding (1, 0), padding not counted)"
    assert repr(AdaptiveAvgPool2D((7, 5))) == "AdaptiveAvgPool2D(7x5)"
    assert repr(Flatten(channels_first=True)) == "Flatten(channels_first)" and repr(Flatten()) == "Flatten()"


def test_weights_start_as_he_normal_over_the_channels_that_a_filter_sees():
    conv = GeneralConv2D(64, 640, (3, 5), groups=8, rng=0)
    assert conv.params["weight"].shape == (3, 5, 8, 640) and conv.params["weight"].tags == {"weight"}
    assert conv.params["weight"].value.std() == pytest.approx(np.sqrt(2 / (3 * 5 * 8)), rel=0.01)
    assert not conv.params["bias"].value.any() and "bias" not in GeneralConv2D(1, 1, 1, bias=False).params


# ----------------------------------------------------------------- projections


def test_unpooling_follows_the_rule_in_a_deconvnet_alone():
    x = np.zeros((1, 1, 3, 1))
    x[0, 0, 1] = 1
    pool, s = GeneralMaxPool2D((1, 2), 1), np.array([2.0, -5.0]).reshape(1, 1, 2, 1)
    _, cache = pool.forward(x, PROBE)
    for unpool, middle in {"sum": -3, "last": -5, "max": 2}.items():
        assert pool.project(s, cache, Rule("deconv", unpool=unpool)).ravel().tolist() == [0, middle, 0]
        assert pool.project(s, cache, Rule("guided", unpool=unpool)).ravel().tolist() == [0, -3, 0]


def test_a_sigmoid_rectifies_the_signal_and_a_tanh_does_not():
    x, s = np.array([[-1.0, 0.5, 2.0]]), np.array([[3.0, -2.0, 1.0]])
    _, y = Sigmoid().forward(x, PROBE)
    slope = y * (1 - y)
    np.testing.assert_allclose(Sigmoid().project(s, y, "gradient"), s * slope)
    np.testing.assert_allclose(Sigmoid().project(s, y, "guided"), np.maximum(s, 0) * slope)
    np.testing.assert_array_equal(Sigmoid().project(s, y, "deconv"), np.maximum(s, 0))
    _, y = Tanh().forward(x, PROBE)
    for rule in ("gradient", "guided"):
        np.testing.assert_allclose(Tanh().project(s, y, rule), s * (1 - y**2))
    np.testing.assert_array_equal(Tanh().project(s, y, "deconv"), s)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: GeneralConv2D(6, 8, 3, groups=2.0), "GeneralConv2D: groups is 2.0, must be a whole number"),
        (lambda: GeneralConv2D(6, 8, 3, groups=None), "GeneralConv2D: groups is None"),
        (lambda: GeneralConv2D(6.0, 8, 3), "GeneralConv2D: in_channels is 6.0"),
        (lambda: GeneralConv2D(6, 8, 3, bias="no"), "GeneralConv2D: bias is 'no', must be True or False"),
        (lambda: GeneralConv2D(6, 8, np.array([3.0, 3.0])), r"kernel is \[3.0, 3.0\]"),
        (lambda: Conv2D(6, "8", 3), "Conv2D: filters is '8'"),
        (lambda: Conv2D(6, 8, 3, bias="no"), "Conv2D: bias is 'no'"),
        (lambda: Linear(6.0, 3), "Linear: in_features is 6.0"),
        (lambda: Linear(6, 3, bias="no"), "Linear: bias is 'no'"),
        (lambda: BatchNorm2D(64 / 2), "BatchNorm2D: channels is 32.0, must be a whole number"),
        (lambda: BatchNorm2D((3, 4)), r"BatchNorm2D: channels is \(3, 4\)"),
        (lambda: BatchNorm2D(3, momentum=None), "BatchNorm2D: momentum is None, must be a finite number"),
        (lambda: Dropout("0.5"), "Dropout: p is '0.5', must be a finite number"),
        (lambda: Flatten("no"), "Flatten: channels_first is 'no'"),
        (lambda: GeneralMaxPool2D(3, ceil_mode="no"), "GeneralMaxPool2D: ceil_mode is 'no'"),
        (lambda: GeneralAvgPool2D(3, count_include_pad=None), "GeneralAvgPool2D: count_include_pad is None"),
    ],
)
def test_a_size_that_is_not_whole_and_a_switch_that_is_a_text_are_refused(make, line):
    with pytest.raises(UsageError, match=line):
        make()


def test_sizes_may_be_numbers_of_numpy():
    assert GeneralConv2D(np.int64(6), 8, np.array([3, 2]), groups=np.int32(2)).kernel == (3, 2)


@pytest.mark.parametrize("layer", [Sigmoid(), Tanh(), SiLU(), LeakyReLU()])
def test_activations_that_make_fractions_refuse_integers(layer):
    with pytest.raises(UsageError, match="the input is int64, and must be float32 or float64"):
        layer(np.ones((1, 2), np.int64))
