"""Losses: how wrong the outputs of a network are, and the gradient of that. Nothing here waits for the device.

A loss is a function (logits, labels) -> (loss, dlogits), as `Trainer(..., loss=...)` takes it. If its mean is not
over the images but over weights, it has a method `weight(labels)`, the number that the mean divides by: so processes
which share a batch can put it together again (`minidl/parallel/step.py`).
"""

from minidl.losses.binary import binary_cross_entropy
from minidl.losses.cross_entropy import softmax, softmax_cross_entropy, top_k_correct
from minidl.losses.heads import SideHeads, main_head
from minidl.losses.ranks import label_ranks
from minidl.losses.weighted import CrossEntropy, balanced_weights, weighted_cross_entropy

__all__ = [
    "CrossEntropy",
    "SideHeads",
    "balanced_weights",
    "binary_cross_entropy",
    "label_ranks",
    "main_head",
    "softmax",
    "softmax_cross_entropy",
    "top_k_correct",
    "weighted_cross_entropy",
]
