"""Dropout."""

from __future__ import annotations

import numpy as np

from minidl.backend.arrays import Array, array_module, to_device
from minidl.errors import UsageError
from minidl.layers.base import Context, Layer


class Dropout(Layer):
    """Sets a random share p of its input to zero in training and scales the rest by 1 / (1 - p); any shape.

    Forward, TRAIN:  y = x m,   m = 0 with probability p, else 1 / (1 - p), so that E[y] = x
    Forward, PROBE and INFER:  y = x
    Backward:  dx = dy m  (TRAIN),   dx = dy  (PROBE)

    The mask is drawn on the host by a generator that is a function of (seed, step, layer): both backends see
    the same numbers and nothing needs to be saved. Raises UsageError unless 0 <= p < 1, and for a TRAIN pass that
    doesn't say which step it is: `TRAIN.at_step(step)`.
    Source: Srivastava et al., Dropout, 2014; scaled in training ("inverted"), as everywhere today.
    """

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p < 1:
            raise UsageError(f"Dropout: p is {p}, must be at least 0 and below 1")
        self.p = p

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Array | None]:
        if not ctx.training or self.p == 0:
            return x, None
        keep = ctx.rng().random(x.shape, dtype=np.float32) >= self.p
        mask = to_device(keep.astype(x.dtype) * (1 / (1 - self.p)), array_module(x))
        return x * mask, mask

    def input_grad(self, dy: Array, cache: Array | None) -> Array:
        return dy if cache is None else dy * cache

    def __repr__(self) -> str:
        return f"Dropout({self.p})"
