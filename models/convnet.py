"""A small plain convolutional network: the first model to read and to change."""

from __future__ import annotations

import numpy as np

from minidl.layers import ACTIVATIONS, BatchNorm2D, Conv2D, Dropout, GlobalAvgPool, Linear, MaxPool2D, Sequential


def build_convnet(
    classes: int,
    dropout: float,
    rng: np.random.Generator,
    dtype: type,
    activation: str = "relu",
    widths: tuple[int, ...] = (16, 32, 64),
) -> Sequential:
    """Three blocks of 3x3 convolution, batch normalization, activation and 2x2 max pool, then a linear classifier."""
    layers: dict = {}
    channels = 3
    for i, filters in enumerate(widths, start=1):
        layers[f"conv{i}"] = Conv2D(channels, filters, 3, padding=1, bias=False, rng=rng, dtype=dtype)
        layers[f"bn{i}"] = BatchNorm2D(filters, dtype=dtype)
        layers[f"relu{i}"] = ACTIVATIONS[activation]()
        layers[f"pool{i}"] = MaxPool2D(2)
        channels = filters
    layers["avgpool"] = GlobalAvgPool()
    if dropout:
        layers["dropout"] = Dropout(dropout)
    layers["fc"] = Linear(channels, classes, rng=rng, dtype=dtype)
    return Sequential(layers)
