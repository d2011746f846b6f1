"""The kernels: the reference against plain loops written from the formulas, every other set against the reference."""

import inspect
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.kernels import blocked, kernels_for, reference
from tests.strategies import arranged, cases, layouts, seeds, shapes, windows

SETS = {"reference": reference, "blocked": blocked}
KERNELS = {
    *("conv2d", "conv2d_dw", "conv2d_dx", "max_pool", "max_pool_dx", "avg_pool", "avg_pool_dx"),
    *("batch_statistics", "batch_norm", "batch_norm_sums", "batch_norm_dx", "batch_norm_moments", "relu", "relu_dx"),
    *("leaky_relu", "leaky_relu_dx", "silu", "silu_dx", "sigmoid", "sigmoid_dx", "tanh", "tanh_dx"),
    *("softmax_cross_entropy", "adam"),
}
IN_PLACE = {"adam", "batch_norm_moments"}  # these write to their arguments
BUILDING_BLOCKS = {
    "pad2d",
    "unpad2d",
    "offsets",
    "out_size",
    "im2col",
    "col2im",
    "move_running",
}  # the reference's own, open to readers
every_set = pytest.mark.parametrize("kernels", SETS.values(), ids=SETS)
dtypes = st.sampled_from([np.float32, np.float64])
# Sizes of the blocks: one image or a few rows, sizes that leave rows over, and the real ones.
block_sizes = st.tuples(
    st.sampled_from([1, 3000, 8 << 20]), st.sampled_from([8, 200, 128 << 10]), st.sampled_from([1, 7, 512])
)


@contextmanager
def blocks_of(patch_bytes, element_bytes, inner_length):
    with (
        patch.object(blocked, "PATCH_BYTES", patch_bytes),
        patch.object(blocked, "ELEMENT_BYTES", element_bytes),
        patch.object(blocked, "INNER_LENGTH", inner_length),
    ):
        yield


def public_functions(module):
    return {
        name: f
        for name, f in inspect.getmembers(module, inspect.isfunction)
        if f.__module__ == module.__name__ and not name.startswith("_")
    }


def assert_close(a, b, dtype=np.float64):
    """Equal up to rounding, relative to each entry and to the array's largest; NaN where NaN and inf where inf."""
    for x, y in zip(a, b, strict=True) if isinstance(a, tuple) else [(a, b)]:
        tol = 1e-12 if dtype == np.float64 else 1e-5
        finite = np.abs(y[np.isfinite(y)])
        np.testing.assert_allclose(x, y, rtol=tol, atol=tol * finite.max(initial=0))


def test_all_sets_have_the_same_functions_and_signatures():
    assert set(public_functions(reference)) == KERNELS | BUILDING_BLOCKS
    for kernels in SETS.values():
        public = public_functions(kernels)
        assert set(public) - BUILDING_BLOCKS == KERNELS
        for name in KERNELS:
            assert inspect.signature(public[name]) == inspect.signature(getattr(reference, name)), name


def test_the_type_of_the_array_chooses_the_set():
    class DeviceArray:
        pass

    assert kernels_for(np.ones(1)) is blocked
    assert kernels_for(DeviceArray()) is reference


# -------------------------------------------------------------- convolution


def convolution_by_loops(x, w, dy, stride, padding):
    """y, dw and dx of the convolution, one product at a time."""
    (n_, h_, w_, c_), (kh_, kw_, _, f_) = x.shape, w.shape
    _, oh_, ow_, _ = dy.shape
    y, dw, dx = np.zeros(dy.shape), np.zeros(w.shape), np.zeros(x.shape)
    for n in range(n_):
        for oh in range(oh_):
            for ow in range(ow_):
                for kh in range(kh_):
                    for kw in range(kw_):
                        i, j = oh * stride + kh - padding, ow * stride + kw - padding
                        if not (0 <= i < h_ and 0 <= j < w_):
                            continue
                        for c in range(c_):
                            for f in range(f_):
                                y[n, oh, ow, f] += x[n, i, j, c] * w[kh, kw, c, f]
                                dw[kh, kw, c, f] += x[n, i, j, c] * dy[n, oh, ow, f]
                                dx[n, i, j, c] += w[kh, kw, c, f] * dy[n, oh, ow, f]
    return y, dw, dx


def out_shape(shape, kernel, stride, padding, channels):
    """By counting the windows that fit."""
    oh, ow = (len(range(0, size + 2 * padding - k + 1, stride)) for size, k in zip(shape[1:3], kernel, strict=True))
    return shape[0], oh, ow, channels


