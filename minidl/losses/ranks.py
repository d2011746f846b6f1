"""At which place of its row each label stands."""

from __future__ import annotations

from minidl.backend.arrays import Array, array_module
from minidl.errors import ShapeError

__all__ = ["label_ranks"]


def label_ranks(logits: Array, labels: Array) -> Array:
    """How many classes are likelier than the label, for each image: integers (N,) from 0 to K.

    logits (N, K), labels (N,). The label is among the k likeliest if its rank is below k: all `top_k_correct` from
    one look. Of equal logits the lower class comes first. A row with a NaN has rank K, so it is wrong for every k,
    and so has a label below 0 (an image without a label).
    """
    xp = array_module(logits)
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ShapeError(f"labels {labels.shape} of logits {logits.shape}: expected (N,) of (N, K)")
    k, known = logits.shape[1], labels >= 0
    column = (labels * known)[:, None]  # (N, 1)
    own = xp.take_along_axis(logits, column, axis=1)  # (N, 1)
    ahead = (logits > own) | ((logits == own) & (xp.arange(k) < column))
    return xp.where(known & ~xp.isnan(logits).any(axis=1), ahead.sum(axis=1), k)
