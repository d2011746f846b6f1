"""Winograd's convolutions are the convolution: their matrices exactly, their results as the reference's."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.engine.convolutions.choice import tile_conv
from minidl.engine.convolutions.patches import PatchConv
from minidl.engine.convolutions.winograd import KERNELS, POINTS, WinogradConv, run_of, transforms, turned
from minidl.engine.convolutions.winograd2d import Winograd2DConv
from minidl.engine.tiles.grid import grid_of
from minidl.engine.tiles.recycler import aligned
from minidl.engine.tiles.runner import Scratch
from minidl.engine.tiles.sums import ProductSum
from minidl.kernels import reference
from tests.engine.test_fused import close
from tests.strategies import arranged, cases, layouts, seeds, windows

F64 = np.dtype(np.float64)
PAIRS = [(m, k) for k in KERNELS for m in range(2, len(POINTS) + 3 - k)]  # a = m + k - 1 points, 4 to 8
FORMS = [(WinogradConv, 3), (WinogradConv, 5), (WinogradConv, 7), (Winograd2DConv, 3), (Winograd2DConv, 5)]
every_form = pytest.mark.parametrize("form, kernel", FORMS)


# --------------------------------------------------------------- the matrices


def exact(matrix):
    """The matrix in fractions: its entries are quotients of small numbers, rounded."""
    fractions = [[Fraction(float(x)).limit_denominator(2000) for x in row] for row in matrix]
    for row, numbers in zip(fractions, matrix, strict=True):
        for fraction, number in zip(row, numbers, strict=True):
            assert abs(float(fraction) - number) <= 1e-14 * max(1, abs(number))
    return fractions


@pytest.mark.parametrize("m, kernel", PAIRS)
@pytest.mark.parametrize("size", [1, 2, 5, 9, 12])
def test_spread_filters_and_gather_are_the_sum_of_a_convolution_exactly(m, kernel, size):
    found = transforms(kernel, size, m, F64)
    spread, gather, filters = exact(found.spread), exact(found.gather), exact(found.filters)
    assert (found.points, found.runs) == (m + kernel - 1, -(-size // m))
    for i in range(size):
        for j in range(kernel):
            for pixel in range(size):
                # The factor of g_j d_pixel in y_i is 1 where pixel = i + j - pad, else 0.
                factor = sum(
                    gather[i][q] * filters[q // found.runs][j] * spread[q][pixel]
                    for q in range(len(spread))
                    if gather[i][q] and spread[q][pixel]
                )
                assert factor == (pixel == i + j - kernel // 2)


def test_a_height_takes_the_runs_with_the_fewest_products():
    for kernel in KERNELS:
        for height in range(1, 41):
            products = {m: (m + kernel - 1) * -(-height // m) for m, k in PAIRS if k == kernel}
            assert products[run_of(kernel, height)] == min(products.values())


def test_the_filters_are_turned_and_their_channels_exchanged():
    w = np.arange(3 * 3 * 2 * 4).reshape(3, 3, 2, 4)
    assert turned(w).shape == (3, 3, 4, 2)
    assert turned(w)[0, 2, 3, 1] == w[2, 0, 1, 3]
    np.testing.assert_array_equal(turned(turned(w)), w)


# ----------------------------------------------------------------- convolutions


def slice_of(rng, shape, dtype, values=None):
    """(array, wider one): the array is a slice of the channels of the wider one; what lies beside it is NaN."""
    before, after = rng.integers(0, 3, 2)
    wide = np.full((*shape[:3], before + shape[3] + after), np.nan, dtype)
    part = wide[..., before : before + shape[3]]
    part[...] = rng.normal(size=shape) if values is None else values
    return part, wide


def errors(rng, conv, geometry, shape, filters, dtype, layout=None):
    """The largest errors of y, dx and dw, over the largest number of each, from float64's reference.

    Three tiles, whose dw are added up; the last one asks for no dx. x, dz, y and dx are slices of wider arrays, or
    only x has the layout asked for.
    """
    kernel, stride, padding = geometry
    weight = (rng.normal(size=(kernel, kernel, shape[3], filters)) / np.sqrt(kernel**2 * shape[3])).astype(dtype)
    w64, scratch, worst, want_dw = weight.astype(np.float64), Scratch(), {"y": 0.0, "dx": 0.0}, 0
    dw = ProductSum(grid_of(3, 1), aligned)
    y_shape = reference.conv2d(np.zeros(shape), w64, stride, padding).shape
    for i in range(3):
        (x, _), (dz, _) = slice_of(rng, shape, dtype), slice_of(rng, y_shape, dtype)
        (y, wide_y), (dx, wide_dx) = (slice_of(rng, s, dtype, np.nan) for s in (y_shape, shape))
        if layout:
            x, (dz, y, dx) = arranged(x, layout), (np.ascontiguousarray(a) for a in (dz, y, dx))
        before = x.copy(), dz.copy()
        conv.forward(x, conv.filters(weight), y, scratch)
        dw.add(i, *conv.backward(dz, x, conv.filters(turned(weight)), dx if i < 2 else None, scratch), scratch)
        np.testing.assert_array_equal(x, before[0])
        np.testing.assert_array_equal(dz, before[1])
        if not layout:  # nothing was written beside the slices
            assert np.isnan(wide_y).sum() == wide_y.size - y.size
            assert np.isnan(wide_dx).sum() == wide_dx.size - (dx.size if i < 2 else 0)
        x, dz = x.astype(np.float64), dz.astype(np.float64)
        want = {"y": (y, reference.conv2d(x, w64, stride, padding))}
        if i < 2:
            want["dx"] = dx, reference.conv2d_dx(dz, w64, shape, stride, padding)
        want_dw = want_dw + reference.conv2d_dw(x, dz, weight.shape, stride, padding)
        for name, (got, wanted) in want.items():
            worst[name] = max(worst[name], off_by(got, wanted))
    got = conv.weight_grad(dw.total.reshape(-1, *weight.shape[2:])).reshape(weight.shape)
    assert got.dtype == dtype and got.shape == weight.shape
    return worst | {"dw": off_by(got, want_dw)}


def off_by(got, want):
    error = np.abs(got - want).max() / max(np.abs(want).max(), 1e-3)  # a window may see nothing but padding
    assert not np.isnan(error)
    return error


def winograd_errors(rng, form, kernel, shape, filters, dtype):
    conv = form(kernel, *shape[:3], np.dtype(dtype))
    return errors(rng, conv, (kernel, 1, kernel // 2), shape, filters, dtype)


shapes = st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(1, 17), st.integers(1, 9))


@cases(200)
@given(st.sampled_from(FORMS), shapes, st.integers(1, 9), seeds)
def test_output_and_gradients_are_the_references(form, shape, filters, seed):
    found = winograd_errors(np.random.default_rng(seed), *form, shape, filters, np.float64)
    assert max(found.values()) < 1e-12, found


@every_form
@pytest.mark.parametrize("first", [1, 11, 21, 31])
def test_every_height_works(form, kernel, first):
    for height in range(first, first + 10):
        shape = (2, height, height % 7 + 1, 3)
        found = winograd_errors(np.random.default_rng(height), form, kernel, shape, 2, np.float64)
        assert max(found.values()) < 1e-12, found


@every_form
@pytest.mark.parametrize("height", [1, 3, 6, 8, 16, 31])
def test_float32_is_off_by_at_most_2e_5_of_the_largest_output(form, kernel, height):
    for width, c, f in ((height, 16, 24), (2, 96, 40)):
        found = winograd_errors(np.random.default_rng(height), form, kernel, (4, height, width, c), f, np.float32)
        assert max(found["y"], found["dx"]) < 2e-5, found
        assert found["dw"] < 5e-5, found  # of noise: what it sums up is much larger than the sum


@cases(100)
@given(windows(pool=False), st.integers(1, 4), seeds, layouts)
def test_a_convolution_by_patches_is_the_reference(window, filters, seed, layout):
    conv, rng = PatchConv(*window.geometry), np.random.default_rng(seed)
    found = errors(rng, conv, window.geometry, window.shape, filters, np.float64, layout)
    assert max(found.values()) < 1e-12, found


def test_tiles_of_other_sizes_and_kernels_may_share_scratch_memory():
    rng, scratch = np.random.default_rng(0), Scratch()
    sizes = [(3, 2, 6, 5, 4), (3, 1, 6, 5, 4), (5, 2, 6, 5, 4), (3, 2, 5, 6, 4), (3, 2, 6, 5, 4)]
    for form in (WinogradConv, Winograd2DConv, WinogradConv):
        for kernel, n, h, w, c in sizes:
            x, weight = rng.normal(size=(n, h, w, c)), rng.normal(size=(kernel, kernel, c, 4))
            y, conv = np.full((n, h, w, 4), np.nan), form(kernel, n, h, w, F64)
            conv.forward(x, conv.filters(weight), y, scratch)
            close(y, reference.conv2d(x, weight, 1, kernel // 2))
    for size, padding in ((6, 1), (4, 2), (2, 3), (6, 1)):  # with their borders they have the same size
        x, weight, conv = rng.normal(size=(2, size, size, 3)), rng.normal(size=(3, 3, 3, 4)), PatchConv(3, 1, padding)
        y = np.full((2, 6, 6, 4), np.nan)
        conv.forward(x, conv.filters(weight), y, scratch)
        close(y, reference.conv2d(x, weight, 1, padding))


@every_form
def test_a_nan_of_one_batch_is_gone_in_the_next(form, kernel):
    rng, scratch, conv = np.random.default_rng(0), Scratch(), form(kernel, 2, 6, 5, F64)
    weight, x = rng.normal(size=(kernel, kernel, 4, 4)), rng.normal(size=(2, 6, 5, 4))
    nan = np.full(x.shape, np.nan)
    filters, back = conv.filters(weight), conv.filters(turned(weight))
    y, dx = np.empty(x.shape), np.empty(x.shape)
    conv.forward(nan, filters, y, scratch)
    conv.backward(nan, nan, back, dx, scratch)
    conv.forward(x, filters, y, scratch)
    dw = np.matmul(*conv.backward(x, x, back, dx, scratch))
    close(y, reference.conv2d(x, weight, 1, kernel // 2))
    close(dx, reference.conv2d_dx(x, weight, x.shape, 1, kernel // 2))
    close(conv.weight_grad(dw.reshape(-1, 4, 4)), reference.conv2d_dw(x, x, weight.shape, 1, kernel // 2))


# ------------------------------------------------------- which form a layer takes


def form_of(w_shape, x_shape, stride=1, padding=None):
    return type(tile_conv(w_shape, stride, w_shape[0] // 2 if padding is None else padding, x_shape, F64))


def test_only_same_convolutions_of_many_channels_go_the_fast_ways():
    x = (4, 16, 16, 128)
    assert form_of((3, 3, 128, 128), x) is Winograd2DConv
    assert form_of((3, 3, 8, 8), (4, 16, 16, 8)) is WinogradConv
    assert form_of((7, 7, 128, 128), x) is WinogradConv
    for w_shape, stride, padding in (
        ((1, 1, 128, 128), 1, 0),
        ((1, 1, 128, 128), 2, 0),
        ((1, 1, 128, 128), 1, 1),
        ((3, 3, 128, 128), 2, 1),
        ((3, 3, 128, 128), 1, 0),
        ((3, 3, 128, 128), 1, 2),
        ((9, 9, 128, 128), 1, 4),
        ((4, 4, 128, 128), 1, 2),
    ):
        assert form_of(w_shape, x, stride, padding) is PatchConv


def test_a_form_and_its_filters_do_not_depend_on_the_number_of_images():
    for kernel in KERNELS:
        for c, f, size in ((8, 8, 7), (40, 48, 9), (128, 96, 4)):
            one, many = (tile_conv((kernel, kernel, c, f), 1, kernel // 2, (n, size, size, c), F64) for n in (1, 50))
            assert type(one) is type(many)
            w = np.random.default_rng(0).normal(size=(kernel, kernel, c, f))
            np.testing.assert_array_equal(one.filters(w), many.filters(w))
