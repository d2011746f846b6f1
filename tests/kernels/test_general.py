"""Kernels of general windows: the reference against plain loops, every other set against the reference.

The loops know nothing of padding: they ask for each window which of its pixels lie on the image.
"""

import inspect
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.kernels.general import blocked, cuda, reference
from minidl.kernels.general.sets import general_kernels_for
from minidl.kernels.general.window import Window
from minidl.layers import AdaptiveAvgPool2D, GeneralAvgPool2D, GeneralConv2D, GeneralMaxPool2D
from tests.kernels.test_kernels import KINDS, assert_close, pool_input, public_functions
from tests.strategies import arranged, cases, general_convolutions, general_pools, layouts, pairs, seeds, shapes

GENERAL_KERNELS = {
    *("conv2d", "conv2d_dw", "conv2d_dx", "max_pool", "max_pool_dx", "avg_pool", "avg_pool_dx"),
    *("adaptive_avg_pool", "adaptive_avg_pool_dx"),
}
PARTS = {"pad", "unpad", "padded_zeros", "offsets", "im2col", "col2im", "grouped", "counts", "shares", "bins"}
every_set = pytest.mark.parametrize("kernels", [reference, blocked], ids=["reference", "blocked"])
dtypes = st.sampled_from([np.float32, np.float64])
bounds = st.sampled_from([1, 2000, 2 << 20])
joins = st.sampled_from([1, 2, 5, 16])


def blocks_of(patch_bytes, joined=16):
    return patch.multiple(blocked, PATCH_BYTES=patch_bytes, POOL_BYTES=patch_bytes, JOINED=joined)


def test_all_sets_have_the_same_functions_and_signatures():
    assert set(public_functions(reference)) == GENERAL_KERNELS | PARTS
    assert set(public_functions(blocked)) == GENERAL_KERNELS
    assert set(public_functions(cuda)) == GENERAL_KERNELS | {"im2col", "col2im"}
    for kernels in (blocked, cuda):
        for name, function in public_functions(kernels).items():
            assert inspect.signature(function) == inspect.signature(getattr(reference, name)), name


def test_the_type_of_the_array_chooses_the_set():
    assert general_kernels_for(np.ones(1)) is blocked
    assert general_kernels_for(SimpleNamespace()) is reference
    assert general_kernels_for(type("ndarray", (), {"__module__": "cupy"})()) is cuda


# -------------------------------------------------------------- convolution


def windows_by_loops(x_shape, window, out):
    """(oh, ow) and the window's pixels on the image as (kh, kw, h, w), in reading order."""
    (top, _), (left, _) = window.padding
    for oh, ow in np.ndindex(*out):
        pixels = []
        for kh, kw in np.ndindex(*window.kernel):
            h = oh * window.stride[0] + kh * window.dilation[0] - top
            w = ow * window.stride[1] + kw * window.dilation[1] - left
            if 0 <= h < x_shape[1] and 0 <= w < x_shape[2]:
                pixels.append((kh, kw, h, w))
        yield (oh, ow), pixels


def convolution_by_loops(x, w, dy, window):
    """y, dw and dx: filter f sees the channels from (C/G) floor(f / (F/G)) on."""
    *_, c_, f_ = w.shape
    filters = f_ // (x.shape[3] // c_)  # of a group
    y, dw, dx = np.zeros(dy.shape), np.zeros(w.shape), np.zeros(x.shape)
    for (oh, ow), pixels in windows_by_loops(x.shape, window, dy.shape[1:3]):
        for kh, kw, i, j in pixels:
            for n, c, f in np.ndindex(len(x), c_, f_):
                channel = f // filters * c_ + c
                y[n, oh, ow, f] += x[n, i, j, channel] * w[kh, kw, c, f]
                dw[kh, kw, c, f] += x[n, i, j, channel] * dy[n, oh, ow, f]
                dx[n, i, j, channel] += w[kh, kw, c, f] * dy[n, oh, ow, f]
    return y, dw, dx


def convolution_arrays(case, filters, seed, dtype=np.float64, x_layout="C", dy_layout="C"):
    """x, w, dy and the window of a layer with these options."""
    options = case.kernel, case.stride, case.padding, case.dilation, case.groups
    layer = GeneralConv2D(case.shape[3], filters * case.groups, *options, bias=False, dtype=dtype)
    rng = np.random.default_rng(seed)
    x, dy = (rng.normal(size=s).astype(dtype) for s in (case.shape, layer.out_shape(case.shape)))
    w = rng.normal(size=layer.params["weight"].shape).astype(dtype)
    return arranged(x, x_layout), w, arranged(dy, dy_layout), layer.window(case.shape)


