"""The networks against numbers that torchvision's have given (`python -m benchmarks.torchvision_parity --golden`)."""

import json
from pathlib import Path

import numpy as np
import pytest

import models
from minidl.engine import fuse
from minidl.layers import PROBE, TRAIN
from minidl.layers.convert import convert
from minidl.storage.weights import load_torch_state_dict, torch_shapes
from tests.models.by_name import CLASSES, array_of, checksum, gradient, images, undrawn
from tests.models.narrow import TORCHVISIONS

FILES = Path(__file__).parent / "golden"
GOLDEN = {name: json.loads((FILES / f"{name}.json").read_text()) for name in TORCHVISIONS}
# VGGs have 130 million parameters and more: one with BN and one without, in float32, where a number near 0 may fall
# on the other side of a ReLU.
TOLERANCES = {name: (1e-6, 1e-6) for name in TORCHVISIONS if not name.startswith("vgg")}
TOLERANCES |= {"vgg11": (1e-4, 2e-2), "vgg16-bn": (1e-4, 2e-2)}


def build(name):
    with undrawn():
        return models.build(name, CLASSES, **({"stem": "imagenet"} if name.startswith("res") else {}))


@pytest.mark.parametrize("name", TORCHVISIONS)
def test_names_shapes_and_counts_are_torchvisions(name):
    net, golden = build(name), GOLDEN[name]
    shapes = torch_shapes(net)
    assert sum(p.size for p in net.named_parameters().values()) == golden["parameters"]
    assert len(shapes) == golden["arrays"]
    for line in golden["first"] + golden["last"]:
        key, _, shape = line.partition(" ")
        assert str(shapes[key]) == shape
    assert checksum(shapes) == golden["names_and_shapes_sha256"]


def assert_close(got, want, what, tol):
    want = np.array(want)
    assert got.shape == want.shape
    error = np.linalg.norm(got - want) / np.linalg.norm(want)
    assert error < tol, f"{what}: {error:.1e}"


@pytest.mark.slow
@pytest.mark.parametrize("name", TOLERANCES)
def test_logits_and_input_gradients_are_torchvisions(name):
    net, x, golden = build(name), images(2, 64), GOLDEN[name]
    load_torch_state_dict(net, {key: array_of(key, shape) for key, shape in torch_shapes(net).items()})
    of_logits, of_dx = TOLERANCES[name]
    if of_dx == of_logits:
        net, x = convert(net, dtype=np.float64), x.astype(np.float64)

    y, cache = net.forward(x, PROBE)
    dx = net.input_grad(gradient(y.shape).astype(y.dtype), cache)
    want = golden["infer"]
    assert_close(y[:, None, ::50], want["logits[:, :, ::50]"], "logits", of_logits)
    assert_close(np.linalg.norm(y), want["logits norm"], "logits norm", of_logits)
    assert_close(dx[:, 3::16, 5::16, 0], want["dx[:, 3::16, 5::16, 0]"], "dx", of_dx)
    assert_close(np.linalg.norm(dx), want["dx norm"], "dx norm", of_dx)

    y, _ = fuse(net).forward(x, TRAIN.at_step(0))
    y = y if y.ndim == 3 else y[:, None]
    want = golden["train"]  # batch statistics of few numbers magnify rounding
    assert_close(y[..., ::50], want["logits[:, :, ::50]"], "logits in training", 10 * of_logits)
    assert_close(np.linalg.norm(y), want["logits norm"], "logits norm in training", 10 * of_logits)
