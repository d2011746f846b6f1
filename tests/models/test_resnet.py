"""Residual networks: torchvision's parameters and names, both stems, every activation, and right derivatives."""

import numpy as np
import pytest

import models
from minidl.diagnostics.gradcheck import assert_gradients
from minidl.diagnostics.summary import summary
from minidl.errors import UsageError
from minidl.layers import ACTIVATIONS, INFER, Conv2D, Mode, ReLU
from models.resnet import BASIC, RESNET18, Blocks, Convolution, build_resnet
from tests.models.by_name import undrawn
from tests.strategies import randomized

BOTTLENECK = (Convolution(1), Convolution(3), Convolution(1, widening=4))  # Figure 5, right
TORCHVISION = {"18": (BASIC, (2, 2, 2, 2), 11_689_512), "34": (BASIC, (3, 4, 6, 3), 21_797_672),
               "50": (BOTTLENECK, (3, 4, 6, 3), 25_557_032)}  # fmt: skip


def rows(body, numbers):
    sizes = zip(numbers, (64, 128, 256, 512), (1, 2, 2, 2), strict=True)
    return {f"layer{i}": Blocks(*size, body) for i, size in enumerate(sizes, start=1)}


def whole(name, *args, **options):
    with undrawn():
        return models.build(name, *args, **options)


def thin(rows=RESNET18, filters=4, classes=3, dtype=np.float64, **options):
    """The network with so many filters in its first row."""
    narrow = {name: row._replace(filters=row.filters * filters // 64) for name, row in rows.items()}
    return build_resnet(narrow, classes, 0.0, np.random.default_rng(0), dtype, **options)


@pytest.mark.parametrize("depth", TORCHVISION)
def test_networks_of_these_rows_have_as_many_parameters_as_torchvisions(depth):
    body, numbers, parameters = TORCHVISION[depth]
    with undrawn():
        net = build_resnet(rows(body, numbers), 1000, 0.0, np.random.default_rng(0), np.float32, stem="imagenet")
    assert sum(p.size for p in net.named_parameters().values()) == parameters


def test_an_image_costs_what_it_costs_in_torchvision():
    assert rows(BASIC, (2, 2, 2, 2)) == RESNET18
    costs = summary(whole("resnet18", 1000, stem="imagenet"), (1, 224, 224, 3))
    assert (costs.parameters, costs.multiply_adds) == (11_689_512, 1_814_073_344)


def test_the_stem_for_small_images_keeps_their_size():
    small, imagenet = (whole("resnet18", 200, stem=stem) for stem in ("small", "imagenet"))
    assert small["conv1"].params["weight"].shape == (3, 3, 3, 64)
    assert imagenet["conv1"].params["weight"].shape == (7, 7, 3, 64)
    assert list(imagenet.layers)[3] == "maxpool" and "maxpool" not in small.layers
    assert small[:3].out_shape((1, 64, 64, 3)) == (1, 64, 64, 64)
    assert imagenet[:4].out_shape((1, 224, 224, 3)) == (1, 56, 56, 64)
    assert list(whole("resnet18", 200).named_parameters()) == list(small.named_parameters())
    assert whole("resnet18")["conv1"].params["weight"].shape == (3, 3, 3, 64)


def test_a_block_has_torchvisions_names():
    names = whole("resnet18").named_parameters()
    first = [name.removeprefix("layer2.0.") for name in names if name.startswith("layer2.0.")]
    assert first == ["conv1.weight", "bn1.gamma", "bn1.beta", "conv2.weight", "bn2.gamma", "bn2.beta",
                     "downsample.0.weight", "downsample.1.gamma", "downsample.1.beta"]  # fmt: skip
    assert not any("downsample" in name for name in names if name.startswith(("layer1", "layer2.1")))
    assert list(names)[0] == "conv1.weight" and list(names)[-2:] == ["fc.weight", "fc.bias"]


def test_a_block_is_zero_where_its_sum_is_negative():
    net = randomized(thin(), np.random.default_rng(0))
    y, _ = net[:4].forward(np.random.default_rng(1).normal(size=(2, 16, 16, 3)), INFER)
    assert y.min() == 0 and (y > 0).any()


def test_the_first_convolution_that_is_not_1x1_has_the_stride():
    net = thin(rows(BOTTLENECK, (1, 1, 1, 1)))
    strides = [leaf.stride for leaf in net["layer2.0"].leaves() if isinstance(leaf, Conv2D)]
    assert strides == [1, 2, 1, 2]  # conv1, conv2, conv3, downsample.0
    assert net.out_shape((2, 32, 32, 3)) == (2, 3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_activation_stands_after_every_convolution_and_sum(activation):
    kinds = [type(leaf) for leaf in whole("resnet18", activation=activation).leaves()]
    assert kinds.count(ACTIVATIONS[activation]) == 1 + 8 * 2
    assert activation == "relu" or ReLU not in kinds
    convnet = [type(leaf) for leaf in whole("convnet", activation=activation).leaves()]
    assert convnet.count(ACTIVATIONS[activation]) == 3


@pytest.mark.slow
@pytest.mark.parametrize("mode", [Mode.TRAIN, Mode.PROBE])
@pytest.mark.parametrize("stem, activation", [("small", "relu"), ("imagenet", "leaky-relu"), ("small", "silu")])
def test_the_derivatives_are_right(mode, stem, activation):
    rng = np.random.default_rng(1)
    short = {name: row._replace(number=1) for name, row in RESNET18.items()}
    net = randomized(thin(short, stem=stem, activation=activation), rng)
    report = assert_gradients(net, rng.normal(size=(3, 18, 17, 3)), 1e-5, mode=mode, coordinates=2)
    assert report.skipped_share < 0.5


@pytest.mark.parametrize("name, options, message", [
    ("refined", {"stem": "small"}, "stem 'small' is not for refined: it is for resnet18"),
    ("refined", {"activation": "silu"}, "activation 'silu' is not for refined: it is for convnet, resnet18"),
    ("convnet", {"stem": "imagenet"}, "stem 'imagenet' is not for convnet"),
    ("resnet18", {"stem": "large"}, "unknown stem 'large': choose small, imagenet"),
    ("resnet18", {"activation": "gelu"}, "unknown activation 'gelu': choose relu, leaky-relu, silu"),
])  # fmt: skip
def test_a_choice_that_a_network_does_not_have_is_refused(name, options, message):
    with pytest.raises(UsageError, match=message):
        models.build(name, **options)
