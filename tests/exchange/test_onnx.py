"""Exported models in ONNX Runtime and in the reference implementation of ONNX: the same answers."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.conftest import later

pytest.importorskip("onnx", reason=later("parity"))
pytest.importorskip("onnxruntime", reason=later("parity"))

import models  # noqa: E402
from minidl.errors import ShapeError  # noqa: E402
from minidl.layers import (  # noqa: E402
    ACTIVATIONS,
    AdaptiveAvgPool2D,
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    Dropout,
    Flatten,
    GeneralAvgPool2D,
    GeneralConv2D,
    GeneralMaxPool2D,
    GlobalAvgPool,
    Linear,
    MaxPool2D,
    Residual,
    Sequential,
    Sigmoid,
    Tanh,
    freeze,
)
from tests.exchange.runtimes import error, exported, onnxruntime_answer, to_first  # noqa: E402
from tests.models.narrow import TORCHVISIONS, narrow  # noqa: E402
from tests.strategies import cases, randomized, seeds, shapes, windows  # noqa: E402

pytestmark = pytest.mark.parity
CLOSE = 2e-6  # of the largest number: float32, summed in another order


def images(shape, seed, layer=None):
    rng = np.random.default_rng(seed)
    if layer is not None:
        randomized(layer, rng)
    return rng.standard_normal(shape, dtype=np.float32)


def agrees(layer, shape, seed, fold=False):
    """Whether all runtimes compute what the layer computes, whose output is still an image or already a row."""
    try:
        layer.out_shape((5, *shape[1:]))
    except ShapeError:
        assume(False)
    x = images((5, *shape[1:]), seed, layer)
    return error(layer, x, fold) <= CLOSE


# ------------------------------------------------------------------------- each layer


@cases(40)
@given(windows(pool=False), st.integers(1, 5), st.booleans(), seeds)
def test_convolution(window, filters, bias, seed):
    layer = Conv2D(window.shape[-1], filters, *window.geometry, bias)
    assert agrees(layer, window.shape, seed)


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


sizes = st.tuples(st.just(5), st.integers(3, 11), st.integers(3, 11), st.integers(1, 3))


@cases(60)
@given(sizes, pairs(1, 4), pairs(1, 3), pairs(0, 3) | st.just("same"), pairs(1, 3), st.integers(1, 3), seeds)
def test_general_convolution(shape, kernel, stride, padding, dilation, groups, seed):
    channels = shape[-1] * groups
    layer = GeneralConv2D(channels, 2 * groups, kernel, stride, padding, dilation, groups, bias=seed % 2 == 0)
    assert agrees(layer, (*shape[:-1], channels), seed)


@cases(40)
@given(windows(pool=True), st.sampled_from([MaxPool2D, AvgPool2D]), seeds)
def test_pools(window, kind, seed):
    assert agrees(kind(*window.geometry), window.shape, seed)


@cases(80)
@given(sizes, pairs(1, 4), pairs(1, 5), st.tuples(*[st.floats(0, 0.5)] * 2), st.booleans(), st.integers(0, 2), seeds)
def test_general_pools(shape, kernel, stride, padded, ceil_mode, kind, seed):
    padding = tuple(int(k * p) for k, p in zip(kernel, padded, strict=True))
    options = (kernel, stride, padding, ceil_mode)
    layer = GeneralMaxPool2D(*options) if kind == 2 else GeneralAvgPool2D(*options, count_include_pad=kind == 1)
    assert agrees(layer, shape, seed)


@cases(40)
@given(sizes, pairs(1, 7), seeds)
def test_adaptive_average_pool(shape, size, seed):
    assert agrees(AdaptiveAvgPool2D(size), shape, seed)


@cases(20)
@given(shapes(), st.sampled_from([*ACTIVATIONS.values(), Sigmoid, Tanh]), seeds)
def test_activations(shape, kind, seed):
    assert agrees(kind(), shape, seed)


@cases(20)
@given(shapes(), st.sampled_from([1e-5, 1e-2]), st.booleans(), seeds)
def test_batch_normalization(shape, eps, row, seed):
    layer = BatchNorm2D(shape[-1], eps)
    assert agrees(Sequential(GlobalAvgPool(), layer) if row else layer, shape, seed)


@cases(30)
@given(shapes(), st.booleans(), st.booleans(), seeds)
def test_flatten_and_linear(shape, channels_first, bias, seed):
    layer = Sequential(Flatten(channels_first), Dropout(0.5), Linear(int(np.prod(shape[1:])), 7, bias))
    assert agrees(layer, shape, seed)


def test_a_linear_layer_without_images():
    assert agrees(Linear(4, 3), (1, 4), 0)


# --------------------------------------------------------------------------- networks


def network():
    """Every way to connect layers, a layer in two places, and batch normalization where it can't be folded."""
    twice = Conv2D(6, 6, 3, padding=1)
    return Sequential(
        {
            "bn0": BatchNorm2D(3),
            "stem": Sequential(Conv2D(3, 6, 3, bias=False), BatchNorm2D(6), ACTIVATIONS["silu"]()),
            "res": Residual({"a": twice, "bn": BatchNorm2D(6), "b": twice}),
            "down": Residual(Sequential(Conv2D(6, 4, 1), BatchNorm2D(4)), {"around": Conv2D(6, 4, 1)}),
            "cat": Concat({"one": Conv2D(4, 2, 1)}, {"pool": AvgPool2D(3, 1, 1)}, [Tanh(), Sigmoid()]),
            "bn1": BatchNorm2D(10),
            "pool": GlobalAvgPool(),
            "fc1": Linear(10, 8, bias=False),
            "bn2": BatchNorm2D(8),
            "fc2": Linear(8, 5),
        }
    )


