"""At which place of its row each label stands."""

from __future__ import annotations

from minidl.backend.arrays import Array, array_module
from minidl.losses.protocol import require_labels

__all__ = ["label_ranks"]


def label_ranks(logits: Array, labels: Array) -> Array:
    """How many classes are likelier than the label, for each image: integers (N,) from 0 to K.

    logits (N, K), labels (N,). The label is among the k likeliest if its rank is below k: all `top_k_correct` from
    one look. Of equal logits the lower class comes first. A row with a NaN has rank K, so it is wrong for every k,
    and so has a label that is no class: -1, or what else stands for an image without a label.

    Raises ShapeError if the shapes don't fit together.
    """
    require_labels(logits, labels)
    xp, k = array_module(logits), logits.shape[1]
    known = (labels >= 0) & (labels < k)
    column = (labels * known)[:, None]  # (N, 1)
    own = xp.take_along_axis(logits, column, axis=1)  # (N, 1)
    ahead = (logits > own) | ((logits == own) & (xp.arange(k) < column))
    return xp.where(known & ~xp.isnan(logits).any(axis=1), ahead.sum(axis=1), k)