@st.composite
def convolutions(draw, max_channels=3):
    """(x shape, w shape, stride, padding), oblong filters too."""
    window = draw(windows(pool=False, max_channels=max_channels))
    kh, kw = window.kernel, window.kernel
    if draw(st.booleans()):
        kw = draw(st.integers(1, window.kernel))
    w_shape = (kh, kw, window.shape[-1], draw(st.integers(1, max_channels)))
    return window.shape, w_shape, window.stride, window.padding


def convolution_arrays(case, seed, dtype=np.float64, x_layout="C", dy_layout="C"):
    shape, w_shape, stride, padding = case
    rng = np.random.default_rng(seed)
    dy_shape = out_shape(shape, w_shape[:2], stride, padding, w_shape[-1])
    x, w, dy = (rng.normal(size=s).astype(dtype) for s in (shape, w_shape, dy_shape))
    return arranged(x, x_layout), w, arranged(dy, dy_layout), stride, padding


def convolution_by(kernels, x, w, dy, *geometry):
    return (
        kernels.conv2d(x, w, *geometry),
        kernels.conv2d_dw(x, dy, w.shape, *geometry),
        kernels.conv2d_dx(dy, w, x.shape, *geometry),
    )


@every_set
@cases(25)
@given(case=convolutions(max_channels=2), seed=seeds)
def test_convolution_and_its_gradients_are_the_seven_loops(kernels, case, seed):
    arrays = convolution_arrays(case, seed)
    with blocks_of(1, 8, 1):
        assert_close(convolution_by(kernels, *arrays), convolution_by_loops(*arrays))


@cases(80)
@given(convolutions(), seeds, dtypes, layouts, layouts, block_sizes)
def test_blocked_convolution_is_the_references(case, seed, dtype, x_layout, dy_layout, sizes):
    arrays = convolution_arrays(case, seed, dtype, x_layout, dy_layout)
    with blocks_of(*sizes):
        assert_close(convolution_by(blocked, *arrays), convolution_by(reference, *arrays), dtype)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [(kh, kw) for kh in (1, 2, 3) for kw in (1, 2, 3)], ids=str)
def test_no_small_geometry_is_an_exception(kernel, stride):
    for padding in range(5):  # shortcuts hold for some kernels, strides and paddings only
        arrays = convolution_arrays(((2, 4, 3, 2), (*kernel, 2, 3), stride, padding), seed=0)
        assert_close(convolution_by(blocked, *arrays), convolution_by(reference, *arrays))


@pytest.mark.parametrize("filters", [15, 16, 17, 32, 33])
@pytest.mark.parametrize("channels", [1, 2])
def test_many_filters_for_each_channel_are_no_exception(channels, filters):
    arrays = convolution_arrays(((3, 4, 5, channels), (3, 3, channels, filters), 1, 1), seed=0)
    with blocks_of(1, 8, 1):
        assert_close(convolution_by(blocked, *arrays), convolution_by(reference, *arrays))


@every_set
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_not_finite_spoils_just_the_windows_that_contain_it(kernels, bad):
    x = np.ones((2, 6, 5, 2))
    x[1, 2, 4, 0] = bad
    y = kernels.conv2d(x, np.ones((3, 3, 2, 1)), 1, 1)[..., 0]
    spoilt = np.zeros(y.shape, bool)
    spoilt[1, 1:4, 3:5] = True
    np.testing.assert_array_equal(~np.isfinite(y), spoilt)


def test_col2im_is_the_transpose_of_im2col_and_unpad2d_of_pad2d():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 5, 6, 3))
    patches, padded = reference.im2col(x, (3, 2), 2, 1), reference.pad2d(x, 2)
    dpatches, dpadded = rng.normal(size=patches.shape), rng.normal(size=padded.shape)
    dx = reference.col2im(dpatches, x.shape, (3, 2), 2, 1)
    assert (patches * dpatches).sum() == pytest.approx((x * dx).sum(), rel=1e-12)
    assert (padded * dpadded).sum() == pytest.approx((x * reference.unpad2d(dpadded, 2)).sum(), rel=1e-12)


# ------------------------------------------------------------------ pooling