def convolution_by(kernels, x, w, dy, window):
    return (
        kernels.conv2d(x, w, window),
        kernels.conv2d_dw(x, dy, w.shape, window),
        kernels.conv2d_dx(dy, w, x.shape, window),
    )


@every_set
@cases(25)
@given(case=general_convolutions(), filters=st.integers(1, 2), seed=seeds, joined=joins)
def test_convolution_and_its_gradients_are_the_seven_loops(kernels, case, filters, seed, joined):
    arrays = convolution_arrays(case, filters, seed)
    with blocks_of(1, joined):
        assert_close(convolution_by(kernels, *arrays), convolution_by_loops(*arrays))


@cases(100)
@given(general_convolutions(7), st.integers(1, 3), seeds, dtypes, layouts, layouts, bounds, joins)
def test_blocked_convolution_is_the_references(case, filters, seed, dtype, x_layout, dy_layout, bound, joined):
    arrays = convolution_arrays(case, filters, seed, dtype, x_layout, dy_layout)
    with blocks_of(bound, joined):
        found = convolution_by(blocked, *arrays)
    assert_close(found, convolution_by(reference, *arrays), dtype)
    assert {a.dtype for a in found} == {np.dtype(dtype)}


@pytest.mark.parametrize("kernel", [(kh, kw) for kh in (1, 2, 3) for kw in (1, 3)], ids=str)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_no_small_geometry_is_an_exception(kernel, stride):
    rng = np.random.default_rng(0)
    for top, right, dilation in np.ndindex(4, 4, 2):  # more padding than a window is wide, on some sides only
        window = Window(kernel, (stride, stride), ((top, 0), (1, right)), (dilation + 1, 1))
        x, w = rng.normal(size=(2, 5, 4, 4)), rng.normal(size=(*kernel, 2, 2))
        dy = rng.normal(size=(2, *window.positions(x.shape), 2))
        assert_close(convolution_by(blocked, x, w, dy, window), convolution_by(reference, x, w, dy, window))


@every_set
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_not_finite_spoils_just_the_windows_and_filters_that_see_it(kernels, bad):
    x, window = np.ones((2, 6, 5, 4)), Window((3, 3), (1, 1), ((1, 1), (1, 1)))
    x[1, 2, 4, 1] = bad  # in the first of two groups
    spoilt = np.zeros(x.shape, bool)
    spoilt[1, 1:4, 3:5, :2] = True
    y, dx = (
        kernels.conv2d(x, np.ones((3, 3, 2, 4)), window),
        kernels.conv2d_dx(x, np.ones((3, 3, 2, 4)), x.shape, window),
    )
    np.testing.assert_array_equal(~np.isfinite(y), spoilt)
    np.testing.assert_array_equal(~np.isfinite(dx), spoilt)


@pytest.mark.parametrize(
    ("groups", "channels", "join"),
    [(32, 4, 4), (32, 8, 2), (32, 16, 1), (32, 64, 1), (3, 2, 3), (7, 4, 1), (6, 4, 3)],
)
def test_narrow_groups_share_a_product(groups, channels, join):
    assert blocked._joined(groups, channels) == join


@pytest.mark.parametrize(
    ("bound", "blocks"),
    [(1, (1, 1)), (7200, (1, 1)), (14400, (1, 2)), (43200, (1, 6)), (86400, (2, 6)), (1 << 30, (4, 6))],
)
def test_the_buffer_of_patches_stays_within_its_bound(bound, blocks):
    x, window, seen = np.ones((4, 5, 5, 24)), Window((3, 3), (1, 1), ((1, 1), (1, 1))), np.zeros((6, 4), int)
    with blocks_of(bound):
        for images, parts, patches in blocked._patches(x, window, 6):  # 7,200 bytes an image and part
            assert (images.stop - images.start, parts.stop - parts.start) == blocks
            assert patches.nbytes <= max(7200, bound)
            seen[parts, images] += 1
    assert (seen == 1).all()


def test_col2im_is_the_transpose_of_im2col_and_unpad_of_pad():
    rng = np.random.default_rng(0)
    x, window = rng.normal(size=(2, 5, 6, 4)), Window((3, 2), (2, 1), ((1, 2), (0, 3)), (1, 2))
    patches, padded = reference.im2col(x, window, 2), reference.pad(x, window)
    dpatches, dpadded = rng.normal(size=patches.shape), rng.normal(size=padded.shape)
    assert (patches * dpatches).sum() == pytest.approx(
        (x * reference.col2im(dpatches, x.shape, window)).sum(), rel=1e-12
    )
    assert (padded * dpadded).sum() == pytest.approx((x * reference.unpad(dpadded, window)).sum(), rel=1e-12)


