"""The fused engine against the plain layers: the same numbers in float64, and the same bits for any threads."""

import gc
import os
import sys
import threading
from contextlib import ExitStack
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

import minidl
import models
from minidl.engine import fuse, unfuse
from minidl.engine.blocks.conv import ConvBlock
from minidl.engine.blocks.fused import Fused
from minidl.engine.blocks.inception import InceptionBlock
from minidl.engine.blocks.maxpool import FusedMaxPool
from minidl.engine.chain import FusedSequential
from minidl.engine.stem.block import FusedStem
from minidl.engine.tiles.recycler import Recycler
from minidl.engine.tiles.scratch import Scratch
from minidl.errors import ShapeError, UsageError
from minidl.layers import (
    INFER,
    PROBE,
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    Linear,
    MaxPool2D,
    ReLU,
    Rule,
    Sequential,
)
from minidl.losses import softmax
from minidl.optim import Adam
from models.inception import Inception, conv_bn_relu, inception
from tests.conftest import HANGS
from tests.engine import chains
from tests.examples import STEP as TRAIN
from tests.examples import leaf_names
from tests.models.narrow import narrow
from tests.strategies import arranged, cases, layouts, randomized, seeds

TOL = 1e-12
RULES = [Rule(), Rule("guided"), Rule("deconv"), Rule("deconv", "scale", "last"), Rule("deconv", "skip", "max")]
batches = st.sampled_from([1, 2, 3, 9, 17])
tile_sizes = st.sampled_from([1, 1 << 18])  # numbers in a tile: one image a tile, or eight tiles a batch


def close(got, want, tol=TOL, size=None):
    """Equal to `tol` of the largest number in `want`, or of `size`."""
    assert got.shape == want.shape and got.dtype == want.dtype
    size = np.abs(want).max(initial=0) if size is None else size
    error = np.abs(got - want).max(initial=0)
    assert error <= tol * size, f"off by {error:.1e}, where the largest number is {size:.1e}"


def same_bits(got, want):
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


def gradients(layer):
    return {name: p.grad.copy() for name, p in layer.named_parameters().items()}


def step(layer, x, dy, need_dx=True, ctx=TRAIN):
    """(y, dx, gradients, buffers) of one pass; the buffers are put back."""
    saved = {name: b.copy() for name, b in layer.named_buffers().items()}
    layer.zero_grad()
    y, cache = layer.forward(x, ctx)
    dx = layer.backward(dy, cache, need_dx)
    buffers = {name: b.copy() for name, b in layer.named_buffers().items()}
    for name, b in layer.named_buffers().items():
        b[...] = saved[name]
    return y, dx, gradients(layer), buffers


def assert_same_step(plain, fused, x, dy, tol=TOL):
    y, dx, grads, buffers = step(plain, x, dy)
    largest = max((np.abs(g).max() for g in grads.values()), default=1)
    for need_dx in (True, False):
        fused_y, fused_dx, fused_grads, fused_buffers = step(fused, x, dy, need_dx)
        close(fused_y, y, tol)
        if need_dx:
            close(fused_dx, dx, tol)
        else:
            assert fused_dx is None
        for name, g in grads.items():  # a parameter's may cancel: that of a bias in front of BN always does
            close(fused_grads[name], g, tol, largest)
        for name, b in buffers.items():
            close(fused_buffers[name], b, tol)
    close(fused.forward(x, INFER)[0], plain.forward(x, INFER)[0], tol)
    with threadpool_limits(1, user_api="blas"):  # BLAS rounds differently on another number of threads
        same_bits(fused.forward(x, PROBE)[0], plain.forward(x, PROBE)[0])


def not_a_number(self, shape, dtype):
    """In place of `Recycler.empty`: what is read before it is written shows."""
    return np.full(shape, {np.dtype(bool): True, np.dtype(np.uint8): 255}.get(np.dtype(dtype), np.nan), dtype)


def fused_on_nan(model, threads=2):
    """`fuse(model)` that works on memory full of NaN."""
    with patch.object(Recycler, "empty", not_a_number):
        return fuse(model, threads)


def tiles_of(numbers):
    """`with tiles_of(numbers):` a composite's tile has at most so many numbers, or one image."""
    stack = ExitStack()
    for module in ("block", "maxpool"):
        stack.enter_context(patch(f"minidl.engine.blocks.{module}.TILE_NUMBERS", numbers))
    return stack


def check(model, shape, seed=0, x_layout="C", dy_layout="C", tile=1 << 18, tol=TOL, zero_gamma=False):
    """Compares all that comes out of both engines, for random parameters, inputs and gradients."""
    rng = np.random.default_rng(seed)
    randomized(model, rng)
    if zero_gamma:
        for name, p in model.named_parameters().items():
            if name.endswith(("gamma", "beta")):
                p.value[0] = 0 if name.endswith("gamma") else 0.5
    x = arranged(rng.normal(size=shape), x_layout)
    dy = arranged(rng.normal(size=model.out_shape(shape)), dy_layout)
    x.flags.writeable = dy.flags.writeable = False
    fused = fused_on_nan(model)
    with tiles_of(tile):
        assert_same_step(model, fused, x, dy, tol)
    return fused


def block(c, f, kernel=3, stride=1, padding=0, bias=False, dtype=np.float64):
    conv = Conv2D(c, f, kernel, stride, padding, bias=bias, rng=0, dtype=dtype)
    return {"conv": conv, "bn": BatchNorm2D(f, dtype=dtype), "relu": ReLU()}