def pool_windows(shape, kernel, stride, padding):
    """(n, oh, ow, c) and the window's real pixels as (offset, h, w), in reading order."""
    n_, oh_, ow_, c_ = out_shape(shape, (kernel, kernel), stride, padding, shape[-1])
    for n, oh, ow, c in np.ndindex(n_, oh_, ow_, c_):
        pixels = []
        for k in range(kernel * kernel):
            h, w = oh * stride + k // kernel - padding, ow * stride + k % kernel - padding
            if 0 <= h < shape[1] and 0 <= w < shape[2]:
                pixels.append((k, h, w))
        yield (n, oh, ow, c), pixels


def max_pool_by_loops(x, kernel, stride, padding):
    shape = out_shape(x.shape, (kernel, kernel), stride, padding, x.shape[-1])
    y, index = np.empty(shape, x.dtype), np.empty(shape, np.uint8)
    for at, pixels in pool_windows(x.shape, kernel, stride, padding):
        best = None
        for k, h, w in pixels:
            value = x[at[0], h, w, at[3]]
            if best is None or value > best or (np.isnan(value) and not np.isnan(best)):
                best, index[at] = value, k
        y[at] = best
    return y, index


def unpool_by_loops(dy, index, x_shape, kernel, stride, padding, overlap):
    """Windows in rising order of (oh, ow); `hits` collects what each pixel receives."""
    hits = {}
    for at, _ in pool_windows(x_shape, kernel, stride, padding):
        n, oh, ow, c = at
        k = int(index[at])
        pixel = n, oh * stride + k // kernel - padding, ow * stride + k % kernel - padding, c
        hits.setdefault(pixel, []).append(dy[at])
    dx = np.zeros(x_shape, dy.dtype)
    for pixel, values in hits.items():
        dx[pixel] = {"sum": sum(values), "last": values[-1], "max": max(values)}[overlap]
    return dx


def avg_pool_by_loops(x, dy, kernel, stride, padding):
    y, dx = np.zeros(dy.shape), np.zeros(x.shape)
    for at, pixels in pool_windows(x.shape, kernel, stride, padding):
        for _, h, w in pixels:
            y[at] += x[at[0], h, w, at[3]] / kernel**2
            dx[at[0], h, w, at[3]] += dy[at] / kernel**2
    return y, dx


def pool_input(kind, shape, seed, dtype):
    """Values as `kind` says. A window of -inf alone has no maximum worth the name: none here."""
    rng = np.random.default_rng(seed)
    if kind == "distinct":
        return rng.normal(size=shape).astype(dtype)
    if kind == "constant":
        return np.full(shape, -2.5, dtype)
    x = rng.integers(-3, 1, shape).astype(dtype)  # many ties, most of them below the zero of a wrong padding
    if kind == "not finite":
        special = rng.choice([np.nan, np.inf, np.finfo(dtype).min], shape)
        x = np.where(rng.random(shape) < 0.2, special, x).astype(dtype)
    return x


KINDS = ("distinct", "ties", "constant", "not finite")  # every geometry is tried with all of them


@every_set
@cases(60)
@given(window=windows(pool=True, max_channels=2), seed=seeds, dtype=dtypes, layout=layouts)
def test_the_first_maximum_wins_the_first_nan_wins_over_all_and_padding_never(kernels, window, seed, dtype, layout):
    for kind in KINDS:
        x = arranged(pool_input(kind, window.shape, seed, dtype), layout)
        y, index = kernels.max_pool(x, *window.geometry)
        y_loops, index_loops = max_pool_by_loops(x, *window.geometry)
        np.testing.assert_array_equal(y, y_loops)
        np.testing.assert_array_equal(index, index_loops)
        assert y.dtype == dtype and index.dtype == np.uint8


@every_set
@pytest.mark.parametrize("image", range(3))
def test_a_nan_in_one_image_of_several_is_found_and_leaves_the_others_alone(kernels, image):
    x = np.random.default_rng(0).normal(size=(3, 5, 4, 2))
    x[image, 2, 1, 1] = x[image, 2, 2, 1] = np.nan
    y, index = kernels.max_pool(x, 3, 1, 1)
    y_loops, index_loops = max_pool_by_loops(x, 3, 1, 1)
    np.testing.assert_array_equal(y, y_loops)
    np.testing.assert_array_equal(index, index_loops)


@every_set
def test_the_largest_window_has_the_offsets_0_to_255(kernels):
    x = np.zeros((1, 32, 16, 1))
    x[0, 15, 15] = x[0, 16, 0] = 1
    _, index = kernels.max_pool(x, 16, 16, 0)
    assert index.ravel().tolist() == [255, 0]


