"""The training step and inference in PyTorch on a GPU, with cuDNN's own choice of algorithms."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.settings import LEARNING_RATE, WEIGHT_DECAY
from benchmarks.torch_step import Eager

torch.backends.cudnn.benchmark = True
torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # as CuPy


class OnCuda(Eager):
    """`Eager` with model and images on the device."""

    def __init__(self, batch_size: int, threads: int, channels_last: bool) -> None:
        super().__init__(batch_size, threads, "refined", channels_last)
        self.model.cuda()
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
        )
        self.batches = [(x.cuda(), labels.cuda()) for x, labels in self.batches]

    def seconds(self, work: Callable[[], None]) -> float:
        """What the device takes for what is asked of it in `work`."""
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000
