"""VGG's networks as rows of data, and the builder that turns rows into layers.

Names and parameters are those of torchvision's networks, so that weights can be exchanged with them. Most of the
parameters are in the first linear layer, which reads a map of 7x7x512: 103 of the 138 million of vgg16.

Weights start as everywhere in minidl, He normal by fan in, and biases as 0. Without batch normalization (and in the
paper) the networks need that care: a signal that shrinks in each of 16 layers would not arrive.

Source: Simonyan & Zisserman, Very deep convolutional networks for large-scale image recognition, 2014, Table 1,
columns A and D. Batch normalization came later; torchvision has both forms.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from minidl.layers import (
    ACTIVATIONS,
    AdaptiveAvgPool2D,
    BatchNorm2D,
    Conv2D,
    Dropout,
    Flatten,
    Layer,
    Linear,
    MaxPool2D,
    Sequential,
)

MAP = 7  # pixels of the map that the linear layers read, for images of any size
HIDDEN = 4096  # units of each of the two linear layers before the last


class Convolutions(NamedTuple):
    """A part of a column of Table 1: 3x3 convolutions, and a 2x2 max pool after them."""

    number: int
    filters: int


VGG11 = tuple(map(Convolutions, (1, 1, 2, 2, 2), (64, 128, 256, 512, 512)))
VGG16 = tuple(map(Convolutions, (2, 2, 3, 3, 3), (64, 128, 256, 512, 512)))


def build_vgg(
    rows: tuple[Convolutions, ...],
    classes: int,
    dropout: float,
    rng: np.random.Generator,
    dtype: type,
    activation: str = "relu",
    norm: bool = False,
    hidden: int = HIDDEN,
) -> Sequential:
    """The network of `rows` for images (N, H, W, 3), H and W >= 32; with `norm`, a batch normalization after every
    convolution. `dropout` stands before the second linear layer and before the last (the paper's is 0.5).
    """
    features: list[Layer] = []
    channels = 3
    for row in rows:
        for _ in range(row.number):
            features.append(Conv2D(channels, row.filters, 3, padding=1, rng=rng, dtype=dtype))
            features += [BatchNorm2D(row.filters, dtype=dtype)] if norm else []
            features.append(ACTIVATIONS[activation]())
            channels = row.filters
        features.append(MaxPool2D(2))
    classifier = {
        "0": hidden_linear(MAP * MAP * channels, hidden, rng, dtype),
        "1": ACTIVATIONS[activation](),
        "2": Dropout(dropout),
        "3": hidden_linear(hidden, hidden, rng, dtype),
        "4": ACTIVATIONS[activation](),
        "5": Dropout(dropout),
        "6": Linear(hidden, classes, rng=rng, dtype=dtype),
    }
    return Sequential(
        {
            "features": Sequential(features),
            "avgpool": AdaptiveAvgPool2D(MAP),
            "flatten": Flatten(channels_first=True),  # torch's order of the first linear layer's rows
            "classifier": Sequential(
                {name: layer for name, layer in classifier.items() if dropout or not isinstance(layer, Dropout)}
            ),
        }
    )


def hidden_linear(in_features: int, out_features: int, rng: np.random.Generator, dtype: type) -> Linear:
    """A linear layer with an activation after it: He normal, variance 2 / D (without one, Linear's is 1 / D)."""
    layer = Linear(in_features, out_features, rng=rng, dtype=dtype)
    layer.params["weight"].value[...] *= math.sqrt(2)
    return layer