def renamed(layers, suffix):
    return {name + suffix: layer for name, layer in layers.items()}


def stem_net(filters=5, c=3, dtype=np.float64):
    return Sequential({"stem": Sequential(block(c, filters, dtype=dtype)), "pool1": MaxPool2D(4, 2)})


def small_net(dtype=np.float64):
    """A stem, a module, pools with and without a convolution in front, convolutions, and plain layers."""
    rng = np.random.default_rng(0)
    return Sequential(
        {
            "stem": conv_bn_relu(3, 6, 3, rng, dtype),
            "pool1": MaxPool2D(4, 2),
            "module": inception(6, Inception(2, 3, 4, 2, 3, 2), rng, dtype),
            "pool2": MaxPool2D(2, 2, 1),
            "pool3": MaxPool2D(3, 1, 1),
            "same": conv_bn_relu(11, 8, 3, rng, dtype, padding=1),
            "pool4": MaxPool2D(2, 2, 1),
            "last": conv_bn_relu(8, 5, 1, rng, dtype),
            "gap": GlobalAvgPool(),
            "dropout": Dropout(0.3),
            "fc": Linear(5, 3, rng=rng, dtype=dtype),
        }
    )


def vgg(bias=True):
    layers, c = {}, 3
    for i, width in enumerate((16, 24)):
        for j in range(2):
            layers |= renamed(block(c, width, 3, 1, 1, bias), f"{i}{j}")
            c = width
        layers[f"pool{i}"] = MaxPool2D(2)
    return Sequential(layers | {"gap": GlobalAvgPool(), "fc": Linear(c, 4, rng=0, dtype=np.float64)})


def kinds(layer):
    """The classes of all composites, in order."""
    if isinstance(layer, FusedStem | ConvBlock | FusedMaxPool | InceptionBlock):
        return [type(layer)]
    return [kind for child in layer.children().values() for kind in kinds(child)]


# ------------------------------------------------------------- what is fused


def test_the_refined_net_becomes_a_stem_and_modules_with_their_pools():
    fused = fuse(models.build("refined", classes=5))
    assert kinds(fused) == [FusedStem, InceptionBlock, InceptionBlock, InceptionBlock, InceptionBlock]
    assert list(fused.layers)[:4] == ["stem+pool1", "inception1+pool2", "inception2", "inception3+pool3"]


def test_layers_side_by_side_in_one_sequential_are_fused_too():
    assert kinds(fuse(vgg())) == [ConvBlock] * 4
    assert list(fuse(vgg()).layers)[1] == "conv01+bn01+relu01+pool0"


def test_a_stem_is_only_seen_at_the_start_and_only_in_its_one_form():
    assert kinds(fuse(Sequential({"a": Sequential(stem_net().layers)}))) == [FusedStem]
    later = Sequential({"first": Sequential(block(3, 3)), **stem_net().layers})
    assert kinds(fuse(later)) == [ConvBlock, ConvBlock, FusedMaxPool]
    for layers in (block(3, 4, bias=True), block(5, 4), block(3, 4, 5), block(3, 4, 3, 2), block(3, 4, 3, 1, 1)):
        assert kinds(fuse(Sequential({**layers, "pool": MaxPool2D(4, 2)}))) == [ConvBlock, FusedMaxPool]


@pytest.mark.parametrize("pool", [(4, 2, 1), (4, 4), (3, 2), (2, 1), (3, 3, 1)])
def test_a_pool_of_another_form_stays_on_its_own(pool):
    assert kinds(fuse(Sequential({**block(3, 4), "pool": MaxPool2D(*pool)}))) == [ConvBlock, FusedMaxPool]


@pytest.mark.parametrize("pool", [(2, 2), (2, 2, 1)])
def test_a_pool_of_2x2_joins_what_stands_in_front(pool):
    assert kinds(fuse(Sequential({**block(3, 4), "pool": MaxPool2D(*pool)}))) == [ConvBlock]
    average = Sequential({**block(3, 4), "pool": AvgPool2D(*pool)})
    assert kinds(fuse(average)) == [ConvBlock] and "pool" in fuse(average).layers


@pytest.mark.parametrize("name", models.REGISTRY)
def test_names_order_and_arrays_are_those_of_the_given_model(name):
    model = narrow(name, classes=4, dropout=0.2)
    names = list(model.named_parameters()), list(model.named_buffers())
    fused = fuse(model)
    for m in (model, fused):
        assert (list(m.named_parameters()), list(m.named_buffers())) == names
    assert all(p is fused.named_parameters()[n] for n, p in model.named_parameters().items())
    assert all(b is fused.named_buffers()[n] for n, b in model.named_buffers().items())


def test_names_stay_right_below_an_outer_model():
    model = Sequential(
        {"a": Sequential({"b": Sequential({**block(3, 4), "pool": MaxPool2D(4, 2)}), "d": Dropout(0.1)})}
    )
    fused = fuse(model)
    assert list(fused.named_parameters()) == list(model.named_parameters())
    assert all(fused[name] is model[name] for name in leaf_names(model) if name != "a.b.pool")


class Twice(Layer):
    """A user's own layer."""

    def forward(self, x, ctx):
        return 2 * x, None

    def input_grad(self, dy, cache):
        return 2 * dy


class MyNet(Sequential):
    """A user's own class with a constructor of its own."""

    def __init__(self):
        super().__init__({**block(2, 3), "twice": Twice(), **renamed(block(3, 4), "2")})


