"""Residual networks as rows of data, and the builder that turns rows into layers.

Names and parameters are those of torchvision's networks, so that weights can be exchanged with them. The stem of the
paper is for photos of 224x224 pixels: it makes maps of 56x56 of them. Of 64x64 pixels it would leave 16x16, so there
is a second stem, which keeps the size of the image.

Weights start as everywhere in minidl, He normal by fan in, and gamma as 1. (torchvision takes fan out, which differs
where the number of channels changes; BN divides by it again.)

Sources: He et al., Deep residual learning for image recognition, 2015, section 3.3, Table 1 and section 4.1; Xie et
al., Aggregated residual transformations for deep neural networks, 2016, Table 1 (ResNeXt-50, 32x4d).
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from minidl.layers import (
    ACTIVATIONS,
    BatchNorm2D,
    Conv2D,
    Dropout,
    GeneralConv2D,
    GlobalAvgPool,
    Layer,
    Linear,
    MaxPool2D,
    Residual,
    Sequential,
)


class Convolution(NamedTuple):
    """One of a block's convolutions."""

    kernel: int
    widening: int = 1  # it has so many times the filters of its row
    groups: int = 1  # into which its channels are divided, each with filters of its own


class Blocks(NamedTuple):
    """A row of Table 1: residual blocks, the first of which has the stride."""

    number: int
    filters: int
    stride: int
    body: tuple[Convolution, ...]


class Stem(NamedTuple):
    kernel: int
    stride: int
    pool: bool  # 3x3 max pool with stride 2 after it


BASIC = (Convolution(3), Convolution(3))  # Figure 5, left
SPLIT = (Convolution(1, widening=2), Convolution(3, widening=2, groups=32), Convolution(1, widening=4))
RESNET18 = {
    "layer1": Blocks(2, 64, 1, BASIC),
    "layer2": Blocks(2, 128, 2, BASIC),
    "layer3": Blocks(2, 256, 2, BASIC),
    "layer4": Blocks(2, 512, 2, BASIC),
}
RESNET34 = {
    "layer1": Blocks(3, 64, 1, BASIC),
    "layer2": Blocks(4, 128, 2, BASIC),
    "layer3": Blocks(6, 256, 2, BASIC),
    "layer4": Blocks(3, 512, 2, BASIC),
}
RESNEXT50 = {
    "layer1": Blocks(3, 64, 1, SPLIT),
    "layer2": Blocks(4, 128, 2, SPLIT),
    "layer3": Blocks(6, 256, 2, SPLIT),
    "layer4": Blocks(3, 512, 2, SPLIT),
}
STEMS = {"small": Stem(3, 1, pool=False), "imagenet": Stem(7, 2, pool=True)}


def build_resnet(
    rows: dict[str, Blocks],
    classes: int,
    dropout: float,
    rng: np.random.Generator,
    dtype: type,
    stem: str = "small",
    activation: str = "relu",
) -> Sequential:
    """The network of `rows` for images (N, H, W, 3). `stem` is one of STEMS: "small" for images of about 32 to 96
    pixels, "imagenet" for larger ones.
    """
    first, channels = STEMS[stem], next(iter(rows.values())).filters
    layers: dict[str, Layer] = _conv_bn(3, channels, first.kernel, first.stride, ("conv1", "bn1"), rng, dtype)
    layers["relu"] = ACTIVATIONS[activation]()
    if first.pool:
        layers["maxpool"] = MaxPool2D(3, 2, padding=1)
    for name, row in rows.items():
        blocks = {}
        for i in range(row.number):
            blocks[str(i)] = _block(channels, row, row.stride if i == 0 else 1, activation, rng, dtype)
            channels = row.filters * row.body[-1].widening
        layers[name] = Sequential(blocks)
    layers["avgpool"] = GlobalAvgPool()
    if dropout:
        layers["dropout"] = Dropout(dropout)
    layers["fc"] = Linear(channels, classes, rng=rng, dtype=dtype)
    return Sequential(layers)


def _conv_bn(
    channels: int,
    filters: int,
    kernel: int,
    stride: int,
    names: tuple[str, str],
    rng: np.random.Generator,
    dtype: type,
    groups: int = 1,
) -> dict[str, Layer]:
    """Convolution and batch normalization; with padding, so that stride 1 keeps the size of the map."""
    kind = Conv2D if groups == 1 else partial(GeneralConv2D, groups=groups)
    conv = kind(channels, filters, kernel, stride, padding=kernel // 2, bias=False, rng=rng, dtype=dtype)
    return dict(zip(names, (conv, BatchNorm2D(filters, dtype=dtype)), strict=True))


def _block(channels: int, row: Blocks, stride: int, activation: str, rng: np.random.Generator, dtype: type) -> Layer:
    """Convolutions with a way around them, and the activation after the sum (Figure 2). The first convolution that is
    not 1x1 has the stride, as in torchvision. On the way around is a 1x1 convolution where the shape changes (section
    4.1, option B).
    """
    body: dict[str, Layer] = {}
    inside, left = channels, stride
    for i, (kernel, widening, groups) in enumerate(row.body, start=1):
        filters, own = row.filters * widening, left if kernel > 1 else 1
        body |= _conv_bn(inside, filters, kernel, own, (f"conv{i}", f"bn{i}"), rng, dtype, groups)
        if i < len(row.body):
            body[f"relu{i}"] = ACTIVATIONS[activation]()
        inside, left = filters, left // own
    same = stride == 1 and channels == inside
    around = Sequential(_conv_bn(channels, inside, 1, stride, ("0", "1"), rng, dtype))
    added = Residual(body, None if same else {"downsample": around})
    block = Sequential({"sum": added, "relu": ACTIVATIONS[activation]()})
    block.unnamed = frozenset({"sum"})
    return block
