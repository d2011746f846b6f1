"""Inputs for the exercises on batch normalization: x (..., C), whose sums run over the M numbers of a channel."""

from __future__ import annotations

import math

import numpy as np

from minidl.kernels.reference import batch_statistics
from minidl.learn.exercises.paper import number

# One number is special at a time, so that a diagnosis can name it; then some at once.
SHAPES = ((4, 2), (5, 3), (1, 2, 2, 1), (1, 2, 3, 2), (2, 2, 2, 1), (2, 2, 3, 3), (3, 4, 2, 2), (4, 3, 3, 5))

HAND = np.array([[1.0], [2], [3]])  # three numbers of one channel: the mean is 2


def about(shape: tuple[int, ...]) -> dict[str, int | str]:
    """What is special about an input of this shape."""
    m = math.prod(shape[:-1])
    return {"M": m, "N": shape[0], "C": shape[-1], "M C": m * shape[-1], "the number of axes": len(shape)}


def moments(x: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """(mean, inv_std) of the batch, both (C,)."""
    mean, var = batch_statistics(x)
    return mean, 1 / np.sqrt(var + eps)


def unlike_the_batch(rng: np.random.Generator, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """A (mean, inv_std) that isn't the batch's, as the running statistics are in PROBE mode."""
    return rng.normal(size=channels), rng.uniform(0.5, 2, channels)


def on_paper(dy: np.ndarray, xhat: np.ndarray, scale: np.ndarray, index: tuple[int, ...]) -> str:
    """dx[index] = scale (dy - dbeta/M - xhat dgamma/M) with its numbers, where scale = gamma inv_std."""
    c, m = index[-1], dy.size // dy.shape[-1]
    dbeta, dgamma = dy[..., c].sum(), (dy * xhat)[..., c].sum()
    dx = scale[c] * (dy[index] - dbeta / m - xhat[index] * dgamma / m)
    return (
        f"{number(scale[c])}*({number(dy[index])} - {number(dbeta)}/{m} - {number(xhat[index])}*{number(dgamma)}/{m})"
        f" = {dx:.6g}, "
        "which is gamma inv_std (dy - dbeta/M - xhat dgamma/M)"
    )
