"""Softmax cross-entropy in which classes have weights and some images no label."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from minidl.backend.arrays import Array, array_module, to_device
from minidl.errors import ShapeError, UsageError, require_whole
from minidl.losses.protocol import require_labels

__all__ = ["CrossEntropy", "balanced_weights", "weighted_cross_entropy"]

UNLABELLED = -1  # in place of the label of an image that has none


def weighted_cross_entropy(
    logits: Array, labels: Array, weights: Array | None = None, label_smoothing: float = 0.0, ignore: int = UNLABELLED
) -> tuple[Array, Array]:
    """Returns (loss, dlogits): the weighted mean of the cross-entropy over the images with a label, its gradient.

    logits (N, K) floating; labels (N,) integers in [0, K), or `ignore` for an image that doesn't count; weights (K,)
    of the classes, 0 or more, all on the same device (None: all 1). loss is a 0-d array and
    dlogits (N, K), both of the dtype of `logits`.

    Forward, for row i with label y and smoothing s. `softmax_cross_entropy` derives log p; here each term has the
    weight of its class, and the sum is divided by the weights of the labels:

        a_ij  = (1 - s) w_y [j = y] + (s / K) w_j          0 for an ignored row
        W     = sum_i w_y
        loss  = -(1/W) sum_i sum_j a_ij log p_ij

    Backward: d log p_ij / dz_im = [j = m] - p_im. The a_ij of a row don't add up to 1, but to A_i:

        dz_im = (p_im A_i - a_im) / W,      A_i = sum_j a_ij

    So it is in torch.nn.CrossEntropyLoss(weight, ignore_index, label_smoothing), with one exception: if W is 0,
    because all images are ignored or all their classes have weight 0, the loss and its gradient are 0, not NaN: such
    a batch teaches nothing, and training goes on.

    Raises ShapeError if the shapes don't fit together, UsageError for a smoothing outside [0, 1], a weight below 0
    and a label outside [0, K). On a GPU, where looking at them would wait for the device, such a label makes the loss
    NaN.
    """
    w = _checked(logits, labels, weights, label_smoothing, ignore)
    xp, k, s = array_module(logits), logits.shape[1], float(label_smoothing)
    own, kept, index = _own_weights(labels, w, ignore)
    total = own.sum()
    scale = (total != 0) / (total + (total == 0))  # 1 / W, and 0 if W is 0

    log_p = logits - logits.max(axis=1, keepdims=True)
    p = xp.exp(log_p)
    normaliser = p.sum(axis=1, keepdims=True)  # (N, 1)
    log_p -= xp.log(normaliser)
    p /= normaliser

    column = index[:, None]  # (N, 1): class 0 for an ignored image, which has weight 0
    picked = xp.take_along_axis(log_p, column, axis=1)[:, 0]  # not a product with one-hot rows: 0 * -inf is NaN
    loss = (xp.where(own != 0, picked, xp.zeros_like(picked)) * own).sum() * (s - 1)
    a = (column == xp.arange(k)) * (own * (1 - s))[:, None]  # (N, K)
    if s:
        counted = xp.where(kept[:, None] & (w > 0), log_p, xp.zeros_like(log_p))  # (N, K)
        loss -= (counted * w).sum() * (s / k)
        a += kept[:, None] * (w * (s / k))
    dz = p * a.sum(axis=1, keepdims=True) - a
    dz = xp.where(kept[:, None], dz, xp.zeros_like(dz))  # what an ignored row holds, NaN even, is nobody's business
    dz *= scale
    return xp.asarray(loss * scale), dz


class CrossEntropy:
    """`weighted_cross_entropy` as the loss of a Trainer: Trainer(..., loss=CrossEntropy(weights)).

    weights            (K,), one for each class; None: all 1
    label_smoothing    share of the target that is spread over all classes
    ignore             the label of images that don't count
    """

    def __init__(
        self, weights: Sequence[float] | None = None, label_smoothing: float = 0.0, ignore: int = UNLABELLED
    ) -> None:
        _check_smoothing(label_smoothing)
        self.weights = None if weights is None else _as_weights(weights)
        self.label_smoothing, self.ignore = label_smoothing, ignore
        self._there: dict[tuple[ModuleType, Any], Array] = {}  # the weights on a device: each is copied there once

    def __call__(self, logits: Array, labels: Array) -> tuple[Array, Array]:
        weights = self._on(array_module(logits), logits.dtype)
        return weighted_cross_entropy(logits, labels, weights, self.label_smoothing, self.ignore)

    def weight(self, labels: Array) -> Array:
        """What the mean divides by: the sum of the weights of the labels, a 0-d array on their device."""
        xp = array_module(labels)
        if self.weights is None:
            return xp.asarray((labels != self.ignore).sum())
        return xp.asarray(_own_weights(labels, self._on(xp, np.dtype(np.float64)), self.ignore)[0].sum())

    def _on(self, xp: ModuleType, dtype: Any) -> Array | None:
        if self.weights is None:
            return None
        if (xp, dtype) not in self._there:
            self._there[xp, dtype] = to_device(self.weights.astype(dtype), xp)
        return self._there[xp, dtype]


def balanced_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Weights (K,) with which all classes count alike, however many images each has: w_c = n / (K n_c).

    n images have a label, n_c of them that of class c, and K classes have any; the mean weight of an image is 1. A
    class without images has weight 0. So scikit-learn does with class_weight="balanced". Labels below 0 don't count.
    Raises UsageError for labels that aren't whole numbers below K, and if there are none.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise UsageError(
            f"balanced_weights(labels, classes): labels are {labels.dtype} {labels.shape}, must be whole numbers (N,)"
        )
    require_whole("balanced_weights: classes", classes, 1)
    if not (labels >= 0).any():
        raise UsageError("balanced_weights: no image has a label")
    if labels.max() >= classes:
        raise UsageError(f"balanced_weights: label {labels.max()} is none of the classes 0 to {classes - 1}")
    counts = np.bincount(labels[labels >= 0], minlength=classes)
    present = counts > 0
    return np.where(present, counts.sum() / (present.sum() * np.maximum(counts, 1)), 0.0)


def _own_weights(labels: Array, weights: Array, ignore: int) -> tuple[Array, Array, Array]:
    """(own, kept, index): the weight of each label, 0 if it is ignored; which ones are not ignored; and the labels
    with 0 in place of those that are no class. On a GPU the weight of a label that is neither is NaN.
    """
    xp = array_module(labels)
    kept = labels != ignore
    known = kept & (labels >= 0) & (labels < len(weights))
    index = labels * known
    own = weights[index] * known
    return xp.where(kept & ~known, xp.full_like(own, np.nan), own), kept, index


def _checked(logits: Array, labels: Array, weights: Array | None, smoothing: float, ignore: int) -> Array:
    """The weights as an array (K,); raises as `weighted_cross_entropy`."""
    require_labels(logits, labels)
    _check_smoothing(smoothing)
    k = logits.shape[1]
    if isinstance(labels, np.ndarray) and (wrong := labels[(labels != ignore) & ((labels < 0) | (labels >= k))]).size:
        raise UsageError(
            f"label {wrong[0]} is none of the classes 0 to {k - 1} of the logits, and not {ignore}: ignored"
        )
    if weights is None:
        return array_module(logits).ones(k, logits.dtype)
    if isinstance(weights, list | tuple):
        weights = to_device(_as_weights(weights), array_module(logits))
    array_module(weights)
    if weights.shape != (k,):
        raise ShapeError(f"weights have shape {weights.shape}: expected one for each of the {k} classes")
    if isinstance(weights, np.ndarray):
        _check_weights(weights)
    return weights.astype(logits.dtype, copy=False)


def _check_smoothing(smoothing: float) -> None:
    if not isinstance(smoothing, numbers.Real) or not 0 <= smoothing <= 1:
        raise UsageError(f"label smoothing is {smoothing!r:.60}: choose a number from 0 to 1")


def _as_weights(weights: Sequence[float]) -> np.ndarray:
    try:
        array = np.array(weights, np.float64)  # a copy: the caller may change the original
    except (TypeError, ValueError):
        array = np.zeros(())  # refused below
    _check_weights(array)
    return array


def _check_weights(weights: np.ndarray) -> None:
    if weights.ndim != 1 or not (np.isfinite(weights) & (weights >= 0)).all():
        raise UsageError("class weights must be a row of numbers of 0 or more, one for each class")
