"""The CUDA kernels of general windows, run on the CPU, against the reference: exact where sums have one order."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.kernels.general import cuda, reference
from minidl.layers import GeneralAvgPool2D, GeneralMaxPool2D
from tests.cuda.host import on_the_host
from tests.cuda.test_cuda_kernels import assert_same
from tests.kernels.test_general import convolution_arrays, convolution_by
from tests.kernels.test_kernels import KINDS, assert_close, pool_input
from tests.strategies import arranged, cases, general_convolutions, general_pools, layouts, pairs, seeds, shapes

dtypes = st.sampled_from([np.float32, np.float64])
pytestmark = pytest.mark.compiler


@pytest.fixture(autouse=True, scope="module")
def host():
    with on_the_host():
        yield


@cases(60)
@given(general_convolutions(), seeds, dtypes, layouts)
def test_im2col_and_col2im_are_the_references(case, seed, dtype, layout):
    x, _, _, window = convolution_arrays(case, 1, seed, dtype, layout)
    patches = cuda.im2col(x, window, case.groups)
    assert_same(patches, reference.im2col(x, window, case.groups))
    dpatches = arranged(np.random.default_rng(seed).normal(size=patches.shape).astype(dtype), layout)
    dx = cuda.col2im(dpatches, x.shape, window)
    assert_same(dx, np.ascontiguousarray(reference.col2im(dpatches, x.shape, window)))


@cases(60)
@given(
    general_convolutions(), st.integers(1, 3), seeds, dtypes, layouts, layouts, st.sampled_from([1, 3000, 1 << 28])
)
def test_convolution_is_the_references_in_blocks_of_any_size(
    case, filters, seed, dtype, x_layout, dy_layout, patch_bytes
):
    arrays = convolution_arrays(case, filters, seed, dtype, x_layout, dy_layout)
    with patch.object(cuda, "PATCH_BYTES", patch_bytes):
        found = convolution_by(cuda, *arrays)
    assert_close(found, convolution_by(reference, *arrays), dtype)
    assert {a.dtype for a in found} == {np.dtype(dtype)}


@cases(60)
@given(general_pools(), seeds, dtypes, layouts)
def test_max_pool_is_the_references_with_ties_nans_and_padding(case, seed, dtype, layout):
    window = GeneralMaxPool2D(*case.pool).window(case.shape)
    for kind in KINDS:
        x = arranged(pool_input(kind, case.shape, seed, dtype), layout)
        assert_same(cuda.max_pool(x, window), reference.max_pool(x, window))


@pytest.mark.parametrize("overlap", ["sum", "last", "max"])
@cases(40)
@given(case=general_pools(), seed=seeds, dtype=dtypes, layout=layouts)
def test_unpooling_is_the_references(overlap, case, seed, dtype, layout):
    window = GeneralMaxPool2D(*case.pool).window(case.shape)
    for kind in KINDS:
        _, index = reference.max_pool(pool_input(kind, case.shape, seed, dtype), window)
        dy = arranged(pool_input(kind, index.shape, seed + 1, dtype), layout)
        arguments = dy, arranged(index, layout) if layout == "F" else index, case.shape, window, overlap
        with np.errstate(over="ignore", invalid="ignore"):  # the sum of two largest numbers, inf - inf
            assert_same(cuda.max_pool_dx(*arguments), np.ascontiguousarray(reference.max_pool_dx(*arguments)))


@cases(60)
@given(general_pools(), st.booleans(), seeds, dtypes, layouts, layouts)
def test_average_pooling_is_the_references(case, include, seed, dtype, x_layout, dy_layout):
    layer, rng = GeneralAvgPool2D(*case.pool, count_include_pad=include), np.random.default_rng(seed)
    options = layer.window(case.shape), case.padding if include else (0, 0)
    x = arranged(rng.normal(size=case.shape).astype(dtype), x_layout)
    y = cuda.avg_pool(x, *options)
    assert_same(y, reference.avg_pool(x, *options))
    dy = arranged(rng.normal(size=y.shape).astype(dtype), dy_layout)
    expected = reference.avg_pool_dx(dy, x.shape, *options)
    assert_same(cuda.avg_pool_dx(dy, x.shape, *options), np.ascontiguousarray(expected))


@cases(60)
@given(shapes(), pairs(1, 8), seeds, dtypes, layouts, layouts)
def test_adaptive_pooling_is_the_references(shape, size, seed, dtype, x_layout, dy_layout):
    rng = np.random.default_rng(seed)
    x = arranged(rng.normal(size=shape).astype(dtype), x_layout)
    y = cuda.adaptive_avg_pool(x, size)
    assert_close(y, reference.adaptive_avg_pool(x, size), dtype)
    dy = arranged(rng.normal(size=y.shape).astype(dtype), dy_layout)
    dx = cuda.adaptive_avg_pool_dx(dy, shape)
    assert_close(dx, reference.adaptive_avg_pool_dx(dy, shape), dtype)
    assert y.dtype == dx.dtype == dtype
