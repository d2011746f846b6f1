"""The CUDA kernels, run on the CPU, against the reference: exact wherever the reference adds in the same order."""

import re
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.kernels import cuda, launch, reference
from minidl.kernels.general import cuda as general
from minidl.kernels.general import reference as other
from minidl.kernels.general.window import Window
from tests.cuda.host import HostModule, host_module, on_the_host
from tests.kernels.test_kernels import (
    IN_PLACE,
    KERNELS,
    KINDS,
    LOGITS,
    assert_adam_agrees,
    assert_close,
    assert_loss_agrees,
    assert_moments_agree,
    calls,
    convolution_arrays,
    convolution_by,
    convolutions,
    logits_and_labels,
    pool_input,
)
from tests.strategies import arranged, cases, layouts, seeds, shapes, windows

dtypes = st.sampled_from([np.float32, np.float64])
row_counts, block_counts = st.sampled_from([1, 7, 256]), st.sampled_from([1, 3, 1024])
pytestmark = pytest.mark.compiler


@pytest.fixture(autouse=True, scope="module")
def host():
    with on_the_host():
        yield


def assert_same(a, b):
    """Bit for bit, but for the sign of a zero and the payload of a NaN."""
    for x, y in zip(a, b, strict=True) if isinstance(a, tuple) else [(a, b)]:
        np.testing.assert_array_equal(x, y)
        assert x.dtype == y.dtype


# -------------------------------------------------------------- convolution


@cases(60)
@given(convolutions(), seeds, dtypes, layouts)
def test_im2col_and_col2im_are_the_references(case, seed, dtype, layout):
    shape, (*kernel, _, _), *geometry = case
    rng = np.random.default_rng(seed)
    x = arranged(rng.normal(size=shape).astype(dtype), layout)
    patches = cuda.im2col(x, tuple(kernel), *geometry)
    assert_same(patches, reference.im2col(x, kernel, *geometry))
    dpatches = arranged(rng.normal(size=patches.shape).astype(dtype), layout)
    dx = cuda.col2im(dpatches, shape, tuple(kernel), *geometry)
    assert_same(dx, np.ascontiguousarray(reference.col2im(dpatches, shape, kernel, *geometry)))


@cases(60)
@given(convolutions(), seeds, dtypes, layouts, layouts, st.sampled_from([1, 3000, 1 << 28]))
def test_convolution_is_the_references_in_blocks_of_any_size(case, seed, dtype, x_layout, dy_layout, patch_bytes):
    arrays = convolution_arrays(case, seed, dtype, x_layout, dy_layout)
    with patch.object(cuda, "PATCH_BYTES", patch_bytes):
        assert_close(convolution_by(cuda, *arrays), convolution_by(reference, *arrays), dtype)


# ------------------------------------------------------------------ pooling


@cases(60)
@given(windows(pool=True), seeds, dtypes, layouts)
def test_max_pool_is_the_references_with_ties_nans_and_padding(window, seed, dtype, layout):
    for kind in (*KINDS, "-inf"):
        x = pool_input(kind, window.shape, seed, dtype) if kind != "-inf" else np.full(window.shape, -np.inf, dtype)
        x = arranged(x, layout)
        assert_same(cuda.max_pool(x, *window.geometry), reference.max_pool(x, *window.geometry))


@pytest.mark.parametrize("overlap", ["sum", "last", "max"])
@cases(40)
@given(window=windows(pool=True), seed=seeds, dtype=dtypes, layout=layouts)
def test_unpooling_is_the_references(overlap, window, seed, dtype, layout):
    for kind in KINDS:
        _, index = reference.max_pool(pool_input(kind, window.shape, seed, dtype), *window.geometry)
        dy = arranged(pool_input(kind, index.shape, seed + 1, dtype), layout)
        arguments = dy, arranged(index, layout) if layout == "F" else index, window.shape, *window.geometry, overlap
        with np.errstate(over="ignore", invalid="ignore"):  # the sum of two largest numbers, inf - inf
            assert_same(cuda.max_pool_dx(*arguments), np.ascontiguousarray(reference.max_pool_dx(*arguments)))


