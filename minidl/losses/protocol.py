"""What a loss is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from minidl.backend.arrays import Array

Loss: TypeAlias = Callable[[Array, Array], tuple[Array, Array]]  # (logits, labels) -> (loss, dlogits)


def mean_weight(loss: Loss, labels: Array) -> Array | int:
    """What the mean of `loss` over these labels divides by: its `weight(labels)`, or the number of labels."""
    return loss.weight(labels) if hasattr(loss, "weight") else len(labels)
