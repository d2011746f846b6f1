"""The paper's networks as rows of data, and the builder that turns rows into layers.

Source: Boigné & Heyse, Tiny ImageNet Challenge: Investigating the Scaling of Inception Layers for Reduced
Scale Classification Problems, 2017, Tables 1-4 and Figures 1-2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from minidl.layers import (
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    Dropout,
    GlobalAvgPool,
    Layer,
    Linear,
    MaxPool2D,
    ReLU,
    Sequential,
)


class Stem(NamedTuple):
    filters: int  # 3x3, stride 1, unpadded


class MaxPool(NamedTuple):
    kernel: int
    stride: int
    padding: int = 0


class Inception(NamedTuple):
    """A row of Table 2 or 4."""

    b1: int  # 1x1
    b3_reduce: int  # 1x1 before the 3x3 ("3x3 red")
    b3: int  # 3x3
    b5_reduce: int  # 1x1 before the 5x5 ("5x5 red")
    b5: int  # 5x5
    pool: int  # 1x1 after the average pool


# Tables 1 and 2. The second max pool needs a padding of 1 to turn 30x30 into the paper's 16x16.
BASELINE = {
    "stem": Stem(128),  # 62x62x128
    "pool1": MaxPool(4, 2),  # 30x30x128
    "inception1": Inception(32, 48, 64, 8, 16, 16),
    "pool2": MaxPool(2, 2, padding=1),  # 16x16x128
    "inception2": Inception(32, 48, 64, 8, 16, 16),
    "inception3": Inception(64, 96, 128, 16, 32, 32),
    "pool3": MaxPool(2, 2),  # 8x8x256
    "inception4": Inception(64, 96, 128, 16, 32, 32),
}
# Tables 3 and 4: only the last module differs.
REFINED = {**BASELINE, "inception4": Inception(80, 120, 160, 20, 40, 40)}
# Section 3.2.2 mentions a network with three modules and gives no table: refined without module 2 is ours.
THREE_MODULE = {name: row for name, row in REFINED.items() if name != "inception2"}


def conv_bn_relu(
    in_channels: int, filters: int, kernel: int, rng: np.random.Generator, dtype: type, padding: int = 0
) -> Sequential:
    """Convolution, batch normalization, ReLU (section 2.2: every convolution of the paper). No bias: beta is one."""
    return Sequential(
        {
            "conv": Conv2D(in_channels, filters, kernel, padding=padding, bias=False, rng=rng, dtype=dtype),
            "bn": BatchNorm2D(filters, dtype=dtype),
            "relu": ReLU(),
        }
    )


def inception(in_channels: int, row: Inception, rng: np.random.Generator, dtype: type) -> Concat:
    """Figure 1: four parallel branches with the same input, joined in this order along the channels."""
    return Concat(
        [
            {"b1": conv_bn_relu(in_channels, row.b1, 1, rng, dtype)},
            {
                "b3_reduce": conv_bn_relu(in_channels, row.b3_reduce, 1, rng, dtype),
                "b3": conv_bn_relu(row.b3_reduce, row.b3, 3, rng, dtype, padding=1),
            },
            {
                "b5_reduce": conv_bn_relu(in_channels, row.b5_reduce, 1, rng, dtype),
                "b5": conv_bn_relu(row.b5_reduce, row.b5, 5, rng, dtype, padding=2),
            },
            {
                "avgpool": AvgPool2D(3, stride=1, padding=1),
                "pool": conv_bn_relu(in_channels, row.pool, 1, rng, dtype),
            },
        ]
    )


def build_inception(
    rows: dict[str, NamedTuple], classes: int, dropout: float, rng: np.random.Generator, dtype: type
) -> Sequential:
    """The network of `rows` for images (N, H, W, 3), H and W >= 32.

    Its last pool averages the whole map (the paper's 8x8), so that other input sizes work too.
    """
    return Sequential(dict(_layers(rows, classes, dropout, rng, dtype)))


def _layers(rows, classes, dropout, rng, dtype) -> Iterator[tuple[str, Layer]]:
    channels = 3
    for name, row in rows.items():
        match row:
            case Stem():
                yield name, conv_bn_relu(channels, row.filters, 3, rng, dtype)
                channels = row.filters
            case MaxPool():
                yield name, MaxPool2D(row.kernel, row.stride, row.padding)
            case Inception():
                yield name, inception(channels, row, rng, dtype)
                channels = row.b1 + row.b3 + row.b5 + row.pool
    yield "avgpool", GlobalAvgPool()
    if dropout:
        yield "dropout", Dropout(dropout)
    yield "fc", Linear(channels, classes, rng=rng, dtype=dtype)