@cases(40)
@given(windows(pool=True), seeds, dtypes, layouts, layouts)
def test_average_pooling_is_the_references(window, seed, dtype, x_layout, dy_layout):
    rng = np.random.default_rng(seed)
    x = arranged(rng.normal(size=window.shape).astype(dtype), x_layout)
    y = cuda.avg_pool(x, *window.geometry)
    assert_same(y, reference.avg_pool(x, *window.geometry))
    dy = arranged(rng.normal(size=y.shape).astype(dtype), dy_layout)
    arguments = dy, window.shape, *window.geometry
    assert_same(cuda.avg_pool_dx(*arguments), np.ascontiguousarray(reference.avg_pool_dx(*arguments)))


# ------------------------------------------------ batch normalization, ReLU


def batch_norm_calls(shape, seed, dtype, x_layout="C", dy_layout="C"):
    rng = np.random.default_rng(seed)
    x, dy = (rng.normal(m, 3, shape).astype(dtype) for m in (2, 0))
    x, dy = arranged(x, x_layout), arranged(dy, dy_layout)
    mean, inv_std, gamma, beta = (rng.normal(size=shape[-1]).astype(dtype) for _ in range(4))
    dgamma, dbeta = reference.batch_norm_sums(dy, x, mean, inv_std)
    return {
        "batch_statistics": (x,),
        "batch_norm_sums": (dy, x, mean, inv_std),
        "batch_norm": (x, mean, inv_std, gamma, beta),
        "batch_norm_dx": (dy, x, mean, inv_std, gamma, dgamma, dbeta),
    }


def assert_batch_norm_agrees(arguments, dtype):
    for name in ("batch_norm", "batch_norm_dx"):
        assert_same(getattr(cuda, name)(*arguments[name]), getattr(reference, name)(*arguments[name]))
    for name in ("batch_statistics", "batch_norm_sums"):
        assert_close(getattr(cuda, name)(*arguments[name]), getattr(reference, name)(*arguments[name]), dtype)


@cases(40)
@given(shapes(), seeds, dtypes, layouts, layouts, row_counts, block_counts)
def test_batch_normalization_is_the_references(shape, seed, dtype, x_layout, dy_layout, rows, blocks):
    with patch.object(cuda, "SUM_ROWS", rows), patch.object(cuda, "SUM_BLOCKS", blocks):
        assert_batch_norm_agrees(batch_norm_calls(shape, seed, dtype, x_layout, dy_layout), dtype)


@pytest.mark.parametrize("channels", [1, 31, 32, 33, 128, 200, 255, 256, 257, 600])
def test_any_number_of_channels_is_summed_over_lanes(channels):
    shape = (3, 10, 9, channels)  # 270 rows, so two blocks
    for dtype in (np.float32, np.float64):
        assert_batch_norm_agrees(batch_norm_calls(shape, 0, dtype), dtype)


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_moments_are_the_references(dtype, step):
    for channels in (1, 3, 256, 600):
        assert_moments_agree(cuda, channels, dtype, step)


@pytest.mark.parametrize("rows", [7, 100_003])
@pytest.mark.parametrize(
    ("dtype", "offset", "tol"), [(np.float32, 1e3, 1e-5), (np.float32, 3e5, 1e-5), (np.float64, 1e3, 1e-10)]
)
def test_batch_statistics_keep_their_digits_far_from_zero(rows, dtype, offset, tol):
    std, c = 0.7, 3
    x = np.random.default_rng(0).normal(offset * std, std, (rows, c)).astype(dtype)
    exact = x.astype(np.longdouble)
    mean, var = cuda.batch_statistics(x)
    assert np.abs(mean - exact.mean(0)).max() <= tol * std
    np.testing.assert_allclose(var, exact.var(0).astype(np.float64), rtol=tol)


@cases(30)
@given(shapes(), seeds, dtypes, layouts, layouts)
def test_relu_is_the_references(shape, seed, dtype, x_layout, dy_layout):
    rng = np.random.default_rng(seed)
    numbers = np.array([-2, -0.5, 0, 0.5, 3, np.nan, np.inf, -np.inf], dtype)
    x, dy = arranged(rng.choice(numbers, shape), x_layout), arranged(rng.choice(numbers, shape), dy_layout)
    y, mask = cuda.relu(x)
    assert_same((y, mask), reference.relu(x))
    with np.errstate(invalid="ignore"):  # inf * 0
        assert_same(cuda.relu_dx(dy, mask), reference.relu_dx(dy, mask))