class Residual(Sequential):
    """A user's own container: not to be taken apart."""

    def forward(self, x, ctx):
        y, cache = super().forward(x, ctx)
        return x + y, cache

    def backward(self, dy, cache, need_dx=True):
        return dy + super().backward(dy, cache)


class MyConv(Conv2D):
    def forward(self, x, ctx):
        return super().forward(2 * x, ctx)


def test_a_users_own_layers_take_part_as_they_are():
    assert kinds(check(MyNet(), (3, 8, 7, 2))) == [ConvBlock] * 2
    residual = Residual(block(2, 2, padding=1))
    assert fuse(residual) is residual
    own = {"conv": MyConv(2, 3, 3, rng=0, dtype=np.float64), "bn": BatchNorm2D(3, dtype=np.float64), "relu": ReLU()}
    assert kinds(fuse(Sequential(own))) == []
    mixed = Sequential({"r": residual, "pool": MaxPool2D(2), "own": Sequential(own), **renamed(block(3, 4, 1), "2")})
    assert kinds(mixed_fused := fuse(mixed)) == [FusedMaxPool, ConvBlock]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 10, 12, 2))
    y, cache = mixed.forward(x, TRAIN)
    dy = rng.normal(size=y.shape)
    fused_y, fused_cache = mixed_fused.forward(x, TRAIN)
    close(fused_y, y)
    close(mixed_fused.backward(dy, fused_cache), mixed.backward(dy, cache))


def test_input_grad_after_a_train_pass_is_refused_in_one_line():
    layer = fuse(models.build("convnet", classes=3)).layers["conv1+bn1+relu1+pool1"]
    x = np.ones((2, 8, 8, 3), np.float32)
    y, cache = layer.forward(x, TRAIN)
    with pytest.raises(UsageError, match="ConvBlock.*PROBE"):
        layer.input_grad(y, cache)


def test_a_concat_that_is_no_module_is_fused_inside():
    model = Concat([{**block(3, 4, padding=1), "drop": Dropout(0)}, {"pool": MaxPool2D(3, 1, 1)}, {"id": ReLU()}])
    assert kinds(check(model, (3, 6, 7, 3))) == [ConvBlock, FusedMaxPool]


# ------------------------------------------------- equality with plain layers


@st.composite
def conv_cases(draw):
    """(input shape, the convolution's arguments), half of them "same" convolutions as Winograd's trick takes them."""
    if draw(st.booleans()):
        kernel, stride = draw(st.sampled_from([3, 5, 7])), 1
        channels, filters = draw(st.sampled_from([(8, 9), (11, 8), (24, 32), (32, 17)]))  # the last two on both axes
        padding, fits = kernel // 2, 1
    else:
        kernel, stride = draw(st.integers(1, 5)), draw(st.integers(1, 3))
        channels, filters = draw(st.sampled_from([1, 3, 9])), draw(st.integers(1, 7))
        padding = draw(st.integers(0, kernel))
        fits = max(1, kernel - 2 * padding)
    side = st.integers(fits, fits + 12)
    shape = draw(st.tuples(batches, side, side, st.just(channels)))
    return shape, (channels, filters, kernel, stride, padding, draw(st.booleans()))


def pixels(shape):
    return np.prod(shape[:3])


@pytest.mark.slow
@cases(200)
@given(conv_cases(), seeds, layouts, layouts, tile_sizes, st.booleans())
def test_conv_bn_relu_of_any_geometry(case, seed, x_layout, dy_layout, tile, zero_gamma):
    shape, arguments = case
    model = Sequential(block(*arguments))
    assume(pixels(model.out_shape(shape)) >= 8)  # the variance of a few numbers may be next to zero
    check(model, shape, seed, x_layout, dy_layout, tile, zero_gamma=zero_gamma)


@pytest.mark.slow
@cases(200)
@given(conv_cases(), st.integers(0, 1), seeds, layouts, layouts, tile_sizes, st.booleans())
def test_conv_bn_relu_and_a_pool_of_2x2(case, padding, seed, x_layout, dy_layout, tile, zero_gamma):
    shape, arguments = case
    conv = Sequential(block(*arguments))
    assume(pixels(conv.out_shape(shape)) >= 8 and min(conv.out_shape(shape)[1:3]) >= 2 - padding)
    model = Sequential({**conv.layers, "pool": MaxPool2D(2, 2, padding)})
    fused = check(model, shape, seed, x_layout, dy_layout, tile, zero_gamma=zero_gamma)
    assert kinds(fused) == [ConvBlock]


@st.composite
def whole_numbers(draw, images, channels, height, width):
    rng = np.random.default_rng(draw(seeds))
    levels = draw(st.integers(1, 3))
    return rng.integers(-levels, levels + 1, (images, draw(height), draw(width), channels)).astype(float)


def with_whole_filters(model, rng):
    """Random parameters; the filters are -1, 0, 1, so that z is exact in both engines."""
    randomized(model, rng)
    for p in model.named_parameters().values():
        if p.value.ndim == 4:
            p.value[...] = rng.integers(-1, 2, p.value.shape)
            p.value[0, 0, 0] += p.value.any(axis=(0, 1, 2)) == 0
    return model


