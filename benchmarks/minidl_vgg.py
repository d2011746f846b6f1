"""A plain VGG-like net in minidl: nothing but 3x3 convolutions and max pools. Beside it: `torch_vgg.py`."""

from __future__ import annotations

import numpy as np

from benchmarks.settings import CLASSES, VGG_FILTERS
from minidl.layers import GlobalAvgPool, Layer, Linear, MaxPool2D, Sequential
from models.inception import conv_bn_relu


def build_vgg(classes: int = CLASSES, seed: int = 0, dtype: type = np.float32) -> Sequential:
    """For images (N, H, W, 3), H and W >= 8."""
    rng = np.random.default_rng(seed)
    layers: dict[str, Layer] = {}
    channels = 3
    for i, filters in enumerate(VGG_FILTERS, start=1):
        layers[f"conv{i}a"] = conv_bn_relu(channels, filters, 3, rng, dtype, padding=1)
        layers[f"conv{i}b"] = conv_bn_relu(filters, filters, 3, rng, dtype, padding=1)
        layers[f"pool{i}"] = MaxPool2D(2)
        channels = filters
    return Sequential(layers | {"avgpool": GlobalAvgPool(), "fc": Linear(channels, classes, rng=rng, dtype=dtype)})
