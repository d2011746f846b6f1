"""Dropout."""

from __future__ import annotations

import numpy as np

from minidl.backend.arrays import Array, array_module, to_device
from minidl.errors import UsageError
from minidl.kernels.shapes import require_numbers
from minidl.layers.base import Context, Layer


class Dropout(Layer):
    """In training, sets each number to zero with probability p and multiplies the others by 1 / (1 - p); any shape.

    Forward, TRAIN:  y = x m,   with a mask m of 0 (probability p) or 1 / (1 - p), so that the mean of y is x
    Forward, PROBE and INFER:  y = x
    Backward:  dx = dy m  (TRAIN),   dx = dy  (PROBE)

    The mask depends on (seed, step) of the Context and on the layer's name, and on nothing else. So a resumed run
    draws the masks that it would have drawn, and NumPy and CuPy draw the same ones. A new mask for each step needs a
    new step: TRAIN.at_step(step). Raises UsageError unless 0 <= p < 1, and in TRAIN mode without a step.
    Source: Srivastava et al., Dropout, 2014, in the form used today, which scales in training ("inverted dropout").
    """

    def __init__(self, p: float = 0.5) -> None:
        require_numbers("Dropout", p=p)
        if not 0 <= p < 1:
            raise UsageError(f"Dropout: p is {p}, must be at least 0 and below 1")
        self.p = float(p)  # no np.float64: float32 arrays would become float64

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
