"""Residual networks against torch modules of the same rows: names, weights there and back, both passes."""

import numpy as np
import pytest

from tests.conftest import later

torch = pytest.importorskip("torch", reason=later("parity"))

from torch import nn  # noqa: E402

import models  # noqa: E402
from minidl.engine import fuse  # noqa: E402
from minidl.layers import PROBE, TRAIN  # noqa: E402
from minidl.storage.weights import load_torch_state_dict, to_torch_state_dict  # noqa: E402
from models.resnet import RESNET18  # noqa: E402
from tests.models.test_resnet import BOTTLENECK, rows, thin  # noqa: E402
from tests.parity.torch_models import minidl_pass, torch_pass, twin, worst_error  # noqa: E402
from tests.strategies import randomized  # noqa: E402

pytestmark = pytest.mark.parity
ACTIVATIONS = {"relu": nn.ReLU, "leaky-relu": nn.LeakyReLU, "silu": nn.SiLU}
ENGINES = pytest.mark.parametrize("engine", [lambda net: net, fuse], ids=["plain", "fused"])
BOTH_PASSES = pytest.mark.parametrize("ctx", [TRAIN, PROBE], ids=["train", "eval"])


def conv(channels, filters, kernel, stride=1):
    return nn.Conv2d(channels, filters, kernel, stride, padding=kernel // 2, bias=False)


class Block(nn.Module):
    """torchvision's BasicBlock, or its Bottleneck where there are three convolutions."""

    def __init__(self, channels, row, stride, act):
        super().__init__()
        filters = [row.filters * c.widening for c in row.body]
        strides = [stride, 1] if len(row.body) == 2 else [1, stride, 1]
        for i, (c, f, s) in enumerate(zip(row.body, filters, strides, strict=True), start=1):
            self.add_module(f"conv{i}", conv(channels if i == 1 else filters[i - 2], f, c.kernel, s))
            self.add_module(f"bn{i}", nn.BatchNorm2d(f))
        self.act, self.last, self.downsample = act(), len(row.body), None
        if stride != 1 or channels != filters[-1]:
            self.downsample = nn.Sequential(conv(channels, filters[-1], 1, stride), nn.BatchNorm2d(filters[-1]))

    def forward(self, x):
        out = x
        for i in range(1, self.last + 1):
            out = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(out))
            if i < self.last:
                out = self.act(out)
        return self.act(out + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """torchvision's ResNet; with the stem "small", 3x3 and without a pool."""

    def __init__(self, rows, classes, stem, activation):
        super().__init__()
        act, channels = ACTIVATIONS[activation], rows["layer1"].filters
        self.conv1 = conv(3, channels, 7, 2) if stem == "imagenet" else conv(3, channels, 3)
        self.bn1, self.act = nn.BatchNorm2d(channels), act()
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else nn.Identity()
        for name, row in rows.items():
            blocks = []
            for i in range(row.number):
                blocks.append(Block(channels, row, row.stride if i == 0 else 1, act))
                channels = row.filters * row.body[-1].widening
            self.add_module(name, nn.Sequential(*blocks))
        self.layers, self.fc = list(rows), nn.Linear(channels, classes)

    def forward(self, x):
        x = self.maxpool(self.act(self.bn1(self.conv1(x))))
        for name in self.layers:
            x = getattr(self, name)(x)
        return self.fc(x.mean(dim=(2, 3)))


def narrow(rows):
    return {name: row._replace(filters=row.filters // 16) for name, row in rows.items()}


@pytest.mark.parametrize("stem", ["small", "imagenet"])
def test_names_and_order_are_those_of_torch_and_weights_come_back(stem):
    ours, theirs = models.build("resnet18", 10, stem=stem), ResNet(RESNET18, 10, stem, "relu")
    state = {name: t for name, t in theirs.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert [n for n in to_torch_state_dict(ours) if "running" not in n] == [n for n, _ in theirs.named_parameters()]
    load_torch_state_dict(ours, theirs.state_dict())
    exported = to_torch_state_dict(ours)
    assert exported.keys() == state.keys()
    for name, t in state.items():
        np.testing.assert_array_equal(exported[name], t.numpy())


@ENGINES
@BOTH_PASSES
@pytest.mark.parametrize("stem, activation, body", [
    ("small", "relu", None), ("imagenet", "relu", None), ("small", "silu", None), ("imagenet", "leaky-relu", None),
    ("small", "relu", BOTTLENECK),
])  # fmt: skip
def test_both_passes_of_thin_networks(stem, activation, body, ctx, engine):
    table = rows(body, (1, 2, 1, 1)) if body else RESNET18
    ours = randomized(engine(thin(table, stem=stem, activation=activation)), rng := np.random.default_rng(2))
    theirs = twin(ours, ResNet(narrow(table), 3, stem, activation))
    x, dy = rng.normal(size=(4, 33, 32, 3)), rng.normal(size=(4, 3))
    assert worst_error(minidl_pass(ours, x, dy, ctx), torch_pass(theirs, x, dy, ctx.training)) <= 1e-10


@BOTH_PASSES
def test_both_passes_of_resnet18(ctx):
    ours = fuse(models.build("resnet18", 20, dtype=np.float64, seed=1))
    theirs = twin(ours, ResNet(RESNET18, 20, "small", "relu"))
    rng = np.random.default_rng(3)
    x, dy = rng.normal(size=(3, 32, 32, 3)), rng.normal(size=(3, 20))
    assert worst_error(minidl_pass(ours, x, dy, ctx), torch_pass(theirs, x, dy, ctx.training)) <= 1e-10