# ------------------------------------------------------------------ pooling


def pool_by_loops(x, window, shape):
    """(y, index) of max pooling: padding is not looked at."""
    y, index = np.empty(shape, x.dtype), np.empty(shape, np.uint8)
    for (oh, ow), pixels in windows_by_loops(x.shape, window, shape[1:3]):
        for n, c in np.ndindex(shape[0], shape[3]):
            best = None
            for kh, kw, h, w in pixels:
                value = x[n, h, w, c]
                if best is None or value > best or (np.isnan(value) and not np.isnan(best)):
                    best, index[n, oh, ow, c] = value, kh * window.kernel[1] + kw
            y[n, oh, ow, c] = best
    return y, index


def unpool_by_loops(dy, index, x_shape, window, overlap):
    """Windows in rising order of (oh, ow); `hits` collects what each pixel receives."""
    hits = {}
    for (oh, ow), pixels in windows_by_loops(x_shape, window, dy.shape[1:3]):
        places = {kh * window.kernel[1] + kw: (h, w) for kh, kw, h, w in pixels}
        for n, c in np.ndindex(dy.shape[0], dy.shape[3]):
            hits.setdefault((n, *places[index[n, oh, ow, c]], c), []).append(dy[n, oh, ow, c])
    dx = np.zeros(x_shape, dy.dtype)
    for pixel, values in hits.items():
        dx[pixel] = {"sum": sum(values), "last": values[-1], "max": max(values)}[overlap]
    return dx


@every_set
@cases(60)
@given(case=general_pools(2), seed=seeds, dtype=dtypes, layout=layouts, bound=bounds)
def test_the_first_maximum_wins_the_first_nan_wins_over_all_and_padding_never(
    kernels, case, seed, dtype, layout, bound
):
    layer = GeneralMaxPool2D(*case.pool)
    for kind in KINDS:
        x = arranged(pool_input(kind, case.shape, seed, dtype), layout)
        with blocks_of(bound):
            y, index = kernels.max_pool(x, layer.window(x.shape))
        y_loops, index_loops = pool_by_loops(x, layer.window(x.shape), layer.out_shape(x.shape))
        np.testing.assert_array_equal(y, y_loops)
        np.testing.assert_array_equal(index, index_loops)
        assert y.dtype == dtype and index.dtype == np.uint8


@every_set
@pytest.mark.parametrize("overlap", ["sum", "last", "max"])
@cases(30)
@given(case=general_pools(2), seed=seeds, layout=layouts, bound=bounds)
def test_unpooling_joins_windows_that_share_their_maximum_as_asked(kernels, overlap, case, seed, layout, bound):
    window = GeneralMaxPool2D(*case.pool).window(case.shape)
    for kind in KINDS:
        y, index = reference.max_pool(pool_input(kind, case.shape, seed, np.float64), window)
        dy = arranged(np.random.default_rng(seed).normal(size=y.shape), layout)
        with blocks_of(bound):
            dx = kernels.max_pool_dx(dy, index, case.shape, window, overlap)
        assert_close(dx, unpool_by_loops(dy, index, case.shape, window, overlap))


@every_set
def test_the_gradient_of_a_max_pool_sums_unless_told_otherwise(kernels):
    x, window = np.array([0.0, 1.0, 0.0]).reshape(1, 1, 3, 1), Window((1, 2), (1, 1), ((0, 0), (0, 0)))
    _, index = kernels.max_pool(x, window)
    dx = kernels.max_pool_dx(np.array([2.0, -5.0]).reshape(1, 1, 2, 1), index, x.shape, window)
    assert dx.ravel().tolist() == [0, -3, 0]


def average_by_loops(x, dy, window, counted):
    """Counts the pixels of each window that lie on the image and the counted lines around it."""
    y, dx = np.zeros(dy.shape), np.zeros(x.shape)
    around = Window(
        window.kernel, window.stride, tuple((p[0] - k, 0) for p, k in zip(window.padding, counted, strict=True))
    )
    larger = (1, *(size + 2 * k for size, k in zip(x.shape[1:3], counted, strict=True)))
    pairs = zip(
        windows_by_loops(x.shape, window, dy.shape[1:3]),
        windows_by_loops(larger, around, dy.shape[1:3]),
        strict=True,
    )
    for ((oh, ow), pixels), (_, all_pixels) in pairs:
        for _, _, h, w in pixels:
            y[:, oh, ow] += x[:, h, w] / len(all_pixels)
            dx[:, h, w] += dy[:, oh, ow] / len(all_pixels)
    return y, dx


