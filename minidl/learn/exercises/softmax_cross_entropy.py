"""The loss of a classifier, and its gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from minidl.kernels import reference
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, returns
from minidl.learn.exercises.paper import number


def logit_cases(rng: np.random.Generator, smoothings: tuple[float, ...]) -> list[Case]:
    """Logits, labels and in turn one of the smoothings; by hand two images and two classes, all logits 0."""
    by_hand = {"logits": np.zeros((2, 2)), "labels": np.array([0, 0]), "smoothing": smoothings[0]}
    cases = [Case(by_hand, _about(2, 2, "ordinary", smoothings[0]))]
    shapes = ((1, 6), (2, 3), (3, 3), (3, 2), (4, 5), (7, 4), (5, 10))
    for i, (n, k) in enumerate(shapes):
        smoothing = smoothings[i % len(smoothings)]
        arguments = {"logits": rng.normal(size=(n, k)), "labels": rng.integers(0, k, n), "smoothing": smoothing}
        cases.append(Case(arguments, _about(n, k, "ordinary", smoothing)))
    for i, middle in enumerate((1000, -1000)):
        logits, labels = rng.normal(size=(2, 2)) + np.array([[middle], [-middle]]), rng.integers(0, 2, 2)
        logits[0, 1 - labels[0]] += 900  # image 0 is wrong by 900: p of its label is 0 after rounding
        smoothing = smoothings[i % len(smoothings)]
        arguments = {"logits": logits, "labels": labels, "smoothing": smoothing}
        cases.append(Case(arguments, _about(2, 2, "about 1000", smoothing)))
    return cases


def _about(n: int, k: int, size: str, smoothing: float) -> dict[str, int | str]:
    return {"smoothing": f"{smoothing:g}", "the size of the logits": size, "N": n, "K": k}


def on_paper(arguments: Arguments, name: str, index: tuple[int, ...]) -> str | None:
    logits, labels, s = arguments["logits"], arguments["labels"], arguments["smoothing"]
    n, k = logits.shape
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    q = (1 - s) * (labels[:, None] == np.arange(k)) + s / k
    if name == "loss":
        each = 0 - (q * log_p).sum(axis=1)
        of = "-sum of q log p" if s else "-log p[label]"
        return f"the mean of {of} over the images = ({' + '.join(map(number, each))}) / {n} = {each.mean():.6g}"
    p, q = np.exp(log_p[index]), q[index]
    share = f" with q = {1 - s:.4g} * {int(labels[index[0]] == index[1])} + {s:.4g} / {k}" if s else ""
    return f"(p - q) / N = ({p:.4g} - {q:.4g}) / {n} = {(p - q) / n:.6g}{share}"


def witness(arguments: Arguments) -> Mapping[str, tuple[Callable, np.ndarray]]:
    labels, smoothing = arguments["labels"], arguments["smoothing"]
    return {
        "dlogits": (lambda z: reference.softmax_cross_entropy(z, labels, smoothing)[0], arguments["logits"]),
    }


def _of_the_probability(logits: np.ndarray, labels: np.ndarray, smoothing: float) -> tuple[np.ndarray, np.ndarray]:
    """The derivative by p, which is -1/p for the label, in place of the derivative by z."""
    n, k = logits.shape
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    loss, _ = reference.softmax_cross_entropy(logits, labels, smoothing)
    return loss, np.where(labels[:, None] == np.arange(k), -1 / p, 0) / n


_STABLE = "logits - logits.max(axis=1, keepdims=True)"
_OVERFLOW = (
    "Right for ordinary logits. exp(1000) is inf in float64, and inf/inf is NaN; exp(-1000) is 0, and so is the sum. "
    "Subtract the row's maximum first: the loss is the same."
)

EXERCISE = Exercise(
    name="softmax_cross_entropy",
    chapter="02_softmax",
    target="minidl.kernels.reference:softmax_cross_entropy",
    task="Return the loss, the mean over the images of -log p[label], and its gradient with respect to the logits. "
    "In this exercise smoothing is always 0. Logits may be as large as 1000, and p of a label may be so small that "
    "it is 0 after rounding: the loss is finite all the same. So compute log p = z - m - log(sum of exp(z - m)) "
    "with the row's maximum m, and not the logarithm of p.",
    cases=lambda rng: logit_cases(rng, (0.0,)),
    call=returns("loss", "dlogits"),
    worked=on_paper,
    gradient=witness,
    mistakes=(
        Mistake(
            "mean missing in the gradient",
            "dlogits is exactly N times too large: the mean over the batch is missing. The loss is a mean over N "
            "images, so every gradient has the factor 1/N.",
            (("    dz /= n\n", ""),),
        ),
        Mistake(
            "mean missing",
            "The loss and dlogits are exactly N times too large: the mean over the batch is missing. Without it, a "
            "larger batch would make larger steps.",
            (("((1 - smoothing) / n)", "(1 - smoothing)"), ("    dz /= n\n", "")),
        ),
        Mistake(
            "mean missing in the loss",
            "The loss is exactly N times too large: the mean over the batch is missing. dlogits is right.",
            (("((1 - smoothing) / n)", "(1 - smoothing)"),),
        ),
        Mistake(
            "label not subtracted",
            "dlogits is p / N: the 1 of the label isn't subtracted. dlogits = (p - q) / N, where q is 1 for the "
            "label and 0 for the others; so every row adds up to 0.",
            (("dz = p - one_hot.astype(p.dtype) * (1 - smoothing)", "dz = p"),),
        ),
        Mistake(
            "derivative by p",
            "You stopped at the derivative of the loss with respect to p, which is -1/p for the label. p depends "
            "on z through softmax: one more step of the chain rule gives (p - q) / N.",
            wrong=_of_the_probability,
        ),
        Mistake(
            "not normalized",
            "In dlogits p isn't divided by the sum of its row. The probabilities of an image add up to 1, so every "
            "row of dlogits adds up to 0.",
            (("    p /= total\n", ""),),
        ),
        Mistake(
            "sum missing",
            "In log p the logarithm of the sum is missing: log p = z - m - log(sum of exp(z - m)).",
            (("    log_p -= xp.log(total)\n", ""),),
        ),
        Mistake(
            "logarithm of zero",
            "Right for ordinary logits. Where p of the label is 0 after rounding, log(p) is -inf. "
            "Compute log p without p: z - m - log(sum of exp(z - m)).",
            (("    p /= total\n", "    p /= total\n    log_p = xp.log(p)\n"),),
        ),
        Mistake("overflows", _OVERFLOW, ((_STABLE, "logits.copy()"),)),
        Mistake(
            "overflows before the logarithm",
            _OVERFLOW,
            ((_STABLE, "logits.copy()"), ("    p /= total\n", "    p /= total\n    log_p = xp.log(p)\n")),
        ),
        Mistake(
            "all classes in the loss",
            "You added -log p of all classes. Only the label's counts: log p[i, labels[i]] for each image i.",
            (("xp.take_along_axis(log_p, labels[:, None], axis=1).sum()", "log_p.sum()"),),
        ),
        Mistake(
            "no logarithm",
            "The logarithm is missing in the loss: you took the mean of -p[label]. dlogits is right.",
            (("-xp.take_along_axis(log_p,", "-xp.take_along_axis(p,"),),
        ),
        Mistake(
            "sum over the images",
            "The sum of exp goes over the images. The probabilities of one image, its row, must add up to 1: axis 1.",
            (("p.sum(axis=1", "p.sum(axis=0"),),
        ),
        Mistake(
            "wrong axis",
            "The probabilities are normalized over the images. Those of one image, its row, must add up to 1: axis "
            "1.",
            (("max(axis=1", "max(axis=0"), ("p.sum(axis=1", "p.sum(axis=0")),
        ),
    ),
    hints=(
        "First log p, row by row; p is exp of it. The loss takes one number out of each row.",
        "d log p_y / dz_j is [j = y] - p_j. So the gradient of the loss is p, minus 1 at the label, divided by N.",
        "z = logits - logits.max(axis=1, keepdims=True); log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True)); "
        "rows = np.arange(n); loss = -log_p[rows, labels].mean(); dz = np.exp(log_p); dz[rows, labels] -= 1; dz /= "
        "n.",
    ),
)
