"""The training step and inference in PyTorch, as a user of torch would write them: eager and compiled."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.settings import LEARNING_RATE, WEIGHT_DECAY, random_batches
from benchmarks.torch_refined import refined
from benchmarks.torch_resnet import resnet18
from benchmarks.torch_vgg import vgg

NETWORKS = {"refined": refined, "vgg": vgg, "resnet18": resnet18}


class Eager:
    """A contender: torch without compilation, in either layout, in float32 or by autocast in bfloat16."""

    def __init__(self, batch_size: int, threads: int, network: str, channels_last: bool, bf16: bool = False) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.threads = torch.get_num_threads()
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.model = NETWORKS[network]().to(memory_format=layout)
        self.precision = partial(torch.autocast, "cpu", torch.bfloat16, enabled=bf16)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
        )
        self.batches = [
            (torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=layout), torch.from_numpy(labels))
            for x, labels in random_batches(network, batch_size)
        ]

    def logits(self, x: Tensor) -> Tensor:
        return self.model(x)

    def loss(self, x: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(self.model(x), labels)

    def train(self, step: int) -> None:
        x, labels = self.batches[step % len(self.batches)]
        self.model.train()
        with self.precision():
            loss = self.loss(x, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def infer(self, step: int) -> None:
        x, _ = self.batches[step % len(self.batches)]
        self.model.eval()
        with torch.inference_mode(), self.precision():
            self.logits(x)


class Compiled(Eager):
    """A contender: torch.compile in its default mode, channels last; what it needs is a C++ compiler."""

    def __init__(self, batch_size: int, threads: int, network: str) -> None:
        super().__init__(batch_size, threads, network, channels_last=True)
        self.logits = torch.compile(super().logits)  # forward
        self.loss = torch.compile(super().loss)  # forward, loss and backward
        self.train(0)  # compiles: should it fail, then now
        self.infer(0)
