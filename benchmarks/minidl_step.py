"""The training step and inference in minidl; beside it for comparison: `torch_step.py` and `jax_refined.py`."""

from __future__ import annotations

from functools import partial

from threadpoolctl import threadpool_limits

import models
from benchmarks.minidl_vgg import build_vgg
from benchmarks.settings import DROPOUT, LEARNING_RATE, WEIGHT_DECAY, random_batches
from minidl.engine import fuse, prepare
from minidl.layers import INFER, TRAIN
from minidl.losses import softmax_cross_entropy
from minidl.optim import Adam

NETWORKS = {
    "refined": partial(models.build, "refined", dropout=DROPOUT),
    "vgg": build_vgg,
    "resnet18": partial(models.build, "resnet18", stem="small"),
}


class MiniDL:
    """A contender: the fused engine, whose inference is prepared (`minidl.prepare`), or the plain one."""

    def __init__(self, batch_size: int, threads: int, network: str, fused: bool) -> None:
        threadpool_limits(threads)
        self.threads = threads
        self.model = self.predictor = NETWORKS[network]()
        if fused:
            self.model = fuse(self.model, threads=threads)
            self.predictor = prepare(self.model, threads=threads)  # folds with the first pass
        self.optimizer = Adam(self.model.named_parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        self.batches = random_batches(network, batch_size)

    def train(self, step: int) -> None:
        x, labels = self.batches[step % len(self.batches)]
        logits, cache = self.model.forward(x, TRAIN.at_step(step))
        _, dlogits = softmax_cross_entropy(logits, labels)
        self.model.zero_grad()
        self.model.backward(dlogits, cache, need_dx=False)
        self.optimizer.step()

    def infer(self, step: int) -> None:
        x, _ = self.batches[step % len(self.batches)]
        self.predictor.forward(x, INFER)