@cases(40)
@given(whole_numbers(3, 2, st.integers(3, 9), st.integers(3, 9)), st.integers(0, 1), seeds, st.sampled_from([1, 3]))
def test_where_pixels_of_a_2x2_pool_tie_the_first_gets_the_gradient(x, padding, seed, kernel):
    rng = np.random.default_rng(seed)
    model = Sequential({**block(2, 4, kernel, 1, kernel // 2), "pool": MaxPool2D(2, 2, padding)})
    with_whole_filters(model, rng)
    assert_same_step(model, fused_on_nan(model), x, rng.normal(size=model.out_shape(x.shape)))


@cases(80)
@given(
    st.integers(1, 5), st.integers(1, 4), st.integers(0, 2), st.integers(0, 9), st.integers(0, 9), batches, seeds,
    st.booleans(), layouts, layouts, tile_sizes,
)  # fmt: skip
def test_max_pool_of_any_geometry_bit_for_bit(
    kernel, stride, padding, h, w, n, seed, ties, x_layout, dy_layout, tile
):
    padding = min(padding, kernel // 2)
    plain = MaxPool2D(kernel, stride, padding)
    rng = np.random.default_rng(seed)
    shape = (n, max(1, kernel - 2 * padding) + h, max(1, kernel - 2 * padding) + w, 3)
    x = arranged(rng.integers(-2, 2, shape).astype(float) if ties else rng.normal(size=shape), x_layout)
    y, cache = plain.forward(x, TRAIN)
    dy = arranged(rng.normal(size=y.shape), dy_layout)
    fused = fused_on_nan(plain)
    with tiles_of(tile):
        fused_y, fused_cache = fused.forward(x, TRAIN)
        same_bits(fused_y, y)
        same_bits(fused.backward(dy, fused_cache), plain.backward(dy, cache))
        same_bits(fused.forward(x, INFER)[0], y)
        assert fused.backward(dy, fused.forward(x, TRAIN)[1], need_dx=False) is None


@pytest.mark.parametrize("pool", [(2, 2), (2, 2, 1), (3, 2, 1), (4, 2)])
@pytest.mark.parametrize("where", [(2, 3), (0, 0), (5, 5), (4, 5)])
def test_in_a_pools_window_the_first_nan_wins(pool, where):
    x = np.random.default_rng(0).normal(size=(3, 6, 6, 2))
    x[(1, *where, 0)] = x[1, 5, 5, 0] = np.nan
    plain = MaxPool2D(*pool)
    fused, dy = fuse(plain), np.random.default_rng(1).normal(size=plain.out_shape(x.shape))
    (y, cache), (fused_y, fused_cache) = plain.forward(x, TRAIN), fused.forward(x, TRAIN)
    assert np.isnan(y).any()
    same_bits(fused_y, y)
    same_bits(fused.backward(dy, fused_cache), plain.backward(dy, cache))
    same_bits(fused.forward(x, INFER)[0], y)


@pytest.mark.parametrize("pool", [(2, 2), (4, 2), (3, 3)])
def test_a_pool_takes_infinities_of_both_signs(pool):
    x = np.random.default_rng(0).choice([-np.inf, 0, np.inf], size=(9, 6, 5, 2))
    plain = MaxPool2D(*pool)
    fused, dy = fuse(plain), np.random.default_rng(1).normal(size=plain.out_shape(x.shape))
    (y, cache), (fused_y, fused_cache) = plain.forward(x, TRAIN), fused.forward(x, TRAIN)
    same_bits(fused_y, y)
    same_bits(fused.backward(dy, fused_cache), plain.backward(dy, cache))


sides = st.one_of(st.integers(6, 15), st.sampled_from([20, 22, 37, 38]))  # above 18 in strips


@cases(50)
@given(sides, sides, batches, st.integers(1, 4), st.integers(1, 6), seeds, layouts, layouts, st.booleans())
def test_the_stem_for_odd_and_even_sizes(h, w, n, channels, filters, seed, x_layout, dy_layout, zero_gamma):
    fused = check(stem_net(filters, channels), (n, h, w, channels), seed, x_layout, dy_layout, zero_gamma=zero_gamma)
    assert kinds(fused) == [FusedStem]


@cases(40)
@given(whole_numbers(3, 3, st.integers(6, 15), st.integers(6, 15)), seeds)
def test_where_pixels_of_the_stems_pool_tie_the_first_gets_the_gradient(x, seed):
    rng = np.random.default_rng(seed)
    model = with_whole_filters(stem_net(), rng)
    assert_same_step(model, fused_on_nan(model), x, rng.normal(size=model.out_shape(x.shape)))


@pytest.mark.parametrize("net", [
    stem_net, lambda: Sequential({**block(3, 5), "pool": MaxPool2D(2)}), lambda: Sequential(block(3, 5)),
])  # fmt: skip
@pytest.mark.parametrize("beta", [-3.0, -100.0])
def test_windows_that_are_all_zero_send_no_gradient_back(net, beta):
    model = randomized(net(), np.random.default_rng(0))
    next(p for name, p in model.named_parameters().items() if name.endswith("beta")).value[...] = beta
    x = np.random.default_rng(1).normal(size=(4, 12, 10, 3))
    y = model.forward(x, TRAIN)[0]
    assert (y == 0).mean() > 0.05 and (beta > -100 or not y.any())
    assert_same_step(model, fused_on_nan(model), x, np.random.default_rng(2).normal(size=y.shape))


@pytest.mark.parametrize("channels, net", [
    (3, stem_net),
    (3, lambda: Sequential({**block(3, 5), "pool": MaxPool2D(2)})),
    (9, lambda: Sequential({**block(9, 5, padding=1), "pool": MaxPool2D(2, 2, 1)})),
    (9, lambda: Sequential(block(9, 5, padding=1))),
])  # fmt: skip
@pytest.mark.parametrize("gamma", [[1, -1, 0.5, -2, 3], [1, -1, 0, -2, 0], [0, 0, 0, 0, 0], [-1, -2, -1, -2, -0.0]])
def test_gamma_of_every_sign_in_front_of_a_pool(channels, net, gamma):
    model = randomized(net(), np.random.default_rng(0))
    for name, p in model.named_parameters().items():
        if name.endswith("gamma"):
            p.value[...] = gamma
        if name.endswith("beta"):
            p.value[...] = [0.5, -0.3, 0.5, 0.1, -0.5]
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4, 12, 10, channels))
    assert_same_step(model, fused_on_nan(model), x, rng.normal(size=model.out_shape(x.shape)))


# --------------------------------------------------------- means far from zero


def norms_behind_x(model, channels):
    """The filters of convolutions that read x, by the name of the BN behind them."""
    params = model.named_parameters().items()
    w = {name.replace("conv.weight", "bn"): p.value for name, p in params if name.endswith("conv.weight")}
    return {norm: value for norm, value in w.items() if value.shape[2] == channels}


def errors_far_from_zero(make, shape, dtype, mean, need_dx, engine):
    """The largest error of y, dx, gradients and running statistics where x has this mean and standard deviation 1.

    The model begins with unpadded convolutions in front of BN: a constant added to x moves running means and nothing
    else. So the reference is the plain model in float64, on x without its mean. Every ReLU is well above 0, where no
    rounding can switch it.
    """
    rng = np.random.default_rng(0)
    model, exact = randomized(make(dtype), rng), make(np.float64)
    for name, p in model.named_parameters().items():
        if name.endswith("beta"):
            p.value[...] = 12
    for name, p in model.named_parameters().items():
        exact.named_parameters()[name].value[...] = p.value
    for name, b in model.named_buffers().items():
        exact.named_buffers()[name][...] = b
    x = (rng.normal(size=shape) + mean).astype(dtype)
    dy = rng.normal(size=model.out_shape(shape)).astype(dtype)
    y, dx, grads, buffers = step(exact, x.astype(np.float64) - mean, dy.astype(np.float64))
    far_y, far_dx, far_grads, far_buffers = step(engine(model), x, dy, need_dx)
    for norm, w in norms_behind_x(exact, shape[3]).items():
        buffers[f"{norm}.running_mean"] += 0.1 * mean * w.sum(axis=(0, 1, 2))
    pairs = {"y": (far_y, y)} | ({"dx": (far_dx, dx)} if need_dx else {})
    pairs |= {name: (far_grads[name], g) for name, g in grads.items()}
    pairs |= {name: (far_buffers[name], b) for name, b in buffers.items()}
    return {name: np.abs(got - want).max() / np.abs(want).max() for name, (got, want) in pairs.items()}


def assert_digits_are_kept(make, shape, dtype, mean):
    for need_dx in (True, False):
        engines = (lambda model: model), fused_on_nan
        plain, fused = (errors_far_from_zero(make, shape, dtype, mean, need_dx, engine) for engine in engines)
        epsilon = np.finfo(dtype).eps
        one_rounding = abs(mean) * epsilon  # of x, in standard deviations: no BLAS can be relied on to do better
        product = abs(mean) / 10 * one_rounding  # dw = sum x dz, and of one rounding of z some is left in dz
        for name, error in fused.items():
            if "running" in name and name.rpartition(".")[0] in norms_behind_x(make(dtype), shape[3]):
                assert error < 20 * epsilon, f"{name}: {error}"
            bound = 20 * epsilon + 10 * max(plain[name], product if name.endswith("weight") else one_rounding)
            assert error < bound, f"{name}: {error}, plain {plain[name]}"
    return fused


MEAN_LIMIT = [(dtype, mean) for dtype in (np.float32, np.float64) for mean in (30, 1000, -1000)]
# In float32 with a mean of 1000 the two largest numbers of a window may be too near each other to tell them apart.
FAR_BEFORE_A_POOL = [(dtype, mean) for dtype, mean in MEAN_LIMIT if dtype is np.float64 or mean == 30]


@pytest.mark.parametrize("dtype, mean", MEAN_LIMIT)
@pytest.mark.parametrize("channels, net", [
    (3, lambda dtype: Sequential(block(3, 5, dtype=dtype))),
    (9, lambda dtype: Sequential(block(9, 5, 1, dtype=dtype))),
])  # fmt: skip
def test_conv_bn_relu_keeps_its_digits_where_the_mean_is_1000_standard_deviations(channels, net, dtype, mean):
    assert_digits_are_kept(net, (6, 16, 15, channels), dtype, mean)


@pytest.mark.parametrize("dtype, mean", FAR_BEFORE_A_POOL)
def test_conv_bn_relu_and_a_pool_keep_their_digits_where_the_mean_is_far_from_zero(dtype, mean):
    net = lambda dtype: Sequential({**block(3, 5, dtype=dtype), "pool": MaxPool2D(2, 2, 1)})  # noqa: E731
    assert_digits_are_kept(net, (6, 16, 15, 3), dtype, mean)


@pytest.mark.parametrize("dtype, mean", MEAN_LIMIT)
@pytest.mark.parametrize("height", [16, 17])
def test_the_stem_keeps_its_digits_where_the_mean_is_1000_standard_deviations(height, dtype, mean):
    errors = assert_digits_are_kept(lambda dtype: stem_net(dtype=dtype), (6, height, 16, 3), dtype, mean)
    if height == 16 and abs(mean) == 1000:  # it takes the mean off before it multiplies, which the plain layers don't
        assert max(errors.values()) < 20 * np.finfo(dtype).eps


EDGES = {
    "first derivative": np.outer([1, 2, 1], [1, 0, -1]) / 8,
    "second derivative": np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]]) / 4,
}


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("mean", [0, 2, 10, 100, 1000])
def test_the_stem_keeps_its_digits_where_filters_cancel_the_image(edge, mean):
    grid, phase = np.linspace(0, 2 * np.pi, 64, endpoint=False), np.random.default_rng(0).uniform(0, 6, (8, 1, 1, 3))
    smooth = np.cos(grid[:, None, None] + phase) + np.cos(
        grid[:, None] + phase
    )  # (8, 64, 64, 3), standard deviation 1
    x = (smooth + mean).astype(np.float32)

    def output(dtype, engine):
        model = stem_net(4, 3, dtype)
        conv, norm, *_ = model.leaves()
        conv.params["weight"].value[...] = EDGES[edge][:, :, None, None] * np.array([1, -2, 3, 0.5])
        norm.eps = 1e-12  # the variance may be 1e-6
        return engine(model).forward(x.astype(dtype), TRAIN)[0].astype(np.float64)

    want = output(np.float64, lambda model: model)
    plain, fused = (np.abs(output(np.float32, e) - want).max() / want.max() for e in (lambda model: model, fuse))
    assert fused <= 2 * plain + 1e-6


