"""ResNet-18 with a small stem in PyTorch, layer for layer and name for name as `models/resnet.py` has it.

Source: He et al., Deep residual learning for image recognition, 2015.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional

from benchmarks.settings import CLASSES

ROWS = ((64, 1), (128, 2), (256, 2), (512, 2))  # filters, and stride of the first of two blocks


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a way around them, with a 1x1 convolution on it where the shape changes."""

    def __init__(self, in_channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, filters, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.downsample = nn.Identity()
        if stride > 1 or in_channels != filters:
            around = nn.Conv2d(in_channels, filters, 1, stride, bias=False)
            self.downsample = nn.Sequential(around, nn.BatchNorm2d(filters))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        return functional.relu(self.bn2(self.conv2(y)) + self.downsample(x), inplace=True)


def resnet18(classes: int = CLASSES) -> nn.Sequential:
    """For images (N, 3, H, W) of about 32 to 96 pixels."""
    channels = ROWS[0][0]
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, channels, 3, padding=1, bias=False), bn1=nn.BatchNorm2d(channels), relu=nn.ReLU(True)
    )
    for i, (filters, stride) in enumerate(ROWS, start=1):
        layers[f"layer{i}"] = nn.Sequential(BasicBlock(channels, filters, stride), BasicBlock(filters, filters, 1))
        channels = filters
    layers.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(channels, classes))
    return nn.Sequential(layers)
