"""Inputs for the exercises on the way back through max pooling, whose index says where every maximum lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from minidl.kernels import reference
from minidl.learn.exercise import Arguments, Case
from minidl.learn.exercises.geometry import POOLS, Geometry, pool_about

# Four 3x3 windows on a 5x5 map share the maximum in the centre; of two windows in a row each has its own.
CENTRE, ROW = Geometry(1, 5, 5, 1, 3, 3, 1, 2, 0), Geometry(1, 2, 4, 1, 2, 2, 1, 2, 0)


def back_case(x: np.ndarray, dy: np.ndarray, g: Geometry, **more: str) -> Case:
    """dy and the index of max pooling x, and the geometry; `more` goes to the arguments too."""
    x = np.array(x, float).reshape(g.n, g.h, g.w, g.c)
    y, index = reference.max_pool(x, g.kh, g.stride, g.padding)
    dy = np.array(dy, float).reshape(y.shape)
    arguments = {"dy": dy, "index": index, "x_shape": x.shape}
    arguments |= {"kernel": g.kh, "stride": g.stride, "padding": g.padding}
    shared = (hits(arguments) > 1).any()
    about = {"every maximum": "in several windows" if shared else "in one window", **pool_about(g, **more)}
    return Case(arguments | more, about)


def peak() -> np.ndarray:
    """A 5x5 map with the largest number in the centre."""
    x = np.arange(25.0)
    x[12] = 100
    return x


def random_cases(rng: np.random.Generator, overlaps: tuple[str, ...] = ()) -> list[Case]:
    """One case for each geometry of the pooling exercises; `overlaps` in turn, if there are any."""
    cases = []
    for i, g in enumerate(POOLS):
        more = {"overlap": overlaps[i % len(overlaps)]} if overlaps else {}
        x, dy = rng.normal(size=(g.n, g.h, g.w, g.c)), rng.normal(size=(g.n, *g.out, g.c))
        cases.append(back_case(x, dy, g, **more))
    return cases


def receivers(arguments: Arguments) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(n, row, column, c) of the pixel of x that every dy goes to, each (N, OH, OW, C)."""
    index, kernel, stride, padding = (arguments[name] for name in ("index", "kernel", "stride", "padding"))
    n, oh, ow, c = np.indices(index.shape)
    kh, kw = np.divmod(index.astype(int), kernel)
    return n, oh * stride - padding + kh, ow * stride - padding + kw, c


def hits(arguments: Arguments) -> np.ndarray:
    """How many windows have their maximum at each pixel, the shape of x."""
    counts = np.zeros(arguments["x_shape"], int)
    np.add.at(counts, receivers(arguments), 1)
    return counts


def sharing(arguments: Arguments, name: str) -> Mapping[str, np.ndarray]:
    """The places where several windows have their maximum."""
    return {"where windows share their maximum": hits(arguments) > 1}


def received(arguments: Arguments, index: tuple[int, ...]) -> list[float]:
    """The dy of the windows whose maximum lies at `index`, in the order of the windows."""
    there = np.all([place == i for place, i in zip(receivers(arguments), index, strict=True)], axis=0)
    return [float(v) for v in arguments["dy"][there]]


def window_by_window(write: Callable[[np.ndarray, np.ndarray, np.ndarray], None]) -> Callable:
    """A wrong way back that goes through the windows in order: `write(block, mask, dy)` changes a window of dx."""

    def max_pool_dx(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
        n, h, w, c = x_shape
        padded = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dy.dtype)
        pixel = np.arange(kernel**2).reshape(kernel, kernel, 1)
        for oh, ow in np.ndindex(dy.shape[1:3]):
            rows, columns = (slice(o * stride, o * stride + kernel) for o in (oh, ow))
            mask = pixel == index[:, oh, ow][:, None, None]  # (N, K, K, C)
            write(padded[:, rows, columns], mask, dy[:, oh, ow][:, None, None])
        return reference.unpad2d(padded, padding)

    return max_pool_dx
