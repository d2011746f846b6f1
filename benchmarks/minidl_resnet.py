"""ResNet-18 with a small stem in minidl. Beside it: `torch_resnet.py`.

Source: He et al., Deep residual learning for image recognition, 2015.
"""

from __future__ import annotations

import numpy as np

from benchmarks.settings import CLASSES, RESNET_FILTERS
from minidl.layers import BatchNorm2D, Conv2D, GlobalAvgPool, Layer, Linear, ReLU, Residual, Sequential


def build_resnet(classes: int = CLASSES, seed: int = 0, dtype: type = np.float32) -> Sequential:
    """For images (N, H, W, 3)."""
    rng = np.random.default_rng(seed)

    def conv_bn(channels: int, filters: int, kernel: int, stride: int = 1, relu: bool = False) -> Sequential:
        conv = Conv2D(channels, filters, kernel, stride, padding=kernel // 2, bias=False, rng=rng, dtype=dtype)
        layers = {"conv": conv, "bn": BatchNorm2D(filters, dtype=dtype)}
        return Sequential(layers | ({"relu": ReLU()} if relu else {}))

    def block(channels: int, filters: int, stride: int) -> Sequential:
        first, second = conv_bn(channels, filters, 3, stride, relu=True), conv_bn(filters, filters, 3)
        same = stride == 1 and channels == filters
        body = Sequential({"first": first, "second": second})
        return Sequential(
            {"sum": Residual(body, None if same else conv_bn(channels, filters, 1, stride)), "relu": ReLU()}
        )

    channels = RESNET_FILTERS[0]
    layers: dict[str, Layer] = {"stem": conv_bn(3, channels, 3, relu=True)}
    for stage, filters in enumerate(RESNET_FILTERS, start=1):
        layers[f"block{stage}a"] = block(channels, filters, 1 if stage == 1 else 2)
        layers[f"block{stage}b"] = block(filters, filters, 1)
        channels = filters
    return Sequential(layers | {"avgpool": GlobalAvgPool(), "fc": Linear(channels, classes, rng=rng, dtype=dtype)})
