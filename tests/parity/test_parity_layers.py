"""Every layer, forward and backward in float64, against torch on random geometry."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import later

torch = pytest.importorskip("torch", reason=later("parity"))

from torch import nn  # noqa: E402

from benchmarks import torch_refined  # noqa: E402
from minidl.layers import (  # noqa: E402
    PROBE,
    TRAIN,
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    GlobalAvgPool,
    LeakyReLU,
    Linear,
    MaxPool2D,
    ReLU,
    SiLU,
)
from minidl.losses import softmax_cross_entropy  # noqa: E402
from models.inception import Inception, inception  # noqa: E402
from tests.parity.torch_models import error, minidl_pass, to_numpy, to_torch, torch_pass, twin, worst_error  # noqa: E402
from tests.strategies import arranged, cases, layouts, randomized, seeds, setups, shapes, windows  # noqa: E402

pytestmark = pytest.mark.parity
TOLERANCE = 1e-11
DOUBLE = np.float64


def compare(layer, module, x_shape, setup):
    """The worst error of a pass over random numbers, in the setup's mode and memory layouts."""
    rng = np.random.default_rng(setup.seed)
    randomized(layer, rng)
    ctx = TRAIN if setup.mode is TRAIN.mode else PROBE
    twin(layer, module)
    x = arranged(rng.normal(size=x_shape), setup.x_layout)
    dy = arranged(rng.normal(size=layer.out_shape(x_shape)), setup.dy_layout)
    return worst_error(minidl_pass(layer, x, dy, ctx), torch_pass(module, x, dy, ctx.training))


@cases(60)
@given(windows(pool=False), st.integers(1, 5), st.booleans(), setups)
def test_convolution(window, filters, bias, setup):
    c = window.shape[-1]
    kernel, stride, padding = window.geometry
    ours = Conv2D(c, filters, kernel, stride, padding, bias, dtype=DOUBLE)
    theirs = nn.Conv2d(c, filters, kernel, stride, padding, bias=bias)
    assert compare(ours, theirs, window.shape, setup) <= TOLERANCE


@cases(60)
@given(shapes(min_batch=2), st.sampled_from([1e-5, 1e-2]), st.sampled_from([0.1, 0.7, 1.0]), setups)
def test_batch_normalization_and_its_running_statistics(shape, eps, momentum, setup):
    c = shape[-1]
    theirs = nn.BatchNorm2d(c, eps=eps, momentum=momentum)
    assert compare(BatchNorm2D(c, eps, momentum, DOUBLE), theirs, shape, setup) <= TOLERANCE


@cases(20)
@given(shapes(), setups)
def test_relu(shape, setup):
    assert compare(ReLU(), nn.ReLU(), shape, setup) == 0


@cases(20)
@given(shapes(), st.sampled_from([0.01, 0.3, 0.0, -0.5, 2.0]), setups)
def test_leaky_relu(shape, slope, setup):
    assert compare(LeakyReLU(slope), nn.LeakyReLU(slope), shape, setup) <= TOLERANCE


@cases(20)
@given(shapes(), setups)
def test_silu(shape, setup):
    assert compare(SiLU(), nn.SiLU(), shape, setup) <= TOLERANCE


@pytest.mark.parametrize(
    ("ours", "theirs"), [(LeakyReLU(), nn.LeakyReLU()), (SiLU(), nn.SiLU())], ids=["leaky relu", "silu"]
)
def test_activations_of_zeros_and_large_numbers(ours, theirs):
    x = np.array([[0.0, -0.0, 1.0, 700.0, -700.0, 1e4, -1e4]])
    assert worst_error(minidl_pass(ours, x, x + 1, TRAIN), torch_pass(theirs, x, x + 1, True)) <= TOLERANCE


def test_relu_at_zero_passes_no_gradient():
    x = np.array([[0.0, -0.0, 1.0]])
    assert worst_error(minidl_pass(ReLU(), x, x + 1, TRAIN), torch_pass(nn.ReLU(), x, x + 1, True)) == 0


@cases(60)
@given(windows(pool=True), setups)
def test_max_pool(window, setup):
    assert compare(MaxPool2D(*window.geometry), nn.MaxPool2d(*window.geometry), window.shape, setup) <= TOLERANCE