# ----------------------------------------------------------------- whole nets


@pytest.mark.parametrize("batch", [1, 2, 5, 11])
def test_a_whole_inception_net(batch):
    check(models.build("refined", classes=4, dtype=np.float64), (batch, 32, 32, 3))


@pytest.mark.parametrize("batch", [1, 3, 19])
@pytest.mark.parametrize("net", [small_net, vgg])
def test_a_small_net(net, batch):
    model = net()
    if "dropout" in model.layers:
        model.layers["dropout"].p = 0
    check(model, (batch, 18, 15, 3))


@pytest.mark.parametrize("net", [small_net, vgg])
def test_nothing_depends_on_what_scratch_memory_contains(net):
    def on_rubbish(scratch, name, shape, dtype):
        array = scratch._array(name, shape, dtype)
        array[...] = not_a_number(None, shape, dtype)
        return array

    model = net()
    if "dropout" in model.layers:
        model.layers["dropout"].p = 0
    with patch.object(Scratch, "__call__", on_rubbish):
        check(model, (5, 18, 15, 3))
        check(model, (9, 16, 12, 3))


def train(model, steps, batch=11, dtype=np.float64):
    """All weights and running statistics after so many steps of Adam."""
    rng = np.random.default_rng(3)
    optimizer = Adam(model.named_parameters(), 1e-3)
    for i in range(steps):
        x = rng.normal(size=(batch, 16, 14, 3)).astype(dtype)
        model.zero_grad()
        y, cache = model.forward(x, TRAIN.at_step(i))
        model.backward((y - 1) / len(x), cache, need_dx=False)
        optimizer.step()
    arrays = {n: p.value for n, p in model.named_parameters().items()} | model.named_buffers()
    return {name: a.copy() for name, a in arrays.items()}


