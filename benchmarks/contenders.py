"""Who takes part in the speed comparison.

A contender is a class made from (batches, threads, **options) with two methods, `train(step)` for one training step
and `infer(step)` for one forward pass. It is named by its module, so that only its own process imports it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple, Protocol

import numpy as np

from benchmarks.settings import BATCHES, CLASSES, SIDE


class Runner(Protocol):
    def train(self, step: int) -> None: ...

    def infer(self, step: int) -> None: ...


class Contender(NamedTuple):
    module: str
    cls: str
    options: dict[str, Any]
    needs: str  # the package without which it can't take part


CONTENDERS = {
    "minidl_plain": Contender("benchmarks.minidl_refined", "Plain", {}, needs="numpy"),
    "torch_nchw": Contender("benchmarks.torch_refined", "Eager", {"channels_last": False}, needs="torch"),
    "torch_channels_last": Contender("benchmarks.torch_refined", "Eager", {"channels_last": True}, needs="torch"),
}
BASIS = "torch_nchw"  # ratios are against this one


def make(name: str, batch_size: int, threads: int) -> Runner:
    """The contender `name`, with random images (N, 64, 64, 3) and labels that are the same for all."""
    contender = CONTENDERS[name]
    rng = np.random.default_rng(0)
    batches = [
        (rng.standard_normal((batch_size, SIDE, SIDE, 3), dtype=np.float32), rng.integers(0, CLASSES, batch_size))
        for _ in range(BATCHES)
    ]
    return getattr(import_module(contender.module), contender.cls)(batches, threads, **contender.options)
