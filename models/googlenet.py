"""GoogLeNet as rows of data, and the builder that turns rows into layers.

Names and parameters are those of torchvision's network, so that weights can be exchanged with it. It differs from the
paper's in some ways, and so does this one: BN stands after every convolution, with eps 1e-3; the branch called 5x5 is
a 3x3; max pools are as large as the map divided by two and rounded up.

torchvision's trained weights take images x = (pixels / 255 - 0.5) / 0.5 ("transform_input" makes them of others).

Weights start as everywhere in minidl, He normal by fan in.

Source: Szegedy et al., Going deeper with convolutions, 2014, Table 1 and section 5.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidl.layers import (
    ACTIVATIONS,
    AdaptiveAvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    Dropout,
    Flatten,
    GeneralMaxPool2D,
    GlobalAvgPool,
    Layer,
    Linear,
    MaxPool2D,
    Sequential,
    SideHead,
)
from minidl.models.inception import Inception, MaxPool
from minidl.models.vgg import hidden_linear

EPS = 1e-3  # of batch normalizations
SIDE_DROPOUT = 0.7  # of the side heads, if the network has dropout


class Convolution(NamedTuple):
    filters: int
    kernel: int
    stride: int = 1


class Head(NamedTuple):
    """A side head, which reads the map of the row before it: a pool to 4x4, a 1x1, two linear layers."""

    filters: int  # of the 1x1
    hidden: int  # units of the first linear layer


GOOGLENET = {  # 224x224 pixels become
    "conv1": Convolution(64, 7, 2),  # 112x112x64
    "maxpool1": MaxPool(3, 2),  # 56x56
    "conv2": Convolution(64, 1),
    "conv3": Convolution(192, 3),
    "maxpool2": MaxPool(3, 2),  # 28x28x192
    "inception3a": Inception(64, 96, 128, 16, 32, 32),
    "inception3b": Inception(128, 128, 192, 32, 96, 64),
    "maxpool3": MaxPool(3, 2),  # 14x14x480
    "inception4a": Inception(192, 96, 208, 16, 48, 64),
    "aux1": Head(128, 1024),
    "inception4b": Inception(160, 112, 224, 24, 64, 64),
    "inception4c": Inception(128, 128, 256, 24, 64, 64),
    "inception4d": Inception(112, 144, 288, 32, 64, 64),
    "aux2": Head(128, 1024),
    "inception4e": Inception(256, 160, 320, 32, 128, 128),
    "maxpool4": MaxPool(2, 2),  # 7x7x832
    "inception5a": Inception(256, 160, 320, 32, 128, 128),
    "inception5b": Inception(384, 192, 384, 48, 128, 128),  # 7x7x1024
}


class _Builder(NamedTuple):
    """What every layer of the network is made with."""

    classes: int
    dropout: float
    rng: np.random.Generator
    dtype: type
    activation: str

    def chain(self, rows: list[tuple[str, NamedTuple]], channels: int) -> Sequential:
        """The layers of the rows, and the network's end. What follows a side head is a chain of its own."""
        layers: dict[str, Layer] = {}
        for i, (name, row) in enumerate(rows):
            match row:
                case Convolution():
                    layers[name] = self.basic(channels, row.filters, row.kernel, row.stride)
                    channels = row.filters
                case MaxPool():
                    layers[name] = GeneralMaxPool2D(row.kernel, row.stride, row.padding, ceil_mode=True)
                case Inception():
                    layers[name] = self.inception(channels, row)
                    channels = row.b1 + row.b3 + row.b5 + row.pool
                case Head():
                    head = self.head(channels, row)
                    side = SideHead({name: head}, self.chain(rows[i + 1 :], channels))
                    side.unnamed |= {"rest"}
                    chain = Sequential({**layers, f"{name}+rest": side})
                    chain.unnamed = frozenset({f"{name}+rest"})
                    return chain
        layers["avgpool"] = GlobalAvgPool()
        if self.dropout:
            layers["dropout"] = Dropout(self.dropout)
        layers["fc"] = Linear(channels, self.classes, rng=self.rng, dtype=self.dtype)
        return Sequential(layers)

    def basic(self, channels: int, filters: int, kernel: int, stride: int = 1) -> Sequential:
        """Convolution, batch normalization, activation; with padding, so that stride 1 keeps the size of the map."""
        conv = Conv2D(
            channels, filters, kernel, stride, padding=kernel // 2, bias=False, rng=self.rng, dtype=self.dtype
        )
        bn = BatchNorm2D(filters, eps=EPS, dtype=self.dtype)
        return Sequential({"conv": conv, "bn": bn, "relu": ACTIVATIONS[self.activation]()})

    def inception(self, channels: int, row: Inception) -> Concat:
        """Figure 2(b), with a 3x3 as "5x5"."""

        def two(reduced: int, filters: int) -> Sequential:
            return Sequential([self.basic(channels, reduced, 1), self.basic(reduced, filters, 3)])

        return Concat(
            {"branch1": self.basic(channels, row.b1, 1)},
            {"branch2": two(row.b3_reduce, row.b3)},
            {"branch3": two(row.b5_reduce, row.b5)},
            {"branch4": Sequential([MaxPool2D(3, stride=1, padding=1), self.basic(channels, row.pool, 1)])},
        )

    def head(self, channels: int, row: Head) -> Sequential:
        layers: dict[str, Layer] = {
            "avgpool": AdaptiveAvgPool2D(4),
            "conv": self.basic(channels, row.filters, 1),
            "flatten": Flatten(channels_first=True),  # torch's order of the linear layer's rows
            "fc1": hidden_linear(4 * 4 * row.filters, row.hidden, self.rng, self.dtype),
            "relu": ACTIVATIONS[self.activation](),
        }
        if self.dropout:
            layers["dropout"] = Dropout(SIDE_DROPOUT)
        layers["fc2"] = Linear(row.hidden, self.classes, rng=self.rng, dtype=self.dtype)
        return Sequential(layers)


def build_googlenet(
    rows: dict[str, NamedTuple],
    classes: int,
    dropout: float,
    rng: np.random.Generator,
    dtype: type,
    activation: str = "relu",
) -> Sequential:
    """The network of `rows` for images (N, H, W, 3), H and W >= 32.

    In TRAIN mode it returns the scores of its own head and of the side heads, (N, 3, K) (see `SideHead`): the loss
    adds up theirs. In the other modes (N, K). With a `dropout`, the side heads have the paper's 0.7.
    """
    return _Builder(classes, dropout, rng, dtype, activation).chain(list(rows.items()), 3)