@pytest.mark.parametrize(("size", "geometry"), [(62, (4, 2, 0)), (30, (2, 2, 1)), (16, (2, 2, 0))])
def test_the_papers_max_pools(size, geometry):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, size, size, 3))
    dy = rng.normal(size=MaxPool2D(*geometry).out_shape(x.shape))
    ours = minidl_pass(MaxPool2D(*geometry), x, dy, TRAIN)
    assert worst_error(ours, torch_pass(nn.MaxPool2d(*geometry), x, dy, True)) <= TOLERANCE


@cases(60)
@given(windows(pool=True), st.integers(1, 3), layouts, seeds)
def test_of_equal_maxima_both_choose_the_same_pixel(window, levels, layout, seed):
    rng = np.random.default_rng(seed)
    x = arranged(rng.integers(0, levels, window.shape).astype(DOUBLE), layout)  # 1 to 3 values: many ties
    kernel, stride, padding = window.geometry
    y, cache = MaxPool2D(kernel, stride, padding).forward(x, TRAIN)
    ty, index = nn.functional.max_pool2d(to_torch(x), kernel, stride, padding, return_indices=True)
    kh, kw = np.divmod(cache.index.astype(int), kernel)  # the place in the window
    _, oh, ow, _ = np.indices(y.shape)
    h, w = stride * oh + kh - padding, stride * ow + kw - padding
    np.testing.assert_array_equal(y, to_numpy(ty))
    np.testing.assert_array_equal(h * window.shape[2] + w, to_numpy(index))  # torch counts in the image


@cases(40)
@given(windows(pool=True), setups)
def test_average_pool_counts_the_padding(window, setup):
    theirs = nn.AvgPool2d(*window.geometry, count_include_pad=True)
    assert compare(AvgPool2D(*window.geometry), theirs, window.shape, setup) <= TOLERANCE


@cases(20)
@given(shapes(), setups)
def test_global_average_pool(shape, setup):
    theirs = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert compare(GlobalAvgPool(), theirs, shape, setup) <= TOLERANCE


@cases(20)
@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9), st.booleans(), setups)
def test_linear(n, d, k, bias, setup):
    assert compare(Linear(d, k, bias, dtype=DOUBLE), nn.Linear(d, k, bias=bias), (n, d), setup) <= TOLERANCE


class TorchConcat(nn.Module):
    def __init__(self, **branches):
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.children()], dim=1)


@cases(20)
@given(shapes(), st.integers(1, 4), st.integers(1, 4), setups)
def test_concat(shape, f, g, setup):
    c = shape[-1]
    ours = Concat([{"a": Conv2D(c, f, 1, dtype=DOUBLE)}, {"b": Conv2D(c, g, 3, padding=1, dtype=DOUBLE)}])
    theirs = TorchConcat(a=nn.Conv2d(c, f, 1), b=nn.Conv2d(c, g, 3, padding=1))
    assert compare(ours, theirs, shape, setup) <= TOLERANCE


@cases(20)
@given(shapes(min_batch=3), st.tuples(*[st.integers(1, 5)] * 6), setups)
def test_inception_module(shape, widths, setup):
    ours = inception(shape[-1], Inception(*widths), np.random.default_rng(0), DOUBLE)
    assert compare(ours, torch_refined.Inception(shape[-1], *widths), shape, setup) <= TOLERANCE


@cases(40)
@given(st.integers(1, 6), st.integers(1, 9), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.sampled_from([1, 100]), seeds)
def test_cross_entropy_with_label_smoothing(n, k, smoothing, scale, seed):
    rng = np.random.default_rng(seed)
    logits, labels = scale * rng.normal(size=(n, k)), rng.integers(0, k, n)
    loss, dlogits = softmax_cross_entropy(logits, labels, smoothing)
    t = torch.from_numpy(logits.copy()).requires_grad_()
    theirs = nn.functional.cross_entropy(t, torch.from_numpy(labels), label_smoothing=smoothing)
    theirs.backward()
    assert error(loss, theirs.detach().numpy()) <= TOLERANCE
    assert error(dlogits, t.grad.numpy()) <= TOLERANCE