@cases(30)
@given(shapes(), seeds, dtypes, layouts, layouts, st.sampled_from([0.01, 0.0, -0.5, 3.0]))
def test_leaky_relu_is_the_references(shape, seed, dtype, x_layout, dy_layout, slope):
    rng = np.random.default_rng(seed)
    numbers = np.array([-2, -0.5, 0, 0.5, 3, np.nan, np.inf, -np.inf], dtype)
    x, dy = arranged(rng.choice(numbers, shape), x_layout), arranged(rng.choice(numbers, shape), dy_layout)
    with np.errstate(invalid="ignore"):  # 0 * inf
        y, mask = cuda.leaky_relu(x, slope)
        assert_same((y, mask), reference.leaky_relu(x, slope))
        assert_same(cuda.leaky_relu_dx(dy, mask, slope), reference.leaky_relu_dx(dy, mask, slope))


@cases(30)
@given(shapes(), seeds, dtypes, layouts, layouts)
def test_silu_is_the_references(shape, seed, dtype, x_layout, dy_layout):
    rng = np.random.default_rng(seed)
    x = arranged(rng.choice(np.array([-1e4, -90, -20, -1, 0, 0.5, 3, 90, 1e4, np.nan], dtype), shape), x_layout)
    dy = arranged(rng.normal(size=shape).astype(dtype), dy_layout)
    assert_close(cuda.silu(x), reference.silu(x), dtype)
    assert_close(cuda.silu_dx(dy, x), reference.silu_dx(dy, x), dtype)


@cases(30)
@given(shapes(), seeds, dtypes, layouts, layouts)
def test_sigmoid_and_tanh_are_the_references(shape, seed, dtype, x_layout, dy_layout):
    rng = np.random.default_rng(seed)
    x = arranged(rng.choice(np.array([-1e4, -90, -20, -1, 0, 0.5, 3, 90, 1e4, np.nan], dtype), shape), x_layout)
    dy = arranged(rng.normal(size=shape).astype(dtype), dy_layout)
    for name in ("sigmoid", "tanh"):
        y = getattr(reference, name)(x)
        assert_close(getattr(cuda, name)(x), y, dtype)
        assert_close(getattr(cuda, f"{name}_dx")(dy, y), getattr(reference, f"{name}_dx")(dy, y), dtype)


# --------------------------------------------------------------------- loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@cases(25)
@given(n=st.integers(1, 5), k=st.sampled_from([1, 2, 7, 200, 256, 600]), seed=seeds, dtype=dtypes, layout=layouts)
def test_softmax_cross_entropy_is_the_references(smoothing, n, k, seed, dtype, layout):
    for kind in LOGITS:
        logits, labels = logits_and_labels(kind, n, k, seed, dtype)
        assert_loss_agrees(cuda, arranged(logits, layout), labels, smoothing, dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_any_integer_type_labels(dtype):
    logits, labels = logits_and_labels("normal", 4, 9, 0, np.float64)
    assert_loss_agrees(cuda, logits, labels.astype(dtype), 0.1, np.float64)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_no_class_makes_the_loss_nan(label):
    logits, labels = np.zeros((4, 3)), np.array([0, 1, label, 2])
    assert np.isnan(cuda.softmax_cross_entropy(logits, labels, 0.0)[0])
    assert np.isfinite(cuda.softmax_cross_entropy(logits[:2], labels[:2], 0.0)[0])


# ---------------------------------------------------------------- optimizer


@pytest.mark.parametrize("decay", [0.0, 0.1])
@cases(40)
@given(shape=shapes(), seed=seeds, dtype=dtypes, layout=layouts)
def test_adam_is_the_references(decay, shape, seed, dtype, layout):
    assert_adam_agrees(cuda, shape, seed, dtype, layout, decay)


# ------------------------------------------------------------- the contract


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(KERNELS - IN_PLACE))
def test_every_kernel_keeps_the_dtype_and_its_arguments(name, dtype):
    arguments = calls(dtype)[name]
    before = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
    result = getattr(cuda, name)(*arguments)
    for a, b in zip(arguments, before, strict=True):
        np.testing.assert_array_equal(a, b)
    for a in result if isinstance(result, tuple) else (result,):
        if a.dtype.kind == "f":
            assert a.dtype == (np.float64 if name == "batch_statistics" else dtype)
        assert not any(np.shares_memory(a, b) for b in arguments if isinstance(b, np.ndarray))


