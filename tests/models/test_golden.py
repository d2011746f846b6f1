"""The networks against numbers that torchvision's have given (`python -m benchmarks.torchvision_parity --golden`)."""

import json
from pathlib import Path

import numpy as np
import pytest

import models
from minidl.engine import fuse
from minidl.layers import PROBE, TRAIN
from minidl.storage.weights import load_torch_state_dict, to_torch_state_dict
from tests.models.by_name import CLASSES, array_of, checksum, gradient, images, undrawn
from tests.models.narrow import TORCHVISIONS

GOLDEN = {name: json.loads((Path(__file__).parent / "golden" / f"{name}.json").read_text()) for name in TORCHVISIONS}
TOL = 1e-4  # float32, of the norm


def build(name):
    with undrawn():
        return models.build(name, CLASSES, **({"stem": "imagenet"} if name.startswith("res") else {}))


@pytest.mark.parametrize("name", TORCHVISIONS)
def test_names_shapes_and_counts_are_torchvisions(name):
    net, golden = build(name), GOLDEN[name]
    shapes = {key: a.shape for key, a in to_torch_state_dict(net).items()}
    assert sum(p.size for p in net.named_parameters().values()) == golden["parameters"]
    assert len(shapes) == golden["arrays"]
    for line in golden["first"] + golden["last"]:
        key, _, shape = line.partition(" ")
        assert str(shapes[key]) == shape
    assert checksum(shapes) == golden["names_and_shapes_sha256"]


def numbers(net, training):
    y, cache = net.forward(images(2, 64), TRAIN.at_step(0) if training else PROBE)
    dx = net.backward(gradient(y.shape), cache)
    y = y if y.ndim == 3 else y[:, None]
    return {"logits[:, :, ::50]": y[..., ::50], "logits norm": np.linalg.norm(y),
            "dx[:, 3::16, 5::16, 0]": dx[:, 3::16, 5::16, 0], "dx norm": np.linalg.norm(dx)}  # fmt: skip


def assert_close(got, want, tol):
    for key, value in want.items():
        value = np.array(value)
        assert got[key].shape == value.shape
        error = np.linalg.norm(got[key] - value) / np.linalg.norm(value)
        assert error < tol, f"{key}: {error:.1e}"


@pytest.mark.slow
@pytest.mark.parametrize("name", TORCHVISIONS)
def test_logits_and_input_gradients_are_torchvisions(name):
    net = build(name)
    load_torch_state_dict(net, {key: array_of(key, a.shape) for key, a in to_torch_state_dict(net).items()})
    assert_close(numbers(net, training=False), GOLDEN[name]["infer"], TOL)
    statistics = {key: b.copy() for key, b in net.named_buffers().items()}
    # Batch statistics of few numbers magnify rounding, and a ReLU may fall on its other side.
    want = {key: v for key, v in GOLDEN[name]["train"].items() if key.startswith("logits")}
    assert_close(numbers(fuse(net), training=True), want, 10 * TOL)
    assert all((b != statistics[key]).any() for key, b in net.named_buffers().items())
