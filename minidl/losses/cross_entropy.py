"""Softmax cross-entropy, and the number of right answers. Nothing here waits for the device."""

from __future__ import annotations

import numpy as np

from minidl.backend.arrays import Array, array_module
from minidl.errors import UsageError
from minidl.kernels import kernels_for
from minidl.losses.protocol import require_labels

__all__ = ["softmax", "softmax_cross_entropy", "top_k_correct"]


def softmax(logits: Array) -> Array:
    """p_j = exp(z_j) / sum_i exp(z_i) along the last axis; same shape and dtype as `logits`.

    The row's maximum m is subtracted first. The factor exp(-m) cancels, and no exponent is above 0, so that nothing
    overflows.
    """
    xp = array_module(logits)
    p = xp.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    return p


def softmax_cross_entropy(logits: Array, labels: Array, label_smoothing: float = 0.0) -> tuple[Array, Array]:
    """Returns (loss, dlogits): the mean cross-entropy between the labels and softmax(logits), and its gradient.

    logits (N, K) floating; labels (N,) integers in [0, K), on the same device. loss is a 0-d array and
    dlogits (N, K), both of the dtype of `logits`.

    Forward, for a row z with label y and smoothing s (Szegedy et al. 2016, section 7); [j = y] is 1 or 0:

        q_j      = (1 - s) [j = y] + s / K                    the target: 1 for the label if s = 0
        log p_j  = z_j - logsumexp(z) = (z_j - m) - log sum_i exp(z_i - m),    m = max_i z_i
        loss     = -(1/N) sum_rows sum_j q_j log p_j

    Backward: d log p_j / dz_i = [i = j] - p_i, and the q_j add up to 1, so

        dz_i     = -(1/N) sum_j q_j ([i = j] - p_i) = (p_i - q_i) / N

    Raises ShapeError if the shapes don't fit together, UsageError for a smoothing outside [0, 1] and for a label
    outside [0, K). On a GPU, where looking at the labels would wait for the device, such a label makes the loss NaN.
    """
    _check(logits, labels)
    if not 0 <= label_smoothing <= 1:
        raise UsageError(f"label smoothing is {label_smoothing}: choose a number from 0 to 1")
    return kernels_for(logits).softmax_cross_entropy(logits, labels, float(label_smoothing))


def top_k_correct(logits: Array, labels: Array, k: int) -> Array:
    """How many labels are among the k largest logits of their row: a 0-d integer array on the device.

    Of equal logits the lower class comes first. So the rank of a label is the number of larger logits, plus the
    number of equal ones of a lower class. A row with a NaN counts as wrong.
    """
    _check(logits, labels)
    xp = array_module(logits)
    column = labels[:, None]  # (N, 1)
    own = xp.take_along_axis(logits, column, axis=1)  # (N, 1)
    ahead = (logits > own) | ((logits == own) & (xp.arange(logits.shape[1]) < column))
    right = (ahead.sum(axis=1) < k) & ~xp.isnan(logits).any(axis=1)
    return xp.asarray(right.sum())


def _check(logits: Array, labels: Array) -> None:
    require_labels(logits, labels)
    if isinstance(labels, np.ndarray) and (labels.min() < 0 or labels.max() >= logits.shape[1]):
        wrong = int(labels[(labels < 0) | (labels >= logits.shape[1])][0])
        unknown = " (which stands for an image without a label)" if wrong == -1 else ""
        raise UsageError(f"label {wrong}{unknown} is none of the classes 0 to {logits.shape[1] - 1} of the logits")
