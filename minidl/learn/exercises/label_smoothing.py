"""The loss with softened targets: a little for every class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minidl.learn.exercise import Exercise, Mistake, returns
from minidl.learn.exercises.softmax_cross_entropy import logit_cases, on_paper, witness


def _with_target(target: Callable[[np.ndarray, float, int], np.ndarray]) -> Callable:
    """Loss and (p - q) / N for the targets q = target(one_hot, smoothing, K)."""

    def wrong(logits: np.ndarray, labels: np.ndarray, smoothing: float) -> tuple[np.ndarray, np.ndarray]:
        n, k = logits.shape
        z = logits - logits.max(axis=1, keepdims=True)
        log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        q = target((labels[:, None] == np.arange(k)).astype(logits.dtype), smoothing, k)
        return -(q * log_p).sum() / n, (np.exp(log_p) - q) / n

    return wrong


EXERCISE = Exercise(
    name="label_smoothing",
    chapter="02_softmax",
    target="minidl.kernels.reference:softmax_cross_entropy",
    task="The same function as softmax_cross_entropy, now for any smoothing s from 0 to 1. The target of a class is "
    "no longer 1 or 0, but q = (1 - s) [it is the label] + s / K: a share s is spread over all K classes, the label "
    "among them. Return the loss, -(1/N) times the sum of q log p over all images and classes, and its gradient.",
    cases=lambda rng: logit_cases(rng, (0.5, 0.1, 0.0, 1.0, 0.2)),
    call=returns("loss", "dlogits"),
    worked=on_paper,
    gradient=witness,
    mistakes=(
        Mistake(
            "smoothing ignored",
            "You never used smoothing: right only where it is 0.",
            (("    xp = array_module(logits)\n", "    xp, smoothing = array_module(logits), 0\n"),),
        ),
        Mistake(
            "spread over the others",
            "You spread s over the K - 1 other classes. Here it is spread over all K, the label among them: "
            "the label has 1 - s + s / K, every other class s / K.",
            wrong=_with_target(lambda one_hot, s, k: (1 - s) * one_hot + s / max(k - 1, 1) * (1 - one_hot)),
        ),
        Mistake(
            "label not lowered",
            "You added s / K to every class, but left 1 for the label. Then the targets add up to 1 + s. The label's "
            "own part is 1 - s.",
            wrong=_with_target(lambda one_hot, s, k: one_hot + s / k),
        ),
        Mistake(
            "label without its share",
            "The label has 1 - s, and the others s / K. The share s is spread over all K classes, the label among "
            "them: the label has 1 - s + s / K. The targets must add up to 1.",
            wrong=_with_target(lambda one_hot, s, k: (1 - s) * one_hot + s / k * (1 - one_hot)),
        ),
        Mistake(
            "label with 1 - s / K",
            "The label has 1 - s / K, and the others s / K. The label keeps 1 - s, and gets s / K as every class "
            "does: 1 - s + s / K. The targets must add up to 1.",
            wrong=_with_target(lambda one_hot, s, k: one_hot * (1 - s / k) + s / k * (1 - one_hot)),
        ),
        Mistake(
            "nothing for the others",
            "The label has 1 - s, but the share s / K of every class is missing. The targets must add up to 1.",
            wrong=_with_target(lambda one_hot, s, k: (1 - s) * one_hot),
        ),
        Mistake(
            "s for every class",
            "Every class gets s. The share s is spread over all classes: each gets s / K.",
            wrong=_with_target(lambda one_hot, s, k: (1 - s) * one_hot + s),
        ),
        Mistake(
            "exchanged",
            "s and 1 - s are exchanged: without smoothing, where s is 0, the label must have all.",
            wrong=_with_target(lambda one_hot, s, k: s * one_hot + (1 - s) / k),
        ),
        Mistake(
            "gradient not smoothed",
            "The loss is right, but dlogits is the gradient without smoothing. The same q stands in both: (p - q) / "
            "N.",
            (("        dz -= smoothing / k\n", ""), ("astype(p.dtype) * (1 - smoothing)", "astype(p.dtype)")),
        ),
        Mistake(
            "loss not smoothed",
            "dlogits is right, but the loss is the one without smoothing. The same q stands in both: sum of q log p.",
            (("        loss -= log_p.sum() * (smoothing / (n * k))\n", ""), ("* ((1 - smoothing) / n)", "* (1 / n)")),
        ),
        Mistake(
            "mean missing",
            "dlogits is exactly N times too large: the mean over the batch is missing. The loss is a mean over N "
            "images, so every gradient has the factor 1/N.",
            (("    dz /= n\n", ""),),
        ),
    ),
    hints=(
        "Write the row of targets q down for K = 4 and s = 0.2. What does it add up to?",
        "The derivation of the gradient never used that q is 1 or 0, only that it adds up to 1. So dlogits is still "
        "(p - q) / N.",
        "q = (1 - s) * one_hot + s / k; loss = -(q * log_p).sum() / n; dlogits = (np.exp(log_p) - q) / n, where "
        "log_p is that of the exercise before.",
    ),
)
