"""Random geometry for the tests: windows that fit, memory layouts, and layers with random parameters."""

from dataclasses import dataclass

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from minidl.layers import Layer, Mode

LAYOUTS = ("C", "F", "channels first", "slice of channels", "reversed")


def cases(n: int) -> settings:
    """The decorator that asks for `n` random cases."""
    return settings(max_examples=n)


@dataclass(frozen=True)
class Window:
    """A square window and an input (N, H, W, C) that it fits."""

    shape: tuple[int, int, int, int]
    kernel: int
    stride: int
    padding: int

    @property
    def geometry(self) -> tuple[int, int, int]:
        return self.kernel, self.stride, self.padding


@st.composite
def windows(draw, pool: bool, max_channels: int = 4) -> Window:
    """Overlap, gaps (stride > kernel), padding (up to half the kernel for a pool), H != W, one image or channel."""
    kernel = draw(st.integers(1, 5))
    padding = draw(st.integers(0, kernel // 2 if pool else kernel))
    fits = max(1, kernel - 2 * padding)
    h, w = (draw(st.integers(fits, fits + 6)) for _ in range(2))
    shape = (draw(st.integers(1, 3)), h, w, draw(st.integers(1, max_channels)))
    return Window(shape, kernel, draw(st.integers(1, 4)), padding)


def shapes(max_side: int = 6, min_batch: int = 1) -> st.SearchStrategy:
    """(N, H, W, C)"""
    side = st.integers(1, max_side)
    return st.tuples(st.integers(min_batch, 4), side, side, st.integers(1, 5))


@dataclass(frozen=True)
class Setup:
    """Mode of the forward pass, memory layouts of x and dy, and the seed of all numbers."""

    mode: Mode
    x_layout: str
    dy_layout: str
    seed: int


layouts = st.sampled_from(LAYOUTS)
seeds = st.integers(0, 2**32 - 1)
setups = st.builds(Setup, st.sampled_from([Mode.TRAIN, Mode.PROBE]), layouts, layouts, seeds)


def arranged(x: np.ndarray, layout: str) -> np.ndarray:
    """The values of `x` in another order in memory. What lies between the values is NaN."""
    if layout == "F":
        return np.asfortranarray(x)
    if layout == "channels first":
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, -1, 1)), 1, -1)
    if layout == "slice of channels":  # as Concat cuts its dy
        wide = np.full((*x.shape[:-1], x.shape[-1] + 3), np.nan, x.dtype)
        wide[..., 1:-2] = x
        return wide[..., 1:-2]
    if layout == "reversed":
        return np.flip(np.ascontiguousarray(np.flip(x)))
    return np.ascontiguousarray(x)


def randomized(layer: Layer, rng: np.random.Generator) -> Layer:
    """`layer` with random parameters, also those that start at zero or one, and random running statistics."""
    for name, p in layer.named_parameters().items():
        p.value[...] = rng.normal(size=p.value.shape) * (1 if p.value.ndim == 1 else np.std(p.value) or 1)
        if name.endswith("gamma"):
            p.value += np.sign(p.value) / 2  # not too close to zero, of either sign
    for name, b in layer.named_buffers().items():
        b[...] = rng.uniform(0.5, 2, b.shape) if name.endswith("var") else rng.normal(size=b.shape)
    return layer
