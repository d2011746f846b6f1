"""The sum over a square window around every pixel: an average pool without its factor."""

from __future__ import annotations

import numpy as np

from minidl.engine.tiles.runner import Scratch

Array = np.ndarray


def box_sum(x: Array, kernel: int, out: Array, scratch: Scratch) -> None:
    """out = the sum over the k x k window around every pixel of x (n, H, W, C), with zeros outside; out may be x.

    It first sums along H, then sums these sums along W: 2 k terms instead of k^2. Pixel j is in the window of i
    exactly if i is in the window of j. So the sum is its own transpose, and its backward pass is `box_sum` of the
    gradient.
    """
    n, h, w, c = x.shape
    p = kernel // 2
    if p == 0:
        out[...] = x
        return
    shape = n, h + 2 * p, w + 2 * p, c
    padded, pixels = scratch.bordered(f"box of {kernel}", shape, x.dtype, lambda a: a[:, p : p + h, p : p + w])
    pixels[...] = x
    lines = scratch("box lines", (n, h, w + 2 * p, c), x.dtype)
    np.add(padded[:, :h], padded[:, 1 : h + 1], out=lines)
    for k in range(2, kernel):
        lines += padded[:, k : k + h]
    total = scratch("box total", x.shape, x.dtype)
    np.add(lines[:, :, :w], lines[:, :, 1 : w + 1], out=total)
    for k in range(2, kernel):
        total += lines[:, :, k : k + w]
    out[...] = total  # adding into a slice of channels takes longer than copying