@pytest.mark.parametrize("net", [small_net, lambda: vgg(bias=False)])
def test_weights_and_running_statistics_after_ten_steps(net):
    plain, fused = train(net(), 10), train(fused_on_nan(net()), 10)
    for name, a in plain.items():
        close(fused[name], a)


def test_a_bias_in_front_of_bn_stays_where_it_is():
    plain, fused = vgg(), fuse(vgg())
    for model in (plain, fused):
        train(model, 10)
    for name, p in plain.named_parameters().items():
        if name.startswith("conv") and name.endswith("bias"):
            assert not fused.named_parameters()[name].value.any()
            assert np.abs(p.value).max() < 1e-9  # Adam makes steps of the plain layers' rounding errors


@pytest.mark.parametrize("batch", [3, *(pytest.param(batch, marks=pytest.mark.slow) for batch in (11, 17))])
def test_fifty_steps_give_the_same_bits_for_any_number_of_threads(batch):
    with tiles_of(1000):  # several tiles a lane
        runs = [train(fuse(small_net(np.float32), threads), 50, batch, np.float32) for threads in (1, 2, 3)]
    for run in runs[1:]:
        for name, a in runs[0].items():
            same_bits(run[name], a)


def test_two_forwards_in_flight_keep_their_caches():
    fused = fuse(randomized(small_net(), np.random.default_rng(0)), 2)
    rng = np.random.default_rng(1)
    xs, dys = rng.normal(size=(2, 5, 16, 14, 3)), rng.normal(size=(2, 5, 3))
    alone = [step(fused, x, dy)[:3] for x, dy in zip(xs, dys, strict=True)]
    for order in ([0, 1], [1, 0]):
        ys, caches = zip(*(fused.forward(x, TRAIN) for x in xs), strict=True)
        fused.forward(xs[0], INFER)
        for i in order:
            y, dx, grads = alone[i]
            fused.zero_grad()
            same_bits(ys[i], y)
            same_bits(fused.backward(dys[i], caches[i]), dx)
            for name, g in gradients(fused).items():
                same_bits(g, grads[name])


def test_a_cache_may_be_dropped_without_a_backward_pass():
    fused = fuse(randomized(small_net(), np.random.default_rng(0)), 2)
    rng = np.random.default_rng(1)
    x, dy = rng.normal(size=(5, 16, 14, 3)), rng.normal(size=(5, 3))
    want = step(fused, x, dy)
    for _ in range(3):
        fused.forward(-x, TRAIN)
    for name, b in fused.named_buffers().items():
        b[...] = randomized(small_net(), np.random.default_rng(0)).named_buffers()[name]
    for got, expected in zip(step(fused, x, dy)[:2], want[:2], strict=True):
        same_bits(got, expected)


