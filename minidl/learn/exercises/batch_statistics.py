"""Mean and variance of every channel."""

from __future__ import annotations

import numpy as np

from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, returns
from minidl.learn.exercises.channels import HAND, SHAPES, about
from minidl.learn.exercises.paper import number


def _cases(rng: np.random.Generator) -> list[Case]:
    whole = np.array([[1.0, 10], [2, 30], [3, 20], [6, 40]])
    # The mean is 134217729, the variance 1. In one pass it is 0 in whatever order the squares are added.
    far = np.array([[2.0**27], [2.0**27 + 2], [2.0**27], [2.0**27 + 2]])
    inputs = [
        (HAND.copy(), "near 0"),
        (whole, "near 0"),
        *((rng.normal(1, 2, shape), "near 0") for shape in SHAPES[1:]),
        (far, "far from 0"),
    ]
    return [Case({"x": x}, {**about(x.shape), "the mean": mean}) for x, mean in inputs]


def _worked(arguments: Arguments, name: str, index: tuple[int, ...]) -> str | None:
    x = arguments["x"].reshape(-1, arguments["x"].shape[-1])[:, index[0]]  # (..., C) -> (M,)
    if len(x) > 4:
        return None
    if name == "mean":
        return f"({' + '.join(f'{v:.10g}' for v in x)}) / {len(x)} = {x.mean():.10g}"
    deviations = " + ".join(f"{number(v)}^2" for v in x - x.mean())
    return f"({deviations}) / {len(x)} = {x.var():.6g}, the mean of (x - mean)^2"


EXERCISE = Exercise(
    name="batch_statistics",
    chapter="06_batch_norm",
    target="minidl.kernels.reference:batch_statistics",
    task="Compute the mean and the variance of every channel. The channels are the last axis; the sums run over all "
    "other axes, however many there are: x is (N, H, W, C) after a convolution and (N, C) after a linear layer. "
    "The variance divides by M, not by M - 1. Both results are float64, also where x is float32.",
    cases=_cases,
    call=returns("mean", "var"),
    worked=_worked,
    mistakes=(
        Mistake(
            "unbiased",
            "The variance is divided by M - 1 instead of M. Batch normalization divides by M, so that the normalized "
            "numbers have variance 1 exactly. Only the running variance gets the factor M / (M - 1).",
            ((".mean(axis=axes)", ".sum(axis=axes) / (x.size // x.shape[-1] - 1)"),),
        ),
        Mistake(
            "one pass",
            "Right, except where the mean is far from 0: the mean of x^2 minus the square of the mean is a "
            "difference of two large numbers, and the digits that count are lost. (Here x is 134217728 and "
            "134217730 in turn.) Subtract the mean first, then square.",
            (("((x - mean) ** 2).mean(axis=axes)", "(x * x).mean(axis=axes) - mean**2"),),
        ),
        Mistake(
            "mean not subtracted",
            "var is the mean of x^2. The variance is the mean of the squared distance from the mean: subtract the "
            "mean before you square.",
            (("((x - mean) ** 2)", "(x**2)"),),
        ),
        Mistake(
            "standard deviation",
            "That is the standard deviation. The variance is asked for: leave out the root.",
            (("((x - mean) ** 2).mean(axis=axes)", "((x - mean) ** 2).mean(axis=axes) ** 0.5"),),
        ),
        Mistake(
            "sum of squares",
            "var is M times too large: it is a sum, and must be a mean over the M numbers of a channel.",
            (("** 2).mean(axis=axes)", "** 2).sum(axis=axes)"),),
        ),
        Mistake(
            "absolute distance",
            "var is the mean of |x - mean|. The variance squares the distances.",
            (("((x - mean) ** 2)", "abs(x - mean)"),),
        ),
        Mistake(
            "batch axis only",
            "You took the mean over the images only, so every pixel has statistics of its own. In an image all "
            "pixels of a channel share one mean and one variance: take the mean over N, H and W.",
            (("axes = tuple(range(x.ndim - 1))", "axes = 0"),),
        ),
        Mistake(
            "four axes only",
            "It works for four axes only. After a linear layer x is (N, C): take all axes but the last, however many "
            "there are.",
            (("axes = tuple(range(x.ndim - 1))", "axes = (0, 1, 2)"),),
        ),
        Mistake(
            "channels first",
            "You took the channels from axis 1, as in torch. Here they are the last axis.",
            wrong=lambda x: (x.mean(axis=(0, *range(2, x.ndim))), x.var(axis=(0, *range(2, x.ndim)))),
        ),
        Mistake(
            "over the channels",
            "You took the mean over the channels of every pixel. It is the other way round: the channels are the "
            "one axis that stays.",
            wrong=lambda x: (x.mean(axis=-1), x.var(axis=-1)),
        ),
        Mistake(
            "all channels together",
            "You have one mean for all channels together. Every channel has a mean and a variance of its own: keep "
            "the last axis.",
            (("axes = tuple(range(x.ndim - 1))", "axes = None"),),
        ),
    ),
    hints=(
        "Which axes must disappear, so that (C,) is left? All but the last. How many is that for (N, C), and for "
        "(N, H, W, C)?",
        "x.mean(axis=...) takes a tuple of axes, and dtype=np.float64 makes it sum in float64. For the variance, "
        "subtract the mean before you square.",
        "axes = tuple(range(x.ndim - 1)); mean = x.mean(axis=axes, dtype=np.float64); var is the mean of "
        "(x - mean) ** 2 over the same axes.",
    ),
)
