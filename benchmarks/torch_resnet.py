"""ResNet-18 with a small stem in PyTorch, layer for layer and name for name as `minidl_resnet.py` has it.

Source: He et al., Deep residual learning for image recognition, 2015.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from benchmarks.settings import CLASSES, RESNET_FILTERS


class ConvBN(nn.Sequential):
    def __init__(self, in_channels: int, filters: int, kernel: int, stride: int = 1, relu: bool = False) -> None:
        conv = nn.Conv2d(in_channels, filters, kernel, stride, padding=kernel // 2, bias=False)
        layers = OrderedDict[str, nn.Module](conv=conv, bn=nn.BatchNorm2d(filters))
        super().__init__(layers | {"relu": nn.ReLU(inplace=True)} if relu else layers)


class Residual(nn.Module):
    """Two 3x3 convolutions and a way around them, with a 1x1 convolution on it where the shape changes."""

    def __init__(self, in_channels: int, filters: int, stride: int) -> None:
        super().__init__()
        first = ConvBN(in_channels, filters, 3, stride, relu=True)
        self.body = nn.Sequential(OrderedDict(first=first, second=ConvBN(filters, filters, 3)))
        same = stride == 1 and in_channels == filters
        self.shortcut = nn.Identity() if same else ConvBN(in_channels, filters, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.shortcut(x)


def resnet(classes: int = CLASSES) -> nn.Sequential:
    """For images (N, 3, H, W)."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=ConvBN(3, RESNET_FILTERS[0], 3, relu=True))
    channels = RESNET_FILTERS[0]
    for stage, filters in enumerate(RESNET_FILTERS, start=1):
        for letter, stride in (("a", 1 if stage == 1 else 2), ("b", 1)):
            block = OrderedDict(sum=Residual(channels, filters, stride), relu=nn.ReLU(inplace=True))
            layers[f"block{stage}{letter}"] = nn.Sequential(block)
            channels = filters
    layers.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(channels, classes))
    return nn.Sequential(layers)
