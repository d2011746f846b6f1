"""The VGG-like net in PyTorch, layer for layer and name for name as `minidl_vgg.py` has it."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from benchmarks.settings import CLASSES, VGG_FILTERS
from benchmarks.torch_refined import ConvBNReLU


def vgg(classes: int = CLASSES) -> nn.Sequential:
    """For images (N, 3, H, W), H and W >= 8."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = 3
    for i, filters in enumerate(VGG_FILTERS, start=1):
        layers[f"conv{i}a"] = ConvBNReLU(channels, filters, 3, padding=1)
        layers[f"conv{i}b"] = ConvBNReLU(filters, filters, 3, padding=1)
        layers[f"pool{i}"] = nn.MaxPool2d(2)
        channels = filters
    layers.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(channels, classes))
    return nn.Sequential(layers)