@pytest.mark.parametrize("net", [
    lambda: Sequential(block(9, 9, 1)),
    lambda: Sequential(block(9, 9, padding=1)),
    lambda: inception(9, Inception(2, 3, 2, 2, 3, 2), np.random.default_rng(0), np.float64),
    lambda: MaxPool2D(3, 1, 1),
    lambda: chains.network((chains.Block((chains.Conv(9, 3, padding=1),), nested=False),), 9),
    lambda: chains.network((chains.Block((chains.Conv(9, 3, padding=1),), projected=True, nested=False),), 9),
])  # fmt: skip
def test_a_layer_may_stand_at_two_places(net):
    layer, rng = net(), np.random.default_rng(1)
    model = randomized(Sequential({"a": layer, "between": ReLU(), "b": layer}), rng)
    x, dy = rng.normal(size=(2, 9, 6, 7, 9))
    assert_same_step(model, fused_on_nan(model), x, dy)
    once = fuse(Sequential({"a": layer}), 2).layers
    twice = FusedSequential({"a": (composite := next(iter(once.values()))), "b": composite}, composite.runner)
    want = Sequential({"a": layer, "b": layer}).forward(x, INFER)[0]
    close(twice.forward(x, INFER)[0], want)  # one composite, its scratch memory and all


def composites(layer):
    return [child for child in layer.layers.values() if isinstance(child, Fused)]


def test_composites_neither_train_nor_infer_on_the_plain_layers():
    x = np.random.default_rng(0).normal(size=(5, 16, 14, 3))
    found = composites(fuse(small_net(), 2))
    assert len(found) == 5
    for layer in found:
        with ExitStack() as stack:
            for plain in (layer.plain, *layer.plain.leaves()):
                stack.enter_context(patch.object(plain, "forward", side_effect=AssertionError))
            y, cache = layer.forward(x, TRAIN)
            layer.backward(y, cache)
            layer.forward(x, INFER)
        x = y


def test_a_backward_pass_lets_go_of_the_cache():
    (layer,), x = composites(fuse(Sequential(block(3, 4)))), np.random.default_rng(0).normal(size=(5, 16, 14, 3))
    held = sys.getrefcount(x)
    y, cache = layer.forward(x, TRAIN)
    assert sys.getrefcount(x) > held
    layer.backward(y, cache)
    assert sys.getrefcount(x) == held
    assert cache is not None  # the caller still has it


def test_gradients_accumulate():
    fused = fuse(randomized(small_net(), np.random.default_rng(0)), 2)
    rng = np.random.default_rng(1)
    x, dy = rng.normal(size=(5, 16, 14, 3)), rng.normal(size=(5, 3))
    once = step(fused, x, dy)[2]
    _, cache = fused.forward(x, TRAIN)
    fused.backward(dy, cache)
    for name, g in gradients(fused).items():
        close(g, 2 * once[name])


# ------------------------------------------------ modes, inference, resources


def test_probe_and_project_are_those_of_the_plain_layers():
    model = randomized(small_net(), np.random.default_rng(0))
    fused, x = fuse(model), np.random.default_rng(1).normal(size=(2, 16, 14, 3))
    with threadpool_limits(1, user_api="blas"):
        (y, cache), (fused_y, fused_cache) = model.forward(x, PROBE), fused.forward(x, PROBE)
        same_bits(fused_y, y)
        for rule in RULES:
            same_bits(fused.project(y, fused_cache, rule), model.project(y, cache, rule))
        same_bits(fused.input_grad(y, fused_cache), model.input_grad(y, cache))
        model.zero_grad()
        dx = model.backward(y, cache)
        grads = gradients(model)
        fused.zero_grad()
        same_bits(fused.backward(y, fused_cache), dx)
        for name, g in gradients(fused).items():
            same_bits(g, grads[name])


@pytest.mark.slow
@cases(80)
@given(
    st.sampled_from([small_net, vgg, lambda: Sequential({"a": small_net(), "b": Flatten()})]),
    st.sampled_from([1, 2, 7, 16, 37, 41]), st.integers(10, 21), st.integers(10, 21),
    st.one_of(st.integers(1, 9000), st.just(1 << 19)), st.sampled_from([1, 5, 16]), layouts,
)  # fmt: skip
def test_inference_in_tiles_that_go_through_the_whole_net(net, batch, h, w, numbers, images, layout):
    model = randomized(net(), np.random.default_rng(0))
    x = arranged(np.random.default_rng(1).normal(size=(batch, h, w, 3)), layout)
    fused = fused_on_nan(model)
    with patch.multiple("minidl.engine.chain", STAGE_NUMBERS=numbers, TASK_IMAGES=images):
        y, cache = fused.forward(x, INFER)
        kept = y.copy()
        fused.forward(-x, INFER)
    assert cache is None
    close(y, model.forward(x, INFER)[0])
    same_bits(y, kept)  # no scratch memory came out


def test_inference_sees_new_weights_and_statistics():
    model = randomized(small_net(), np.random.default_rng(0))
    fused, x = fuse(model), np.random.default_rng(1).normal(size=(3, 16, 14, 3))
    fused.forward(x, INFER)
    randomized(model, np.random.default_rng(2))
    close(fused.forward(x, INFER)[0], model.forward(x, INFER)[0])


