"""What a loss is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from minidl.backend.arrays import Array, array_module
from minidl.errors import ShapeError, UsageError

Loss: TypeAlias = Callable[[Array, Array], tuple[Array, Array]]  # (logits, labels) -> (loss, dlogits)


def call_loss(loss: Loss, logits: Array, labels: Array) -> tuple[Array, Array]:
    """(loss, dlogits) of a user's function, in the dtype of the logits; UsageError if it returns anything else.

    The loss is NaN if a number of dlogits isn't finite: so who reads the loss finds both, and nothing waits here.
    """
    result = loss(logits, labels)
    if not isinstance(result, tuple) or len(result) != 2:
        raise UsageError(f"{_name(loss)}: returns a {type(result).__name__}, must return (loss, dlogits)")
    xp = array_module(logits)
    try:
        value, dlogits = (xp.asarray(a, dtype=logits.dtype) for a in result)
    except (TypeError, ValueError):
        kinds = " and ".join(type(a).__name__ for a in result)
        raise UsageError(f"{_name(loss)}: returns {kinds}, must return numbers: (loss, dlogits)") from None
    if value.shape or dlogits.shape != logits.shape:
        raise UsageError(
            f"{_name(loss)}: returns a loss {value.shape} and dlogits {dlogits.shape}, must be () and those of the "
            f"logits, {logits.shape}"
        )
    return xp.where(xp.isfinite(dlogits).all(), value, xp.full_like(value, xp.nan)), dlogits


def require_labels(logits: Array, labels: Array) -> None:
    """Raises ShapeError unless logits are (N, K) and labels N integers, UsageError if one of them is no array."""
    for array in (logits, labels):
        array_module(array)  # or it says what it is instead
    if logits.ndim != 2 or not logits.size:
        heads = ": for several heads (N, heads, K) take minidl.losses.SideHeads(loss)" if logits.ndim == 3 else ""
        raise ShapeError(f"logits have shape {logits.shape}: expected (N, K) with N and K at least 1{heads}")
    require_floating(logits)
    if labels.shape != logits.shape[:1] or labels.dtype.kind not in "iu":
        raise ShapeError(
            f"labels are {labels.dtype} {labels.shape}: expected one integer a row of logits {logits.shape}"
        )


def require_floating(logits: Array) -> None:
    """Raises UsageError for whole numbers: a gradient in their dtype, or a share of 0.5, would be rounded to 0."""
    if logits.dtype.kind != "f":
        raise UsageError(f"logits are {logits.dtype}, and must be float32 or float64")


def mean_weight(loss: Loss | None, labels: Array) -> Array | None:
    """What the mean of `loss` over these labels divides by, a 0-d array; None if it is the number of labels."""
    return loss.weight(labels) if hasattr(loss, "weight") else None


def _name(loss: Any) -> str:
    return f"the loss {getattr(loss, '__name__', type(loss).__name__)}"