@every_set
@pytest.mark.parametrize("overlap", ["sum", "last", "max"])
@cases(30)
@given(window=windows(pool=True, max_channels=2), seed=seeds, layout=layouts)
def test_unpooling_joins_windows_that_share_their_maximum_as_asked(kernels, overlap, window, seed, layout):
    for kind in KINDS:
        x = pool_input(kind, window.shape, seed, np.float64)
        y, index = reference.max_pool(x, *window.geometry)
        dy = arranged(np.random.default_rng(seed).normal(size=y.shape), layout)
        dx = kernels.max_pool_dx(dy, index, x.shape, *window.geometry, overlap)
        assert_close(dx, unpool_by_loops(dy, index, x.shape, *window.geometry, overlap))


@every_set
def test_the_gradient_of_a_max_pool_sums_unless_told_otherwise(kernels):
    x = np.array([0.0, 1.0, 0.0]).reshape(1, 1, 3, 1).repeat(2, axis=1)
    _, index = kernels.max_pool(x, 2, 1, 0)
    dx = kernels.max_pool_dx(np.array([2.0, -5.0]).reshape(1, 1, 2, 1), index, x.shape, 2, 1, 0)
    assert dx[0, :, :, 0].tolist() == [[0, -3, 0], [0, 0, 0]]


@every_set
@cases(40)
@given(window=windows(pool=True, max_channels=2), seed=seeds, x_layout=layouts, dy_layout=layouts)
def test_average_pooling_divides_by_the_whole_window(kernels, window, seed, x_layout, dy_layout):
    rng = np.random.default_rng(seed)
    x = arranged(rng.normal(size=window.shape), x_layout)
    shape = out_shape(x.shape, (window.kernel,) * 2, window.stride, window.padding, x.shape[-1])
    dy = arranged(rng.normal(size=shape), dy_layout)
    y, dx = kernels.avg_pool(x, *window.geometry), kernels.avg_pool_dx(dy, x.shape, *window.geometry)
    assert_close((y, dx), avg_pool_by_loops(x, dy, *window.geometry))


# ------------------------------------------------ batch normalization, ReLU


@every_set
@cases(40)
@given(shape=shapes(), seed=seeds, x_layout=layouts, dy_layout=layouts, sizes=block_sizes)
def test_batch_normalization_is_its_formulas(kernels, shape, seed, x_layout, dy_layout, sizes):
    rng = np.random.default_rng(seed)
    x, dy = arranged(rng.normal(2, 3, shape), x_layout), arranged(rng.normal(size=shape), dy_layout)
    mean, inv_std, gamma, beta = (rng.normal(size=shape[-1]) for _ in range(4))
    xhat = (x - mean) * inv_std
    dgamma, dbeta = (dy * xhat).sum((0, 1, 2)), dy.sum((0, 1, 2))
    m = x[..., 0].size
    with blocks_of(*sizes):
        assert_close(kernels.batch_statistics(x), (x.mean((0, 1, 2)), x.var((0, 1, 2))))
        assert_close(kernels.batch_norm(x, mean, inv_std, gamma, beta), gamma * xhat + beta)
        assert_close(kernels.batch_norm_sums(dy, x, mean, inv_std), (dgamma, dbeta))
        assert_close(
            kernels.batch_norm_dx(dy, x, mean, inv_std, gamma, dgamma, dbeta),
            gamma * inv_std * (dy - dbeta / m - xhat * dgamma / m),
        )


def assert_moments_agree(kernels, channels, dtype, step=1):
    """Of running statistics in every `step`-th place."""
    rng = np.random.default_rng(0)
    mean, var = rng.normal(size=channels), rng.random(channels)
    pair = []
    for k in (kernels, reference):
        running = [np.full(step * channels, value, dtype)[::step] for value in (3, 0.5)]
        pair.append((*k.batch_norm_moments(mean, var, *running, 0.1, 1.25, 1e-5), *running))
    assert_close(*pair, dtype)
    assert {a.dtype for a in pair[0]} == {np.dtype(dtype)}


