"""The refined net in minidl; beside it for comparison: `torch_refined.py`."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

import models
from benchmarks.settings import DROPOUT, LEARNING_RATE, WEIGHT_DECAY
from minidl.layers import INFER, TRAIN
from minidl.losses import softmax_cross_entropy
from minidl.optim import Adam


class Plain:
    """A contender: the plain engine."""

    def __init__(self, batches: list[tuple[np.ndarray, np.ndarray]], threads: int) -> None:
        threadpool_limits(threads)
        self.model = models.build("refined", dropout=DROPOUT)
        self.optimizer = Adam(self.model.named_parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        self.batches = batches

    def train(self, step: int) -> None:
        x, labels = self.batches[step % len(self.batches)]
        logits, cache = self.model.forward(x, TRAIN.at_step(step))
        _, dlogits = softmax_cross_entropy(logits, labels)
        self.model.zero_grad()
        self.model.backward(dlogits, cache, need_dx=False)
        self.optimizer.step()

    def infer(self, step: int) -> None:
        x, _ = self.batches[step % len(self.batches)]
        self.model.forward(x, INFER)
