"""The launches of a training step and the bytes they move, counted on the stand-in for CuPy.

minidl's kernels are counted, not run: no count depends on a number. CuPy may make several launches of one call
(a large sum, an index), never fewer than the one that is counted here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from minidl.layers import TRAIN, Layer
from minidl.layers.base import Shape
from minidl.layers.convert import convert
from minidl.losses import softmax_cross_entropy, top_k_correct
from minidl.optim import Adam
from tests.cuda_standin import RECORD, install

KERNEL = "kernel "  # before the names of minidl's own
IN_PLACE = {"adam": (1, 2, 3), "batch_norm_moments": (2, 3)}  # arguments that are read and written


@dataclass(frozen=True)
class Work:
    """What one part of a step asks of the device: launches by name, and the bytes of all arrays they touch."""

    launches: Counter[str]
    bytes: Counter[str]

    def __add__(self, other: Work) -> Work:
        return Work(self.launches + other.launches, self.bytes + other.bytes)


def training_step(model: Layer, images: Shape, label_smoothing: float = 0.1) -> dict[str, Work]:
    """The parts of Trainer.train_step for the plain float32 `model` and images (N, H, W, C)."""
    parts: dict[str, Work] = {}

    def part(name: str, work: Callable[[], Any]) -> Any:
        RECORD.clear()
        result = work()
        parts[name] = Work(Counter(RECORD.launches), Counter(RECORD.bytes))
        return result

    with pytest.MonkeyPatch.context() as patch:
        xp = install(patch, count_only)
        model = convert(model, xp=xp)
        optimizer = Adam(model.named_parameters(), 1e-3, weight_decay=1e-3)
        x, labels = xp.zeros(images, xp.float32), xp.zeros(images[0], xp.int64)
        logits, cache = part("forward", lambda: model.forward(x, TRAIN.at_step(0)))
        _, dlogits = part("loss", lambda: softmax_cross_entropy(logits, labels, label_smoothing))
        part("gradients to zero", model.zero_grad)
        part("backward", lambda: model.backward(dlogits, cache, need_dx=False))
        part("Adam", optimizer.step)
        part("count of right answers", lambda: top_k_correct(logits, labels, 1))
    return parts


def count_only(code: str, name: str, options: tuple, grid: tuple, block: tuple, args: tuple, shared: int) -> None:
    """Stands for a kernel's execution; the stand-in has counted each of its arrays once."""
    RECORD.bytes[KERNEL + name] += sum(np.asarray(args[i]).nbytes for i in IN_PLACE.get(name, ()))
