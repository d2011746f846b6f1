"""Single layers of the refined net in PyTorch, channels last."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.layers import CASES, Case
from benchmarks.torch_refined import refined


class TorchLayers:
    """A contender: has every case as an attribute."""

    def __init__(self, batch_size: int, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.threads = torch.get_num_threads()
        for name, case in CASES.items():
            setattr(self, name, Passes(layer_of(case), case, batch_size))


def layer_of(case: Case) -> nn.Sequential:
    net = refined()
    return nn.Sequential(*(net.get_submodule(path) for path in case.layers))


class Passes:
    def __init__(self, layer: nn.Module, case: Case, batch_size: int) -> None:
        self.layer = layer.train().to(memory_format=torch.channels_last)
        x = torch.randn(batch_size, *case.in_shape)
        self.x = x.permute(0, 3, 1, 2) if x.ndim == 4 else x  # a view: channels last
        self.x.requires_grad_(case.need_dx)
        self.dy = torch.randn_like(self.layer(self.x))  # in the layout of the output

    def forward(self, step: int) -> None:
        self.layer(self.x)

    def both(self, step: int) -> None:
        y = self.layer(self.x)
        self.layer.zero_grad()
        self.x.grad = None
        y.backward(self.dy)
