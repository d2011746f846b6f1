"""What a loss is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from minidl.backend.arrays import Array

Loss: TypeAlias = Callable[[Array, Array], tuple[Array, Array]]  # (logits, labels) -> (loss, dlogits)


def mean_weight(loss: Loss | None, labels: Array) -> Array | None:
    """What the mean of `loss` over these labels divides by, a 0-d array; None if it is the number of labels."""
    return loss.weight(labels) if hasattr(loss, "weight") else None