@pytest.mark.parametrize("fold", [False, True], ids=["kept", "folded"])
def test_a_network_of_everything(fold):
    model = randomized(network(), np.random.default_rng(0))
    assert error(model, images((5, 9, 12, 3), 1), fold) <= 1e-5


@pytest.mark.parametrize("fold", [False, True], ids=["kept", "folded"])
@pytest.mark.parametrize("size", [64, 75])
@pytest.mark.parametrize("name", ["baseline", "refined", "three-module", "convnet"])
def test_the_small_networks(name, size, fold):
    model = randomized(models.build(name, 20, dropout=0.4), np.random.default_rng(0))
    assert error(model, images((5, size, size, 3), 1), fold, runtimes=[onnxruntime_answer]) <= 1e-5


def test_a_whole_network_in_the_reference_implementation():  # whose pools are loops in Python
    model = randomized(models.build("three-module", 5), np.random.default_rng(0))
    assert error(model, images((2, 32, 32, 3), 1)) <= 1e-5


@pytest.mark.parametrize("fold", [False, True], ids=["kept", "folded"])
@pytest.mark.parametrize("name", TORCHVISIONS)
def test_the_large_networks_with_few_filters(name, fold):
    model = randomized(narrow(name), np.random.default_rng(0))
    assert error(model, images((5, 64, 64, 3), 1), fold, runtimes=[onnxruntime_answer]) <= 1e-5


def test_frozen_layers():
    model = freeze(randomized(models.build("convnet", 4), np.random.default_rng(0)), "pool2")
    assert error(model, images((5, 16, 16, 3), 1)) <= 1e-5


@pytest.mark.parametrize("fold", [False, True], ids=["kept", "folded"])
def test_pixels_are_normalised_in_the_graph(fold):
    model = randomized(models.build("convnet", 4), np.random.default_rng(0))
    mean, std = [0.48, 0.45, 0.4], [0.27, 0.26, 0.28]
    pixels = np.random.default_rng(1).integers(0, 256, (5, 16, 16, 3), np.uint8)
    y = model(((pixels / 255 - mean) / std).astype(np.float32))
    assert error(model, pixels.astype(np.float32), fold, (mean, std), y=y) <= 1e-5


def test_weights_in_float64_are_exported_as_float32():
    model = models.build("convnet", 4, dtype=np.float64)
    x = np.random.default_rng(1).standard_normal((5, 16, 16, 3), dtype=np.float32)
    assert error(model, x, y=model(x.astype(np.float64))) <= 1e-5


def test_the_same_bytes_each_time():
    model = models.build("refined", 20)
    assert exported(model, (64, 64, 3), fold=True) == exported(model, (64, 64, 3), fold=True)


@pytest.mark.parametrize(("name", "layers"), [("stem.relu", 1), ("inception1", 3)])
def test_a_value_in_the_graph_has_the_name_of_its_layer(name, layers):
    import onnx

    model = randomized(models.build("refined", 20), np.random.default_rng(0))
    proto = onnx.load_from_string(exported(model, (64, 64, 3)))
    proto.graph.output.pop()
    proto.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    x = images((2, 64, 64, 3), 0)
    found = onnxruntime_answer(proto.SerializeToString(), to_first(x))
    np.testing.assert_allclose(found, to_first(model[:layers](x)), atol=1e-4)
