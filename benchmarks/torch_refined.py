"""The refined net in PyTorch, layer for layer and name for name as `models/inception.py` has it.

Its state dict has the names of `minidl.storage.weights.to_torch_state_dict`. Written as a user of torch would.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from benchmarks.settings import CLASSES, DROPOUT


class ConvBNReLU(nn.Sequential):
    def __init__(self, in_channels: int, filters: int, kernel: int, padding: int = 0) -> None:
        conv = nn.Conv2d(in_channels, filters, kernel, padding=padding, bias=False)
        super().__init__(OrderedDict(conv=conv, bn=nn.BatchNorm2d(filters), relu=nn.ReLU(inplace=True)))


class Inception(nn.Module):
    """Figure 1 of the paper; b1 ... pool are the numbers of filters of a row of its Table 4."""

    def __init__(
        self, in_channels: int, b1: int, b3_reduce: int, b3: int, b5_reduce: int, b5: int, pool: int
    ) -> None:
        super().__init__()
        self.b1 = ConvBNReLU(in_channels, b1, 1)
        self.b3_reduce = ConvBNReLU(in_channels, b3_reduce, 1)
        self.b3 = ConvBNReLU(b3_reduce, b3, 3, padding=1)
        self.b5_reduce = ConvBNReLU(in_channels, b5_reduce, 1)
        self.b5 = ConvBNReLU(b5_reduce, b5, 5, padding=2)
        self.avgpool = nn.AvgPool2d(3, stride=1, padding=1)
        self.pool = ConvBNReLU(in_channels, pool, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branches = self.b1(x), self.b3(self.b3_reduce(x)), self.b5(self.b5_reduce(x)), self.pool(self.avgpool(x))
        return torch.cat(branches, dim=1)


def refined(classes: int = CLASSES, dropout: float = DROPOUT) -> nn.Sequential:
    """The paper's Tables 3 and 4, for images (N, 3, H, W)."""
    return nn.Sequential(
        OrderedDict(
            stem=ConvBNReLU(3, 128, 3),
            pool1=nn.MaxPool2d(4, 2),
            inception1=Inception(128, 32, 48, 64, 8, 16, 16),
            pool2=nn.MaxPool2d(2, 2, padding=1),
            inception2=Inception(128, 32, 48, 64, 8, 16, 16),
            inception3=Inception(128, 64, 96, 128, 16, 32, 32),
            pool3=nn.MaxPool2d(2, 2),
            inception4=Inception(256, 80, 120, 160, 20, 40, 40),
            avgpool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            dropout=nn.Dropout(dropout),
            fc=nn.Linear(320, classes),
        )
    )