def relu_arguments():
    x = np.ones(5, np.float32)
    return {"x": x, "y": x.copy(), "mask": x > 0, "threads": np.int32(5)}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"threads": 5}, "threads is int, got <class 'int'>"),
        ({"threads": np.int64(5)}, "threads is int, got int64"),
        ({"x": np.ones(5)}, "x is float, got float64"),
        ({"x": np.ones(10, np.float32)[::2]}, "x is not contiguous"),
        ({"more": np.int32(1)}, "4 parameters, 5 are given"),
    ],
)
def test_the_host_refuses_what_a_gpu_would_misread(wrong, said):
    with pytest.raises(TypeError, match=said):
        launch.kernel("relu", "float")((1,), (256,), tuple({**relu_arguments(), **wrong}.values()))


def test_the_host_refuses_outputs_that_overlap():
    arguments = relu_arguments()
    with pytest.raises(TypeError, match="y overlaps another array"):
        launch.kernel("relu", "float")((1,), (256,), tuple({**arguments, "y": arguments["x"]}.values()))


# ---------------------------------------------------- these tests can fail

PLANTED = [  # (file, what it says, what it says with a bug)
    ("im2col.cu", "inside && h >= 0 && h < H ?", "h >= 0 && h < H && column + n + h >= 0 ?"),
    ("im2col.cu", "int h = stride * oh + kh - padding;", "int h = oh + kh - padding;"),
    ("im2col.cu", "oh >= top; --oh)", "oh > top; --oh)"),
    ("im2col.cu", "kw * C + c]", "kh * C + c]"),
    ("common.cuh", "before / stride + 1", "before / stride"),
    ("common.cuh", "last < windows ? last : windows - 1", "last"),
    ("max_pool.cu", "value > best ||", "value >= best ||"),
    ("max_pool.cu", "value != value && best == best", "value != value"),
    ("max_pool.cu", "(value != value && best == best)", "false"),
    ("max_pool.cu", "real best = __int_as_float(0xff800000)", "real best = 0"),
    ("max_pool.cu", "offset = kh * KW + kw", "offset = kw * KH + kh"),
    ("max_pool.cu", "joined += value", "joined = value"),
    ("max_pool.cu", "overlap == 1 || !touched || ", "!touched || "),
    ("max_pool.cu", "!touched || ", ""),
    ("max_pool.cu", "value > joined || value != value", "value > joined"),
    ("avg_pool.cu", "y[i] = sum * ((real)1 / (rows * columns))", "y[i] = sum"),
    ("avg_pool.cu", "start > -counted ? start : -counted", "start"),
    ("avg_pool.cu", "end < size + counted ? end : size + counted", "end"),
    (
        "avg_pool.cu",
        "count_pixels(ow, W, KW, stride_w, left, counted_w)",
        "count_pixels(oh, H, KH, stride_h, top, 0)",
    ),
    ("max_pool.cu", "w = stride_w * ow + kw - left", "w = stride_h * ow + kw - left"),
    ("max_pool.cu", "(h + top - stride_h * oh) * KW + w", "(h + top - stride_h * oh) * KH + w"),
    ("general_im2col.cu", "dilation_h * kh - top", "kh - top"),
    ("general_im2col.cu", "* G + g) * C + c] : 0", "* G) * C + c] : 0"),
    ("general_im2col.cu", "inside ? x", "h >= 0 && h < H && w + n >= 0 ? x"),
    ("general_im2col.cu", "|| y % stride_h ||", "||"),
    ("general_im2col.cu", "/ stride_w >= OW) continue", "/ stride_w > OW) continue"),
    ("general_im2col.cu", "dilation_w * kw;", "kw;"),
    ("adaptive_avg_pool.cu", "((i + 1) * size + bins - 1) / bins", "(i + 1) * size / bins"),
    ("adaptive_avg_pool.cu", "((h + 1) * bins + size - 1) / size - 1", "h * bins / size"),
    ("adaptive_avg_pool.cu", "return h * bins / size", "return (h * bins + size - 1) / size"),
    ("adaptive_avg_pool.cu", "/ (rows * columns)", "/ rows"),
    ("avg_pool.cu", "h < H && w >= 0", "h <= H && w >= 0 && i"),
    ("avg_pool.cu", "ow >= leftmost; --ow", "ow > leftmost; --ow"),
    ("batch_norm.cu", "(gamma[c] * inv_std[c]) + beta[c]", "gamma[c] + beta[c]"),
    ("batch_norm.cu", "dbeta[c] * per_pixel", "dbeta[c]"),
    ("batch_norm.cu", "var[i] * unbias", "var[i]"),
    (
        "batch_norm.cu",
        "running_mean[i] += momentum * (mean[i] - running_mean[i])",
        "running_mean[i] += momentum * mean[i]",
    ),
    ("batch_norm.cu", "sqrt(var[i] + eps)", "sqrt(var[i])"),
    ("adam.cu", "g[i] + value * decay", "g[i]"),
    ("adam.cu", "gradient * gradient * b2_rest", "gradient * b2_rest"),
    ("adam.cu", "/ root + eps", "+ eps"),
    ("adam.cu", "m[i] = first;", ""),
    ("softmax_cross_entropy.cu", "- largest, log_p", ", log_p"),
    ("softmax_cross_entropy.cu", "> largest) largest", "< largest) largest"),
    ("softmax_cross_entropy.cu", "+ smoothing / K;", ";"),
    ("softmax_cross_entropy.cu", "(smoothing ? smoothing / K * all : 0)", "smoothing / K * all"),
    ("softmax_cross_entropy.cu", "real a = values[t],", "real a = 0,"),
    ("softmax_cross_entropy.cu", "k += BLOCK) total", "k += 2 * BLOCK) total"),
    ("relu.cu", "value < 0 ? real(0) : value", "value > 0 ? value : real(0)"),
    ("relu.cu", "mask[i] = value > 0", "mask[i] = value >= 0"),
    ("leaky_relu.cu", "y[i] = value > 0 ? value : value * slope", "y[i] = value * slope"),
    ("leaky_relu.cu", "mask[i] = value > 0", "mask[i] = value >= 0"),
    ("leaky_relu.cu", "mask[i] ? dy[i] : dy[i] * slope", "dy[i] * slope"),
    ("silu.cu", "y[i] = x[i] * s", "y[i] = s"),
    ("silu.cu", "(1 + x[i] * (1 - s))", "(1 + x[i] * s)"),
    ("sigmoid.cu", "1 / (1 + exp(-x[i]))", "1 / (1 + exp(x[i]))"),
    ("sigmoid.cu", "y[i] * (1 - y[i])", "y[i] * y[i]"),
    ("tanh.cu", "tanh(x[i])", "x[i]"),
    ("tanh.cu", "1 - y[i] * y[i]", "1 - y[i]"),
    ("channel_sums.cu", "t += width", "t += 2 * width"),
    ("channel_sums.cu", "origin = active ? x[start * C + c] : real(0)", "origin = 0"),
    ("channel_sums.cu", "+ n * d * d", "+ d * d"),
    ("channel_sums.cu", "d_squares - d_sum * d_sum / n", "d_squares"),
    ("channel_sums.cu", "partial[(blocks + b) * C + c];\n", "partial[b * C + c];\n"),
    ("channel_sums.cu", "min(rows, M - b * rows)", "rows"),
]


