"""The paper's networks: parameter counts, sizes and names as its Tables 1-4 have them."""

import re

import numpy as np
import pytest

import models
from minidl.errors import UsageError
from minidl.layers import INFER, BatchNorm2D, Concat, Conv2D, Dropout
from models.inception import BASELINE, REFINED, THREE_MODULE
from tests.models.narrow import narrow

PAPERS = ["baseline", "refined", "three-module"]
COUNTS = {"baseline": 472_296, "refined": 568_000, "three-module": 523_472}
SIZES = {
    "stem": (62, 62, 128),
    "pool1": (30, 30, 128),
    "inception1": (30, 30, 128),
    "pool2": (16, 16, 128),
    "inception2": (16, 16, 128),
    "inception3": (16, 16, 256),
    "pool3": (8, 8, 256),
    "inception4": (8, 8, 256),
    "avgpool": (256,),
    "fc": (200,),
}


def rows(net, size):
    """(name, output size) of every row of the network for images of `size`."""
    shape, sizes = (1, size, size, 3), {}
    for name, layer in net.layers.items():
        shape = layer.out_shape(shape)
        sizes[name] = shape[1:]
    return sizes


@pytest.mark.parametrize("name", PAPERS)
def test_the_parameters_are_as_many_as_the_paper_says(name):
    net = models.build(name, classes=200)
    assert sum(p.value.size for p in net.named_parameters().values()) == COUNTS[name]


def test_every_row_has_the_papers_output_size():
    wider = SIZES | {"inception4": (8, 8, 320), "avgpool": (320,)}
    assert rows(models.build("baseline"), 64) == SIZES
    assert rows(models.build("refined"), 64) == wider
    assert rows(models.build("three-module"), 64) == {n: s for n, s in wider.items() if n != "inception2"}


def test_refined_differs_from_baseline_in_its_last_module_alone():
    assert [name for name in BASELINE if BASELINE[name] != REFINED[name]] == ["inception4"]
    assert list(REFINED) == list(BASELINE) and set(REFINED) - set(THREE_MODULE) == {"inception2"}


def test_a_module_holds_the_papers_branches_under_their_names():
    net = models.build("refined", classes=7)
    parameters = net.named_parameters()
    module = [n.removeprefix("inception2.") for n in parameters if n.startswith("inception2.")]
    branches = ["b1", "b3_reduce", "b3", "b5_reduce", "b5", "pool"]
    assert module == [f"{b}.{p}" for b in branches for p in ("conv.weight", "bn.gamma", "bn.beta")]
    assert parameters["inception2.b3.conv.weight"].value.shape == (3, 3, 48, 64)
    assert parameters["inception4.b5.conv.weight"].value.shape == (5, 5, 20, 40)
    assert parameters["stem.conv.weight"].value.shape == (3, 3, 3, 128)
    assert list(parameters)[-2:] == ["fc.weight", "fc.bias"]
    assert "inception1.pool.bn.running_var" in net.named_buffers()
    layer = net.layers["inception2"]
    assert isinstance(layer, Concat)
    assert [list(branch.layers) for branch in layer.branches] == [
        *(["b1"], ["b3_reduce", "b3"], ["b5_reduce", "b5"], ["avgpool", "pool"])
    ]


def test_every_convolution_is_followed_by_batch_normalization_and_has_no_bias():
    leaves = list(models.build("baseline").leaves())
    for conv, bn in zip(leaves, leaves[1:], strict=False):
        if isinstance(conv, Conv2D):
            assert isinstance(bn, BatchNorm2D) and "bias" not in conv.params
            assert (bn.eps, bn.momentum) == (1e-5, 0.1)


@pytest.mark.parametrize("name", models.REGISTRY)
@pytest.mark.parametrize("size", [32, 33, 64, 96])
def test_any_number_of_classes_and_any_input_from_32_pixels(name, size):
    net = narrow(name, classes=3)
    shape = (1, size, size + 1, 3)
    assert net.out_shape(shape) == (1, 3)
    if size <= 33:
        y, _ = net.forward(np.ones(shape, np.float32), INFER)
        assert y.shape == (1, 3) and np.isfinite(y).all()


@pytest.mark.parametrize("name", models.REGISTRY)
def test_dropout_stands_before_the_classifier_if_asked_for(name):
    layers = list(narrow(name, dropout=0.4).leaves())
    rates = [0.7, 0.7, 0.4] if name == "googlenet" else [0.4, 0.4] if name.startswith("vgg") else [0.4]
    assert [layer.p for layer in layers if isinstance(layer, Dropout)] == rates
    assert isinstance(layers[-2], Dropout)
    assert not any(isinstance(layer, Dropout) for layer in narrow(name).leaves())


@pytest.mark.parametrize("name", models.REGISTRY)
def test_the_weights_are_a_function_of_the_seed(name):
    a, b, other = (narrow(name, 5, seed=seed).named_parameters() for seed in (3, 3, 4))
    for n, p in a.items():
        np.testing.assert_array_equal(p.value, b[n].value)
        assert not n.endswith("weight") or (p.value != other[n].value).any()


def test_the_weights_are_the_same_in_both_precisions_up_to_rounding():
    single, double = (
        models.build("refined", 5, dtype=dtype).named_parameters() for dtype in (np.float32, np.float64)
    )
    for name, p in single.items():
        assert (p.value.dtype, double[name].value.dtype) == (np.float32, np.float64)
        np.testing.assert_array_equal(p.value, double[name].value.astype(np.float32))


def test_an_unknown_model_is_refused_with_the_names_there_are():
    with pytest.raises(
        UsageError, match="unknown model 'resnet': choose baseline, refined, three-module, convnet, resnet18"
    ):
        models.build("resnet")


@pytest.mark.parametrize("classes", [1, 0, -3, "3", ["cat", "dog"]])
def test_a_classifier_needs_two_classes(classes):
    with pytest.raises(UsageError, match=f"at least 2 classes, got {re.escape(repr(classes))}"):
        models.build("refined", classes)
