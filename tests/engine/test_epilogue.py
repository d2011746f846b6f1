"""The parts of the fused composites on their own, where a composite would hide a fault."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minidl.engine.blocks import batchnorm as bn
from minidl.engine.blocks.activation import activation
from minidl.engine.blocks.block import Block, Design
from minidl.engine.blocks.box import box_sum
from minidl.engine.blocks.maps import Box
from minidl.engine.blocks.maxpool import FusedMaxPool
from minidl.engine.blocks.stage import Part, Stage
from minidl.engine.tiles.grid import grid_of
from minidl.engine.tiles.runner import Scratch, TileRunner
from minidl.kernels import reference
from minidl.layers import INFER, TRAIN, BatchNorm2D, MaxPool2D, ReLU, Sequential
from tests.engine.test_fused import close, same_bits
from tests.strategies import arranged, cases, layouts, randomized, seeds

sides = st.integers(1, 9)


def drawn(rng, shape, ties):
    """Whole numbers between -2 and 1, full of ties, or numbers of all sizes."""
    return rng.integers(-2, 2, shape).astype(float) if ties else rng.normal(size=shape)


# ---------------------------------------------------------------- the pool on tiles


@pytest.mark.slow
@cases(150)
@given(st.integers(1, 3), sides, sides, st.integers(1, 3), st.integers(0, 1), st.booleans(), seeds, layouts)
def test_a_tile_is_pooled_like_a_batch(n, h, w, c, padding, ties, seed, layout):
    assume(min(h, w) + 2 * padding >= 2)
    rng = np.random.default_rng(seed)
    x = arranged(drawn(rng, (n, h, w, c), ties), layout)
    y, index = reference.max_pool(x, 2, 2, padding)
    pool, scratch = FusedMaxPool(MaxPool2D(2, 2, padding), None), Scratch()
    for _ in range(2):  # the second time with used scratch memory
        pooled, inferred, found = np.full(y.shape, np.nan), np.full(y.shape, np.nan), np.full(y.shape, 255, np.uint8)
        pool.maxima(x, pooled, found, scratch)
        pool.maxima(x, inferred, None, scratch)
        same_bits(pooled, y)
        same_bits(inferred, y)
        same_bits(found, index)
        dy = arranged(rng.normal(size=y.shape), layout)
        before = rng.integers(-9, 9, x.shape).astype(float)
        dx = before.copy()
        pool.add_gradient(dy, found, dx, scratch)
        same_bits(dx, before + reference.max_pool_dx(dy, index, x.shape, 2, 2, padding))


def test_the_tiles_of_a_batch_share_nothing():
    x = np.random.default_rng(0).normal(size=(5, 7, 6, 2))
    pool, scratch = FusedMaxPool(MaxPool2D(2, 2, 1), None), Scratch()
    y, found = np.empty((5, 4, 4, 2)), np.empty((5, 4, 4, 2), np.uint8)
    dy, dx = np.random.default_rng(1).normal(size=y.shape), np.zeros(x.shape)
    for tile in grid_of(5, 2):
        pool.maxima(x[tile], y[tile], found[tile], scratch)
        pool.add_gradient(dy[tile], found[tile], dx[tile], scratch)
    want, index = reference.max_pool(x, 2, 2, 1)
    same_bits(y, want)
    same_bits(dx, reference.max_pool_dx(dy, index, x.shape, 2, 2, 1))


# ------------------------------------------------------------ BN, ReLU and a pool


def tail_case(rng, channels, gamma_zero, dtype=np.float64):
    layers = []
    for i, c in enumerate(channels):
        layers.append(layer := BatchNorm2D(c, momentum=0.1 * (i + 1), eps=10.0 ** -(5 + i), dtype=dtype))
        randomized(layer, rng)
        if gamma_zero:
            layer.params["gamma"].value[-1], layer.params["beta"].value[-1] = 0, 0.5
    return layers


def through_plain_layers(layers, pool, z, dy):
    """(y, dz, gradients and buffers) of every BN on its channels, then ReLU and the pool."""
    ys, dzs, arrays, start = [], [], [], 0
    for layer in layers:
        stop = start + layer.params["gamma"].value.size
        plain = Sequential([layer, ReLU(), *([pool] if pool else [])])
        saved = {name: b.copy() for name, b in layer.buffers.items()}
        plain.zero_grad()
        y, cache = plain.forward(z[..., start:stop], TRAIN)
        ys.append(y)
        dzs.append(plain.backward(dy[..., start:stop], cache))
        arrays += [*(p.grad.copy() for p in layer.params.values()), *(b.copy() for b in layer.buffers.values())]
        for name, b in layer.buffers.items():
            b[...] = saved[name]
        plain.zero_grad()
        start = stop
    return np.concatenate(ys, axis=-1), np.concatenate(dzs, axis=-1), arrays


class Tail(Block):
    """A block whose only map is z = x, without the signs of gamma."""

    def __init__(self, layers, pool, runner):
        self.given = layers, pool
        super().__init__(Sequential(layers), runner)

    def design(self, plain):
        layers, pool = self.given
        every = slice(0, sum(layer.params["gamma"].size for layer in layers))
        return Design([Stage([Part(Box(1), every, every)], layers, activation(ReLU()))], pool)

    def train_signed(self, z, norm=None):
        """What `train` makes of the z of a map with the signs of gamma."""
        return self.train(z * self.stages[0].bn.signs(), norm)


@pytest.mark.slow
@cases(150)
@given(
    st.integers(1, 12), sides, sides, st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.sampled_from([None, 0, 1]), st.booleans(), st.booleans(), seeds, layouts, st.sampled_from([0, 40]),
)  # fmt: skip
def test_a_tail_is_bn_relu_and_pool(n, h, w, channels, padding, ties, gamma_zero, seed, layout, mean):
    assume(n * h * w >= 8 and min(h, w) + 2 * (padding or 0) >= 2)
    rng = np.random.default_rng(seed)
    layers, pool = tail_case(rng, channels, gamma_zero), None if padding is None else MaxPool2D(2, 2, padding)
    z = drawn(rng, (n, h, w, sum(channels)), ties) + mean
    assume(z.reshape(-1, z.shape[3]).var(axis=0).min() > 0.05)
    runner = TileRunner(2)
    tail = Tail(layers, pool, runner)
    dy = arranged(rng.normal(size=pool.out_shape(z.shape) if pool else z.shape), layout)
    y, dz, arrays = through_plain_layers(layers, pool, z, dy)

    got_y, cache = tail.train_signed(z)
    close(got_y, y)
    with runner.whole_pass():  # at whose end the gradients of gamma and beta are added
        norm, got_dz = cache.stages[0].norm, tail.train_backward(dy, cache, True)  # of a map without the scale
    close(got_dz * norm.scale * norm.signs, dz)
    got = [a for layer in layers for a in (*(p.grad for p in layer.params.values()), *layer.buffers.values())]
    for a, b in zip(got, arrays, strict=True):
        close(a, b, size=max(1, np.abs(b).max()))

    scale, _ = tail.stages[0].bn.folded()
    want = np.concatenate(
        [Sequential([layer, ReLU(), *([pool] if pool else [])]).forward(part, INFER)[0]
         for layer, part in zip(layers, np.split(z, np.cumsum(channels)[:-1], axis=3), strict=True)], axis=3
    )  # fmt: skip
    got = tail.infer_tile(z * scale, tail.fold(z), Scratch())
    close(got, want, size=mean + 10)


def test_known_statistics_give_the_same_output_and_leave_the_running_ones_alone():
    rng = np.random.default_rng(0)
    layers, z = tail_case(rng, [3, 2], False), rng.normal(size=(9, 6, 5, 5))
    tail = Tail(layers, MaxPool2D(2), TileRunner(2))
    y, cache = tail.train_signed(z)
    before = [b.copy() for layer in layers for b in layer.buffers.values()]
    again, _ = tail.train_signed(z, cache.stages[0].norm)
    same_bits(again, y)
    for a, b in zip(before, [b for layer in layers for b in layer.buffers.values()], strict=True):
        same_bits(a, b)


# ----------------------------------------------------------------------- sums


def channel_sums(a):
    return a.astype(np.longdouble).sum(axis=(0, 1, 2)).astype(float)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mean", [0, 3, 1000, -1e5])
def test_sums_of_gradients_take_a_mean_far_from_zero_off_first(dtype, mean):
    rng = np.random.default_rng(0)
    z = (rng.normal(size=(17, 9, 8, 3)) + mean).astype(dtype)
    d = rng.normal(size=z.shape).astype(dtype)
    exact_mean = channel_sums(z) / (17 * 9 * 8)
    norm = bn.Normalization(np.array([[1, 1, 1], [0, 0, 0]], dtype), np.ones(3, dtype), exact_mean, np.ones(3), 1224,
                            large_mean=abs(mean) > 11)  # fmt: skip
    tiles = grid_of(17, 3)
    sums = bn.GradientSums(tiles, z, norm)
    for i, tile in enumerate(tiles):
        sums.add_up(i, d[tile], z[tile])
    total, dot = sums.over_batch(TileRunner(1))
    assert total.dtype == dot.dtype == np.float64
    want = channel_sums(d.astype(np.longdouble) * (z - exact_mean.astype(np.longdouble)))
    size, epsilon = np.sqrt(z[..., 0].size), np.finfo(dtype).eps
    np.testing.assert_allclose(total, channel_sums(d), rtol=0, atol=20 * epsilon * size)
    np.testing.assert_allclose(dot, want, rtol=0, atol=(20 if norm.large_mean or mean == 0 else 200) * epsilon * size)


def normalization_of(z, layer):
    tiles = grid_of(len(z), 3)
    sums = bn.Sums(tiles, z)
    for i, tile in enumerate(tiles):
        sums.add_up(i, z[tile], z[tile])
    runner = TileRunner(2)
    with runner.whole_pass():
        return bn.BatchNorms([layer]).normalize(z, sums, tiles, runner)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mean", [0, 5, 11, 12, 30, 1000, -1000, 1e5])
def test_mean_and_variance_keep_their_digits_at_any_distance_from_zero(dtype, mean):
    z = (np.random.default_rng(0).normal(size=(17, 9, 8, 3)) + [mean, 0, -mean]).astype(dtype)
    layer = BatchNorm2D(3, momentum=1, dtype=dtype)
    norm = normalization_of(z, layer)
    exact = z.astype(np.longdouble).reshape(-1, 3)
    mean64, var64 = exact.mean(axis=0).astype(float), exact.var(axis=0).astype(float)
    epsilon = np.finfo(dtype).eps
    np.testing.assert_allclose(norm.mean, mean64, rtol=4 * epsilon, atol=4 * epsilon)
    np.testing.assert_allclose(norm.inv_std, 1 / np.sqrt(var64 + 1e-5), rtol=100 * epsilon)
    np.testing.assert_allclose(layer.buffers["running_mean"], mean64, rtol=2 * epsilon, atol=10 * epsilon)
    np.testing.assert_allclose(layer.buffers["running_var"], var64 * 1224 / 1223, rtol=200 * epsilon)
    assert norm.large_mean == (abs(mean) > np.sqrt(bn.MEAN_LIMIT)) and norm.pixels == 1224


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_channel_that_never_changes_has_variance_zero_and_never_less(dtype):
    numbers = np.random.default_rng(0).uniform(0.1, 10, 500)
    layer = BatchNorm2D(500, momentum=1, dtype=dtype)
    norm = normalization_of(np.broadcast_to(numbers.astype(dtype), (9, 4, 5, 500)).copy(), layer)
    np.testing.assert_allclose(norm.inv_std, 1 / np.sqrt(1e-5), rtol=1e-4)
    assert (layer.buffers["running_var"] >= 0).all() and (layer.buffers["running_var"] < 1e-9).all()


def test_a_variance_that_rounding_made_negative_counts_as_zero():
    layer = BatchNorm2D(1, momentum=1, dtype=np.float64)
    runner = TileRunner(1)
    with runner.whole_pass():
        norm = bn.BatchNorms([layer]).with_moments(np.array([100.0]), np.array([-1e-6]), 10, runner)
    np.testing.assert_array_equal(norm.inv_std, 1 / np.sqrt(1e-5))
    np.testing.assert_array_equal(layer.buffers["running_var"], 0)


def test_a_minus_zero_and_a_zero_gamma_count_as_positive():
    layer = BatchNorm2D(4, dtype=np.float64)
    layer.params["gamma"].value[...] = [2, -3, 0, -0.0]
    np.testing.assert_array_equal(bn.BatchNorms([layer]).signs(), [1, -1, 1, 1])


# ---------------------------------------------------- sums over windows


@cases(60)
@given(st.integers(1, 3), sides, sides, st.integers(1, 3), st.sampled_from([1, 3, 5, 7]), seeds, st.booleans())
def test_a_box_sum_is_an_average_pool_without_its_factor(n, h, w, c, kernel, seed, in_place):
    scratch = Scratch()
    for x in np.random.default_rng(seed).normal(size=(2, n, h, w, c)):  # the second time with used scratch memory
        out = x.copy() if in_place else np.full(x.shape, np.nan)
        box_sum(out if in_place else x, kernel, out, scratch)
        close(out / kernel**2, reference.avg_pool(x, kernel, 1, kernel // 2), size=1)
        close(out / kernel**2, reference.avg_pool_dx(x, x.shape, kernel, 1, kernel // 2), size=1)


def test_boxes_of_other_sizes_may_share_scratch_memory():
    scratch = Scratch()
    for size, kernel in ((6, 3), (4, 5), (2, 7), (4, 5), (6, 3)):  # with their borders they have the same size
        x = np.random.default_rng(size).normal(size=(2, size, size, 3))
        out = np.full(x.shape, np.nan)
        box_sum(x, kernel, out, scratch)
        close(out / kernel**2, reference.avg_pool(x, kernel, 1, kernel // 2))