OTHER_WINDOWS = [  # (shape of x, window, padding that counts)
    ((2, 6, 7, 4), Window((3, 2), (2, 3), ((1, 2), (1, 1)), (1, 2)), (1, 0)),
    ((1, 8, 5, 2), Window((2, 3), (1, 2), ((1, 0), (1, 0)), (3, 1)), (0, 1)),
]


def everything_agrees():
    """A few cases of each kernel that between them show every planted bug."""
    rng = np.random.default_rng(0)
    for shape, kernel, stride, padding in [((2, 6, 5, 3), 3, 1, 1), ((2, 7, 8, 2), 4, 2, 0), ((1, 5, 9, 1), 2, 3, 1)]:
        x = rng.normal(size=shape)
        patches = reference.im2col(x, (kernel, kernel), stride, padding)
        assert_same(cuda.im2col(x, (kernel, kernel), stride, padding), patches)
        dx = reference.col2im(patches, shape, (kernel, kernel), stride, padding)
        assert_same(cuda.col2im(patches, shape, (kernel, kernel), stride, padding), dx)
        for kind in KINDS:
            pixels = pool_input(kind, shape, 1, np.float64)
            y, index = reference.max_pool(pixels, kernel, stride, padding)
            assert_same(cuda.max_pool(pixels, kernel, stride, padding), (y, index))
            dy = pool_input(kind, y.shape, 2, np.float64)
            for overlap in ("sum", "last", "max"):
                arguments = dy, index, shape, kernel, stride, padding, overlap
                assert_same(cuda.max_pool_dx(*arguments), reference.max_pool_dx(*arguments))
        y = reference.avg_pool(x, kernel, stride, padding)
        assert_same(cuda.avg_pool(x, kernel, stride, padding), y)
        arguments = y, shape, kernel, stride, padding
        assert_same(cuda.avg_pool_dx(*arguments), reference.avg_pool_dx(*arguments))
    for shape, window, counted in OTHER_WINDOWS:
        x = rng.normal(size=shape)
        patches = other.im2col(x, window, 2)
        assert_same(general.im2col(x, window, 2), patches)
        assert_same(
            general.col2im(patches, shape, window), np.ascontiguousarray(other.col2im(patches, shape, window))
        )
        window = window._replace(dilation=(1, 1))
        y, index = other.max_pool(x, window)
        assert_same(general.max_pool(x, window), (y, index))
        dx = other.max_pool_dx(y, index, shape, window)
        assert_same(general.max_pool_dx(y, index, shape, window), np.ascontiguousarray(dx))
        assert_same(general.avg_pool(x, window, counted), other.avg_pool(x, window, counted))
        dx = other.avg_pool_dx(y, shape, window, counted)
        assert_same(general.avg_pool_dx(y, shape, window, counted), np.ascontiguousarray(dx))
        for size in ((3, 4), (9, 5)):
            y = other.adaptive_avg_pool(x, size)
            assert_close(general.adaptive_avg_pool(x, size), y)
            assert_close(general.adaptive_avg_pool_dx(y, shape), other.adaptive_avg_pool_dx(y, shape))
    for c in (3, 300):
        assert_batch_norm_agrees(batch_norm_calls((1, 300, c), 0, np.float64), np.float64)
    test_batch_statistics_keep_their_digits_far_from_zero(300, np.float64, 1e3, 1e-10)
    x = np.array([-1.0, 0.0, 2.0, np.nan])
    assert_same(cuda.relu(x), reference.relu(x))
    assert_same(cuda.relu_dx(x + 1, x > 0), reference.relu_dx(x + 1, x > 0))
    assert_same(cuda.leaky_relu(x, 0.1), reference.leaky_relu(x, 0.1))
    assert_same(cuda.leaky_relu_dx(x + 1, x > 0, 0.1), reference.leaky_relu_dx(x + 1, x > 0, 0.1))
    assert_close(cuda.silu(x), reference.silu(x))
    assert_close(cuda.silu_dx(x + 1, x), reference.silu_dx(x + 1, x))
    for name in ("sigmoid", "sigmoid_dx", "tanh_dx", "tanh"):
        arguments = (x + 1, x) if name.endswith("dx") else (x,)
        assert_close(getattr(cuda, name)(*arguments), getattr(reference, name)(*arguments))
    assert_adam_agrees(cuda, (3, 5), 0, np.float64, decay=0.1)
    assert_moments_agree(cuda, 5, np.float64)
    for kind in LOGITS:
        for smoothing in (0.0, 0.1):
            assert_loss_agrees(cuda, *logits_and_labels(kind, 3, 300, 0, np.float64), smoothing, np.float64)


def test_the_cases_that_show_planted_bugs_agree_without_one():
    everything_agrees()


@pytest.mark.parametrize(("file", "old", "new"), PLANTED)
def test_a_planted_bug_is_noticed(file, old, new):
    common, *files = re.split(r"(?=#line 1 )", launch.source("double"))[1:]
    (text,) = [text for text in (common, *files) if text.startswith(f'#line 1 "{file}"')]
    assert old in text
    needed = [common, *files] if text is common else [common, text]
    bad = HostModule("typedef double real;\n" + "".join(needed).replace(text, text.replace(old, new)))

    def kernel(name, real):
        return (bad if name in bad.signatures else host_module(real)).get_function(name)

    with patch.object(launch, "kernel", kernel), pytest.raises(AssertionError):
        everything_agrees()
