"""Clipping of gradients: a step that would be too long keeps its direction and becomes shorter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from minidl.backend.arrays import Array, array_module
from minidl.errors import UsageError
from minidl.layers.parameter import FROZEN, Parameter

__all__ = ["clip_norm", "gradient_norm"]

BLOCK = 1 << 20  # gradients are squared so many at a time: 8 MB in float64
EPS = 1e-6


def gradient_norm(params: Iterable[Parameter] | Mapping[str, Parameter]) -> Array:
    """|g| = sqrt(sum g^2) over the gradients of all `params` but frozen ones: a 0-d float64 array on their device.

    The sum is in float64 and always in the same order, so it has the same bits each time, and 1e30 doesn't overflow.
    """
    return _norm(_learning(params))


def _norm(params: list[Parameter]) -> Array:
    total, xp = 0.0, None
    for p in params:
        xp, flat = array_module(p.grad), p.grad.reshape(-1)
        for i in range(0, p.size, BLOCK):
            total = total + xp.square(flat[i : i + BLOCK], dtype=xp.float64).sum()
    if xp is None:
        raise UsageError("the norm of no gradients: all parameters are frozen, or there are none")
    return xp.sqrt(xp.asarray(total))


def clip_norm(params: Iterable[Parameter] | Mapping[str, Parameter], most: float) -> Array:
    """Shortens the gradients of all `params` together to the norm `most` if they are longer; returns the norm before.

        g <- g min(1, most / (|g| + 1e-6)),      |g| = gradient_norm(params)

    All gradients have the same factor, so the direction of the step stays (Pascanu et al. 2013, section 3.2). The
    1e-6 is PyTorch's, in torch.nn.utils.clip_grad_norm_. Nothing waits for the device: the factor stays there, and
    gradients that are short enough are multiplied by 1. A NaN in the norm makes all gradients NaN.
    """
    if not most > 0:
        raise UsageError(f"gradients can't be clipped to the norm {most}: choose a number above 0")
    params = _learning(params)
    norm = _norm(params)
    xp = array_module(norm)
    factor = xp.asarray(xp.minimum(most / (norm + EPS), 1.0))
    for p in params:
        p.grad[...] *= factor.astype(p.dtype)
    return norm


def _learning(params: Iterable[Parameter] | Mapping[str, Parameter]) -> list[Parameter]:
    """Those that aren't frozen; of `model.named_parameters()` too."""
    params = list(params.values() if isinstance(params, Mapping) else params)
    if other := [p for p in params if not isinstance(p, Parameter)]:
        raise UsageError(f"{other[0]!r:.60} is no Parameter: give model.named_parameters()")
    return [p for p in params if FROZEN not in p.tags]
