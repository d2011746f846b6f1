"""Single layers of the refined net in minidl; beside it for comparison: `torch_layers.py`."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

import models
from benchmarks.layers import CASES, Case
from minidl.engine import fuse
from minidl.layers import TRAIN, Layer, Sequential


class MiniDLLayers:
    """A contender: has every case as an attribute."""

    def __init__(self, batch_size: int, threads: int, fused: bool) -> None:
        threadpool_limits(threads)
        self.threads = threads
        for name, case in CASES.items():
            layer = layer_of(case)
            setattr(self, name, Passes(fuse(layer, threads=threads) if fused else layer, case, batch_size))


def layer_of(case: Case) -> Sequential:
    net = models.build("refined")
    return Sequential({path.replace(".", "_"): net[path] for path in case.layers})


class Passes:
    def __init__(self, layer: Layer, case: Case, batch_size: int) -> None:
        rng = np.random.default_rng(0)
        self.layer, self.need_dx = layer, case.need_dx
        self.x = rng.standard_normal((batch_size, *case.in_shape), dtype=np.float32)
        self.dy = rng.standard_normal(layer.out_shape(self.x.shape), dtype=np.float32)

    def forward(self, step: int) -> None:
        self.layer.forward(self.x, TRAIN)

    def both(self, step: int) -> None:
        _, cache = self.layer.forward(self.x, TRAIN)
        self.layer.zero_grad()
        self.layer.backward(self.dy, cache, self.need_dx)