@every_set
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_running_statistics_move_towards_the_batchs(kernels, dtype):
    running_mean, running_var = np.array([1, 2], dtype), np.array([3, 4], dtype)
    batch = np.array([2.0, 0.0]), np.array([1.0, 4.0])
    mean, inv_std = kernels.batch_norm_moments(*batch, running_mean, running_var, 0.25, 2.0, 0.0)
    assert_close((running_mean, running_var), (np.array([1.25, 1.5]), np.array([2.75, 5])), dtype)
    assert_close((mean, inv_std), (np.array([2, 0]), np.array([1, 0.5])), dtype)
    assert mean.dtype == inv_std.dtype == dtype
    assert_moments_agree(kernels, 5, dtype)


@cases(30)
@given(shape=shapes(), seed=seeds, dtype=dtypes, layout=layouts, sizes=block_sizes)
def test_blocked_batch_normalization_is_the_references(shape, seed, dtype, layout, sizes):
    rng = np.random.default_rng(seed)
    x, dy = (arranged(rng.normal(size=shape).astype(dtype), layout) for _ in range(2))
    mean, inv_std, gamma, beta = (rng.normal(size=shape[-1]).astype(dtype) for _ in range(4))
    dgamma, dbeta = reference.batch_norm_sums(dy, x, mean, inv_std)
    with blocks_of(*sizes):
        for name, arguments in {
            "batch_statistics": (x,),
            "batch_norm": (x, mean, inv_std, gamma, beta),
            "batch_norm_sums": (dy, x, mean, inv_std),
            "batch_norm_dx": (dy, x, mean, inv_std, gamma, dgamma, dbeta),
        }.items():
            assert_close(getattr(blocked, name)(*arguments), getattr(reference, name)(*arguments), dtype)


@every_set
@pytest.mark.parametrize("rows", [7, 100_003])
@pytest.mark.parametrize(
    ("dtype", "offset", "tol"), [(np.float32, 1e3, 1e-5), (np.float32, 3e5, 1e-5), (np.float64, 1e3, 1e-10)]
)
def test_batch_statistics_keep_their_digits_far_from_zero(kernels, rows, dtype, offset, tol):
    std, c = 0.7, 3  # tol is relative to the standard deviation, not to the mean
    x = np.random.default_rng(0).normal(offset * std, std, (rows, c)).astype(dtype)
    exact = x.astype(np.longdouble)
    mean, var = kernels.batch_statistics(x)
    assert np.abs(mean - exact.mean(0)).max() <= tol * std
    np.testing.assert_allclose(var, exact.var(0).astype(np.float64), rtol=tol)
    assert mean.dtype == var.dtype == np.float64


@every_set
@cases(30)
@given(shape=shapes(), seed=seeds, dtype=dtypes, x_layout=layouts, dy_layout=layouts, sizes=block_sizes)
def test_relu_is_the_positive_part_and_hands_a_nan_on(kernels, shape, seed, dtype, x_layout, dy_layout, sizes):
    rng = np.random.default_rng(seed)
    x = arranged(rng.choice(np.array([-2, -0.5, 0, 0.5, 3, np.nan, np.inf, -np.inf], dtype), shape), x_layout)
    dy = arranged(rng.normal(size=shape).astype(dtype), dy_layout)
    with blocks_of(*sizes):
        y, mask = kernels.relu(x)
        dx = kernels.relu_dx(dy, mask)
    np.testing.assert_array_equal(y, np.where(x < 0, 0, x))
    np.testing.assert_array_equal(mask, x > 0)
    np.testing.assert_array_equal(dx, np.where(x > 0, dy, 0))
    assert mask.dtype == bool and y.dtype == dx.dtype == dtype


@every_set
@cases(30)
@given(shapes(), seeds, dtypes, layouts, layouts, st.sampled_from([0.01, 0.0, -0.37, 3.0]), block_sizes)
def test_leaky_relu_multiplies_what_is_not_positive(kernels, shape, seed, dtype, x_layout, dy_layout, slope, sizes):
    rng = np.random.default_rng(seed)
    x = arranged(rng.choice(np.array([-2, -0.5, 0, 0.5, 3, np.nan, np.inf], dtype), shape), x_layout)
    dy = arranged(rng.choice(np.array([-2, 0.3, np.inf, np.nan], dtype), shape), dy_layout)
    with blocks_of(*sizes), np.errstate(invalid="ignore"):  # 0 * inf
        y, mask = kernels.leaky_relu(x, slope)
        dx = kernels.leaky_relu_dx(dy, mask, slope)
        np.testing.assert_array_equal(y, np.where(x > 0, x, x * slope))
        np.testing.assert_array_equal(dx, np.where(x > 0, dy, dy * slope))
    np.testing.assert_array_equal(mask, x > 0)
    assert mask.dtype == bool and y.dtype == dx.dtype == dtype


