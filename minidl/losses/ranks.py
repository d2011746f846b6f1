"""At which place of its row each label stands."""

from __future__ import annotations

import numpy as np

from minidl.backend.arrays import Array, array_module
from minidl.errors import UsageError
from minidl.losses.protocol import require_labels

__all__ = ["label_ranks"]


def label_ranks(logits: Array, labels: Array) -> Array:
    """How many classes are likelier than the label, for each image: integers (N,) from 0 to K.

    logits (N, K), labels (N,). The label is among the k likeliest if its rank is below k: all `top_k_correct` from
    one look. Of equal logits the lower class comes first. A row with a NaN has rank K, so it is wrong for every k,
    and so has a label below 0 (an image without a label). Raises ShapeError if the shapes don't fit together,
    UsageError for a label of K or more (not on a GPU, where looking would wait for the device).
    """
    require_labels(logits, labels)
    xp, k, known = array_module(logits), logits.shape[1], labels >= 0
    if isinstance(labels, np.ndarray) and labels.max() >= k:
        raise UsageError(f"label {labels.max()} is none of the classes 0 to {k - 1} of the logits")
    column = (labels * known)[:, None]  # (N, 1)
    own = xp.take_along_axis(logits, column, axis=1)  # (N, 1)
    ahead = (logits > own) | ((logits == own) & (xp.arange(k) < column))
    return xp.where(known & ~xp.isnan(logits).any(axis=1), ahead.sum(axis=1), k)