def test_inference_goes_layer_by_layer_around_a_users_own_layer():
    class MeanOfBatch(Layer):
        def forward(self, x, ctx):
            return x - x.mean(axis=0), None

    model = randomized(Sequential({**small_net().layers, "own": MeanOfBatch()}), np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(21, 16, 12, 3))
    close(fuse(model).forward(x, INFER)[0], model.forward(x, INFER)[0])
    close(fuse(Sequential({"net": model})).forward(x, INFER)[0], model.forward(x, INFER)[0])


def test_inference_of_other_layers_one_by_one():
    model = Sequential({**block(3, 4, padding=1), "avg": AvgPool2D(2), "bn2": BatchNorm2D(4, dtype=np.float64),
                        "relu2": ReLU(), "pool": MaxPool2D(3, 2), "flat": Flatten()})  # fmt: skip
    randomized(model, np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(21, 12, 14, 3))
    fused = fuse(model)
    assert isinstance(fused, FusedSequential)
    close(fused.forward(x, INFER)[0], model.forward(x, INFER)[0])


def test_errors_are_those_of_the_plain_layers():
    model = small_net()
    fused = fuse(model)
    for shape in [(2, 16, 16, 4), (2, 4, 4, 3), (2, 16, 16), (0, 16, 16, 3)]:
        messages = []
        fused.forward(np.ones((2, 16, 16, 3)), TRAIN)  # after images that fit, too
        for m in (model, fused):
            for ctx in (TRAIN, INFER):
                with pytest.raises(ShapeError) as error:
                    m.forward(np.zeros(shape), ctx)
                messages.append(str(error.value))
        assert len(set(messages)) == 1


@pytest.mark.parametrize("net, shape", [
    (lambda: Sequential(block(3, 4)), (1, 3, 3, 3)),
    (lambda: Sequential({**block(3, 4, 1), "pool": MaxPool2D(2, 2, 1)}), (1, 1, 1, 3)),
    (lambda: inception(3, Inception(2, 3, 2, 2, 3, 2), np.random.default_rng(0), np.float64), (1, 1, 1, 3)),
])  # fmt: skip
def test_a_single_pixel_has_no_variance(net, shape):
    fused = fuse(net())
    before = {name: b.copy() for name, b in fused.named_buffers().items()}
    with pytest.raises(ShapeError, match="more than one value per channel"):
        fused.forward(np.ones(shape), TRAIN)
    for name, b in fused.named_buffers().items():
        same_bits(b, before[name])


def tile_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("minidl-tiles")]


def test_a_dropped_model_leaves_nothing_in_the_process():
    gc.collect()
    before = os.environ.copy(), np.geterr(), np.getbufsize()
    others = set(tile_threads())
    fused = fuse(small_net(), 3)
    y, cache = fused.forward(np.ones((9, 16, 16, 3)), TRAIN)
    fused.backward(y, cache)
    fused.forward(np.ones((9, 16, 16, 3)), INFER)
    own = set(tile_threads()) - others
    assert len(own) == 2
    del fused, cache, y
    gc.collect()
    for thread in own:
        thread.join(timeout=HANGS)
    assert not any(thread.is_alive() for thread in own)
    assert (os.environ.copy(), np.geterr(), np.getbufsize()) == before


@pytest.mark.parametrize("mode", [TRAIN, INFER, PROBE])
def test_the_dtype_is_preserved(mode):
    fused = fuse(small_net(np.float32))
    x = np.random.default_rng(0).normal(size=(3, 16, 16, 3)).astype(np.float32)
    y, cache = fused.forward(x, mode)
    assert y.dtype == np.float32
    if cache is not None:
        assert fused.backward(y, cache).dtype == np.float32


def test_layers_that_stand_twice_in_one_block_do_what_the_plain_ones_do():
    conv, bn = Conv2D(8, 8, 3, padding=1, bias=False, rng=0, dtype=np.float64), BatchNorm2D(8, dtype=np.float64)
    point = Conv2D(8, 8, 1, bias=False, rng=1, dtype=np.float64)
    rng = np.random.default_rng(0)
    x, relu = rng.normal(size=(4, 5, 6, 8)), ReLU()
    for net in (
        Sequential(minidl.Residual(Sequential(conv, bn), Sequential(conv, bn)), relu),
        Sequential(Concat([[point, bn, relu], [point, bn, relu, conv, bn, relu]])),
    ):
        assert_same_step(net, fuse(net, 2), x, rng.normal(size=net.out_shape(x.shape)))


class Probabilities(Sequential):
    """A chain with an attribute, and with another way to be called."""

    def __init__(self, *layers):
        super().__init__(*layers)
        self.classes = 5

    def __call__(self, x):
        return softmax(super().__call__(x))


def test_a_chain_with_its_own_way_to_be_called_keeps_it():
    net, x = Probabilities(Linear(3, 5, rng=0), ReLU()), np.ones((2, 3), np.float32)
    fused = fuse(net)
    np.testing.assert_allclose(fused(x), net(x), rtol=1e-6)
    assert fused.classes == 5 and unfuse(fused).classes == 5


def test_attributes_of_a_chain_stay():
    net = Sequential(Linear(3, 5, rng=0), ReLU())
    net.classes = 5
    fused = fuse(net)
    assert isinstance(fused, FusedSequential) and fused.classes == 5 and unfuse(fused).classes == 5


def test_an_empty_batch_gives_an_empty_answer():
    net = Sequential(Linear(3, 5, rng=0), ReLU())
    assert fuse(net)(np.zeros((0, 3), np.float32)).shape == (0, 5)