@every_set
@cases(60)
@given(case=general_pools(2), include=st.booleans(), seed=seeds, dtype=dtypes, x_layout=layouts, dy_layout=layouts)
def test_average_pooling_divides_by_the_pixels_that_count(kernels, case, include, seed, dtype, x_layout, dy_layout):
    layer, rng = GeneralAvgPool2D(*case.pool, count_include_pad=include), np.random.default_rng(seed)
    x = arranged(rng.normal(size=case.shape).astype(dtype), x_layout)
    dy = arranged(rng.normal(size=layer.out_shape(x.shape)).astype(dtype), dy_layout)
    options = layer.window(x.shape), case.padding if include else (0, 0)
    found = kernels.avg_pool(x, *options), kernels.avg_pool_dx(dy, x.shape, *options)
    assert_close(found, average_by_loops(x, dy, *options), dtype)
    assert {a.dtype for a in found} == {np.dtype(dtype)}


@every_set
@cases(40)
@given(shape=shapes(), size=pairs(1, 8), seed=seeds, dtype=dtypes, x_layout=layouts, dy_layout=layouts)
def test_adaptive_pooling_takes_the_mean_of_bins_that_cover_the_image(
    kernels, shape, size, seed, dtype, x_layout, dy_layout
):
    rng = np.random.default_rng(seed)
    x = arranged(rng.normal(size=shape).astype(dtype), x_layout)
    dy = arranged(rng.normal(size=AdaptiveAvgPool2D(size).out_shape(shape)).astype(dtype), dy_layout)
    y, dx = np.zeros(dy.shape), np.zeros(shape)
    for i, j in np.ndindex(*size):
        rows = [h for h in range(shape[1]) if i * shape[1] < (h + 1) * size[0] and h * size[0] < (i + 1) * shape[1]]
        columns = [
            w for w in range(shape[2]) if j * shape[2] < (w + 1) * size[1] and w * size[1] < (j + 1) * shape[2]
        ]
        for h in rows:
            for w in columns:
                y[:, i, j] += x[:, h, w] / len(rows) / len(columns)
                dx[:, h, w] += dy[:, i, j] / len(rows) / len(columns)
    found = kernels.adaptive_avg_pool(x, size), kernels.adaptive_avg_pool_dx(dy, shape)
    assert_close(found, (y, dx), dtype)
    assert {a.dtype for a in found} == {np.dtype(dtype)}


# ------------------------------------------------------- dtypes and memory


def general_calls(dtype):
    """Every kernel's arguments, in `dtype`."""
    rng = np.random.default_rng(0)
    x, w, dy = (rng.normal(size=s).astype(dtype) for s in ((2, 6, 5, 4), (3, 2, 2, 4), (2, 3, 5, 4)))
    window, pool = Window((3, 2), (2, 1), ((1, 1), (1, 1)), (1, 2)), Window((3, 2), (2, 1), ((1, 0), (1, 0)))
    _, index = reference.max_pool(x, pool)
    return {
        "conv2d": (x, w, window),
        "conv2d_dw": (x, dy, w.shape, window),
        "conv2d_dx": (dy, w, x.shape, window),
        "max_pool": (x, pool),
        "max_pool_dx": (dy, index, x.shape, pool),
        "avg_pool": (x, pool, (1, 0)),
        "avg_pool_dx": (dy, x.shape, pool, (0, 1)),
        "adaptive_avg_pool": (x, (3, 7)),
        "adaptive_avg_pool_dx": (dy, x.shape),
    }


@every_set
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(GENERAL_KERNELS))
def test_every_kernel_keeps_the_dtype_and_its_arguments(kernels, name, dtype):
    arguments = general_calls(dtype)[name]
    for a in arguments:
        if isinstance(a, np.ndarray):
            a.flags.writeable = False  # a kernel that writes to its arguments raises
    result = getattr(kernels, name)(*arguments)
    for a in result if isinstance(result, tuple) else (result,):
        assert a.dtype == (dtype if a.dtype.kind == "f" else np.uint8)
        assert not any(np.shares_memory(a, b) for b in arguments if isinstance(b, np.ndarray))
