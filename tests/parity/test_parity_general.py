"""The layers of general windows, adaptive pooling, sigmoid and tanh, in float64 against torch on random geometry."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import later

torch = pytest.importorskip("torch", reason=later("parity"))

from torch import nn  # noqa: E402

from minidl.layers import (  # noqa: E402
    TRAIN,
    AdaptiveAvgPool2D,
    Flatten,
    GeneralAvgPool2D,
    GeneralConv2D,
    GeneralMaxPool2D,
    Sigmoid,
    Tanh,
)
from tests.parity.test_parity_layers import DOUBLE, TOLERANCE, compare  # noqa: E402
from tests.parity.torch_models import minidl_pass, to_numpy, to_torch, torch_pass, worst_error  # noqa: E402
from tests.strategies import (  # noqa: E402
    arranged,
    cases,
    general_convolutions,
    general_pools,
    layouts,
    pairs,
    seeds,
    setups,
    shapes,
)

pytestmark = pytest.mark.parity


class PaddedConv2d(nn.Conv2d):
    """Zeros on each side of its own: (left, right, top, bottom)."""

    def forward(self, x):
        return super().forward(nn.functional.pad(x, self.around))


@cases(100)
@given(general_convolutions(5), st.integers(1, 3), st.booleans(), setups)
def test_general_convolution(case, filters, bias, setup):
    c, f = case.shape[3], filters * case.groups
    options = case.kernel, case.stride, case.padding, case.dilation, case.groups
    ours = GeneralConv2D(c, f, *options, bias=bias, dtype=DOUBLE)
    if case.padding != "same":
        theirs = nn.Conv2d(c, f, *options, bias=bias)
    else:
        theirs = PaddedConv2d(c, f, case.kernel, case.stride, 0, case.dilation, case.groups, bias=bias)
        rows, columns = ours.window(case.shape).padding
        theirs.around = (*columns, *rows)
    assert compare(ours, theirs, case.shape, setup) <= TOLERANCE


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@cases(40)
@given(general_convolutions(), setups)
def test_same_padding_with_stride_1_is_torchs(case, setup):
    c = case.shape[3]
    options = case.kernel, 1, "same", case.dilation, case.groups
    ours = GeneralConv2D(c, c, *options, dtype=DOUBLE)
    assert compare(ours, nn.Conv2d(c, c, *options), case.shape, setup) <= TOLERANCE


@cases(80)
@given(general_pools(), setups)
def test_general_max_pool(case, setup):
    kernel, stride, padding, ceil_mode = case.pool
    theirs = nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode)
    assert compare(GeneralMaxPool2D(*case.pool), theirs, case.shape, setup) <= TOLERANCE


@cases(40)
@given(general_pools(), st.integers(1, 3), layouts, seeds)
def test_of_equal_maxima_both_choose_the_same_pixel(case, levels, layout, seed):
    x = arranged(np.random.default_rng(seed).integers(0, levels, case.shape).astype(DOUBLE), layout)
    kernel, stride, padding, ceil_mode = case.pool
    y, cache = GeneralMaxPool2D(*case.pool).forward(x, TRAIN)
    ty, index = nn.functional.max_pool2d(
        to_torch(x), kernel, stride, padding, ceil_mode=ceil_mode, return_indices=True
    )
    kh, kw = np.divmod(cache.index.astype(int), kernel[1])  # the place in the window
    _, oh, ow, _ = np.indices(y.shape)
    h, w = stride[0] * oh + kh - padding[0], stride[1] * ow + kw - padding[1]
    np.testing.assert_array_equal(y, to_numpy(ty))
    np.testing.assert_array_equal(h * case.shape[2] + w, to_numpy(index))  # torch counts in the image


@cases(80)
@given(general_pools(), st.booleans(), setups)
def test_general_average_pool(case, include, setup):
    options = *case.pool, include
    assert compare(GeneralAvgPool2D(*options), nn.AvgPool2d(*options), case.shape, setup) <= TOLERANCE


@cases(60)
@given(shapes(max_side=9), pairs(1, 9), setups)
def test_adaptive_average_pool(shape, size, setup):
    assert compare(AdaptiveAvgPool2D(size), nn.AdaptiveAvgPool2d(size), shape, setup) <= TOLERANCE


@cases(20)
@given(shapes(), setups)
def test_sigmoid_tanh_and_flatten(shape, setup):
    pairs_of_layers = [(Sigmoid(), nn.Sigmoid()), (Tanh(), nn.Tanh())]
    pairs_of_layers.append((Flatten(channels_first=True), nn.Flatten()))
    for ours, theirs in pairs_of_layers:
        assert compare(ours, theirs, shape, setup) <= TOLERANCE


@pytest.mark.parametrize(
    ("ours", "theirs"), [(Sigmoid(), nn.Sigmoid()), (Tanh(), nn.Tanh())], ids=["sigmoid", "tanh"]
)
def test_activations_of_zeros_and_large_numbers(ours, theirs):
    x = np.array([[0.0, -0.0, 1.0, 700.0, -700.0, 1e4, -1e4]])
    assert worst_error(minidl_pass(ours, x, x + 1, TRAIN), torch_pass(theirs, x, x + 1, True)) <= TOLERANCE
