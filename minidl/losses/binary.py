"""Binary cross-entropy: each output is a question of its own, with the answer yes or no."""

from __future__ import annotations

import numpy as np

from minidl.backend.arrays import Array, array_module
from minidl.errors import ShapeError, UsageError
from minidl.losses.protocol import require_floating

__all__ = ["binary_cross_entropy"]


def binary_cross_entropy(logits: Array, targets: Array) -> tuple[Array, Array]:
    """Returns (loss, dlogits): the mean binary cross-entropy between the targets and sigmoid(logits), its gradient.

    logits of any shape, floating; targets of the same shape, from 0 (no) to 1 (yes), of any real type, on the same
    device. loss is a 0-d array, dlogits has the shape of `logits`, and both have its dtype.

    Forward, with p = sigmoid(z) = 1 / (1 + exp(-z)) for each logit z with target t, M of them in all:

        -t log p - (1 - t) log(1 - p)  =  log(1 + exp(-z)) + (1 - t) z        because 1 - p = exp(-z) p
                                       =  max(z, 0) - t z + log(1 + exp(-|z|))
        loss  =  (1/M) sum of these

    The first form overflows where z is far below zero. In the last one no exponent is above 0.

    Backward: the slope of log(1 + exp(-z)) is -exp(-z) / (1 + exp(-z)) = p - 1, so

        dz  =  (p - 1 + 1 - t) / M  =  (p - t) / M

    The mean is over all M numbers, as in torch.nn.BCEWithLogitsLoss. Raises ShapeError if the shapes differ,
    UsageError for a target outside [0, 1], and for logits that are whole numbers. On a GPU, where looking would wait
    for the device, nothing is said of such a target.
    """
    xp = array_module(logits)
    array_module(targets)  # or it says what it is instead
    if targets.shape != logits.shape or not logits.size:
        raise ShapeError(f"targets {targets.shape} of logits {logits.shape}: expected one for each logit")
    require_floating(logits)
    if isinstance(targets, np.ndarray) and not (targets.min() >= 0 and targets.max() <= 1):
        raise UsageError("a target of the binary cross-entropy must be a number from 0 (no) to 1 (yes)")
    t = targets.astype(logits.dtype)
    small = xp.exp(-abs(logits))  # from 0 to 1
    loss = (xp.maximum(logits, 0) - t * logits + xp.log1p(small)).mean()
    p = xp.exp(xp.minimum(logits, 0)) / (1 + small)  # where z < 0, sigmoid(z) = exp(z) / (1 + exp(z))
    return xp.asarray(loss), (p - t) / logits.size