@every_set
@cases(30)
@given(shape=shapes(), seed=seeds, dtype=dtypes, x_layout=layouts, dy_layout=layouts, sizes=block_sizes)
def test_silu_is_x_times_its_sigmoid(kernels, shape, seed, dtype, x_layout, dy_layout, sizes):
    rng = np.random.default_rng(seed)
    x = arranged(rng.choice(np.array([-1e4, -90, -20, -1, 0, 0.5, 3, 90, 1e4, np.nan], dtype), shape), x_layout)
    dy = arranged(rng.normal(size=shape).astype(dtype), dy_layout)
    with blocks_of(*sizes):
        y, dx = kernels.silu(x), kernels.silu_dx(dy, x)
    wide = x.astype(np.longdouble)
    with np.errstate(invalid="ignore"):  # NaN
        s = np.exp(-np.logaddexp(0, -wide))  # the sigmoid without an overflow
    assert_close(y, (wide * s).astype(dtype), dtype)
    assert_close(dx, (dy * (s + wide * s * (1 - s))).astype(dtype), dtype)
    assert y.dtype == dx.dtype == dtype


@every_set
@cases(30)
@given(shape=shapes(), seed=seeds, dtype=dtypes, x_layout=layouts, dy_layout=layouts, sizes=block_sizes)
def test_sigmoid_and_tanh_stay_between_their_limits(kernels, shape, seed, dtype, x_layout, dy_layout, sizes):
    rng = np.random.default_rng(seed)
    x = arranged(rng.choice(np.array([-1e4, -90, -20, -1, 0, 0.5, 3, 90, 1e4, np.nan], dtype), shape), x_layout)
    dy = arranged(rng.normal(size=shape).astype(dtype), dy_layout)
    with blocks_of(*sizes):
        s, t = kernels.sigmoid(x), kernels.tanh(x)
        ds, dt = kernels.sigmoid_dx(dy, s), kernels.tanh_dx(dy, t)
    with np.errstate(invalid="ignore"):  # NaN
        wide = np.exp(-np.logaddexp(0, -x.astype(np.longdouble)))
    assert_close((s, t), (wide.astype(dtype), np.tanh(x.astype(np.longdouble)).astype(dtype)), dtype)
    assert_close((ds, dt), (dy * (s * (1 - s)), dy * (1 - t * t)), dtype)
    assert s.dtype == t.dtype == ds.dtype == dt.dtype == dtype


# --------------------------------------------------------------------- loss


def logits_and_labels(kind, n, k, seed, dtype):
    """(N, K) logits as `kind` says, and labels that are never ruled out."""
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(0, 3, (n, k)).astype(dtype), rng.integers(0, k, n)
    if kind == "large":
        logits *= dtype(1e4)
    elif kind == "ruled out":
        others = np.arange(k) != labels[:, None]
        logits[others & (rng.random((n, k)) < 0.3)] = -np.inf
    elif kind == "not finite":
        logits[rng.random((n, k)) < 0.1] = rng.choice([np.nan, np.inf, -np.inf])
    return logits, labels


LOGITS = ("normal", "large", "ruled out", "not finite")


def assert_loss_agrees(kernels, logits, labels, smoothing, dtype):
    with np.errstate(invalid="ignore"):  # inf - inf
        ours, expected = (s.softmax_cross_entropy(logits, labels, smoothing) for s in (kernels, reference))
    tol = 1e-12 if dtype == np.float64 else 1e-5
    for a, b, size in zip(
        ours, expected, (1, 1 / len(logits)), strict=True
    ):  # of the terms whose difference they are
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol * size)
        assert a.shape == b.shape and a.dtype == dtype


# ---------------------------------------------------------------- optimizer


def assert_adam_agrees(kernels, shape, seed, dtype, layout="C", decay=0.0):
    """w, m and v after a step of `kernels` are those after the reference's; g is as before."""
    rng = np.random.default_rng(seed)
    w, g, m, v = rng.normal(size=(4, *shape)).astype(dtype)
    ours, expected = ([arranged(a.copy(), layout) for a in (w, g, m, v * v)] for _ in range(2))
    rule = 0.01, (0.9, 0.99), 0.3, 1e-8, decay
    kernels.adam(*ours, *rule)
    reference.adam(*expected, *rule)
    assert_close(tuple(ours), tuple(expected), dtype)
    np.testing.assert_array_equal(ours[1], g)
    assert not np.array_equal(ours[0], w)
    assert {a.dtype for a in ours} == {np.dtype(dtype)}


