"""The loss of a network with several heads: the main classifier, and others that read the layers below it."""

from __future__ import annotations

import numbers

from minidl.backend.arrays import Array, array_module
from minidl.errors import ShapeError, UsageError
from minidl.losses.cross_entropy import softmax_cross_entropy
from minidl.losses.protocol import Loss, call_loss, mean_weight

__all__ = ["SideHeads", "main_head"]

SHARE = 0.3


class SideHeads:
    """The loss of the main head plus `share` times that of every other one (Szegedy et al. 2015, section 5).

        loss = l(z_0) + share (l(z_1) + ... + l(z_H)),      dz_0 = l'(z_0),      dz_h = share l'(z_h)

    logits (N, 1 + H, K), the main head first, as a network with a `SideHead` gives them in training; labels (N,).
    Logits (N, K) have a main head only. l is `loss`, by default softmax_cross_entropy. Side heads bring the gradient
    of the loss to the layers in the middle of a deep network; when the network is used, they are left out. The paper
    has share = 0.3.
    """

    def __init__(self, loss: Loss = softmax_cross_entropy, share: float = SHARE) -> None:
        if not callable(loss):
            raise UsageError(
                f"SideHeads(loss, share): the loss is {loss!r:.60}, must be a function of logits and labels"
            )
        if not isinstance(share, numbers.Real) or not share >= 0:
            raise UsageError(f"SideHeads: share is {share!r:.60}, must be a number of 0 or more")
        self.loss, self.share = loss, float(share)

    def __call__(self, logits: Array, labels: Array) -> tuple[Array, Array]:
        main_head(logits)  # or it says what is wrong
        if logits.ndim == 2:
            return call_loss(self.loss, logits, labels)
        dlogits = array_module(logits).empty_like(logits)
        loss, dlogits[:, 0] = call_loss(self.loss, logits[:, 0], labels)
        for h in range(1, logits.shape[1]):
            side, d = call_loss(self.loss, logits[:, h], labels)
            loss = loss + side * self.share
            dlogits[:, h] = d * self.share
        return array_module(logits).asarray(loss), dlogits

    def weight(self, labels: Array) -> Array | None:
        """What the mean of `loss` divides by; None: the number of labels."""
        return mean_weight(self.loss, labels)


def main_head(logits: Array) -> Array:
    """The logits (N, K) of the main head, of logits (N, K) or (N, 1 + H, K)."""
    array_module(logits)
    if logits.ndim not in (2, 3) or not logits.size:
        raise ShapeError(
            f"logits have shape {logits.shape}: expected (N, K), or (N, heads, K) with the main one first"
        )
    return logits if logits.ndim == 2 else logits[:, 0]