@pytest.mark.parametrize("decay", [0.0, 0.1])
@cases(40)
@given(shape=shapes(), seed=seeds, dtype=dtypes, layout=layouts, sizes=block_sizes)
def test_blocked_adam_is_the_references(decay, shape, seed, dtype, layout, sizes):
    with blocks_of(*sizes):
        assert_adam_agrees(blocked, shape, seed, dtype, layout, decay)


# ------------------------------------------------------- dtypes and memory


def calls(dtype):
    """Every kernel's arguments, in `dtype`."""
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, 6, 5, 3)).astype(dtype), rng.normal(size=(2, 3, 3, 4)).astype(dtype)
    w = rng.normal(size=(3, 3, 3, 4)).astype(dtype)
    v = rng.normal(size=3).astype(dtype)
    y, index = reference.max_pool(x, 2, 2, 1)
    return {
        "conv2d": (x, w, 2, 1),
        "conv2d_dw": (x, dy, w.shape, 2, 1),
        "conv2d_dx": (dy, w, x.shape, 2, 1),
        "max_pool": (x, 2, 2, 1),
        "max_pool_dx": (y, index, x.shape, 2, 2, 1),
        "avg_pool": (x, 3, 2, 1),
        "avg_pool_dx": (dy, (2, 6, 5, 4), 3, 2, 1),
        "batch_statistics": (x,),
        "batch_norm": (x, v, v, v, v),
        "batch_norm_sums": (x, x, v, v),
        "batch_norm_dx": (x, x, v, v, v, v, v),
        "batch_norm_moments": (*np.ones((2, 3)), v.copy(), v * v, 0.1, 1.2, 1e-5),
        "relu": (x,),
        "relu_dx": (x, x > 0),
        "leaky_relu": (x, 0.1),
        "leaky_relu_dx": (x, x > 0, 0.1),
        "silu": (x,),
        "silu_dx": (x, x),
        "sigmoid": (x,),
        "sigmoid_dx": (x, x),
        "tanh": (x,),
        "tanh_dx": (x, x),
        "softmax_cross_entropy": (x[0, 0], np.array([2, 0, 1, 1, 0]), 0.1),
        "adam": (*(a.copy() for a in (x, x, x, x * x)), 0.01, (0.9, 0.99), 0.3, 1e-8, 0.1),
    }


@every_set
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(KERNELS - IN_PLACE))
def test_every_kernel_keeps_the_dtype_and_its_arguments(kernels, name, dtype):
    arguments = calls(dtype)[name]
    for a in arguments:
        if isinstance(a, np.ndarray):
            a.flags.writeable = False  # a kernel that writes to its arguments raises
    result = getattr(kernels, name)(*arguments)
    for a in result if isinstance(result, tuple) else (result,):
        if a.dtype.kind == "f":  # all but masks and indices; statistics are summed in float64
            assert a.dtype == (np.float64 if name == "batch_statistics" else dtype)
        assert not any(np.shares_memory(a, b) for b in arguments if isinstance(b, np.ndarray))


@pytest.mark.parametrize("overlap", ["last", "max"])
@every_set
def test_the_deconvnets_unpooling_keeps_the_dtype(kernels, overlap):
    *arguments, kernel, stride, padding = calls(np.float32)["max_pool_dx"]
    assert kernels.max_pool_dx(*arguments, kernel, stride, padding, overlap).dtype == np.float32


@pytest.mark.parametrize(
    ("bound", "sizes"),
    [
        (1, [1] * 16),  # one image at least
        (230_400, [1] * 16),
        (921_600, [4] * 4),
        (1 << 30, [16]),
        (300_000, [1] * 16),
        (500_000, [2] * 8),
        (700_000, [2, 3, 3, 2, 3, 3]),
    ],
)
def test_the_column_buffer_stays_within_its_bound(bound, sizes):
    x, seen = np.ones((16, 20, 20, 8)), []  # 230,400 bytes of columns an image
    with blocks_of(bound, 1, 1):
        for block, patches in blocked._patches(x, (3, 3), 1, 1):
            seen.append(block.stop - block.start)
            assert patches.nbytes == seen[-1] * 230_400
    assert seen == sizes
