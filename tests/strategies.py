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


@dataclass(frozen=True)
class GeneralWindow:
    """Options of a general convolution or pool, and an input (N, H, W, C) that its window fits."""

    shape: tuple[int, int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] | str
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    ceil_mode: bool = False

    @property
    def pool(self) -> tuple:
        return self.kernel, self.stride, self.padding, self.ceil_mode


def pairs(low: int, high: int) -> st.SearchStrategy:
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def general_convolutions(draw, max_groups: int = 3) -> GeneralWindow:
    """Other sizes on each axis, "same", dilation, gaps, and groups of one channel or several."""
    kernel, stride, dilation = draw(pairs(1, 3)), draw(pairs(1, 3)), draw(pairs(1, 3))
    padding = draw(st.one_of(st.just("same"), pairs(0, 3)))
    room = (0, 0) if padding == "same" else padding
    spans = [d * (k - 1) + 1 - 2 * p for k, d, p in zip(kernel, dilation, room, strict=True)]
    fits = [1, 1] if padding == "same" else [max(1, span) for span in spans]
    h, w = (draw(st.integers(fit, fit + 5)) for fit in fits)
    groups = draw(st.integers(1, max_groups))
    shape = (draw(st.integers(1, 3)), h, w, groups * draw(st.integers(1, 2)))
    return GeneralWindow(shape, kernel, stride, padding, dilation, groups)


@st.composite
def general_pools(draw, max_channels: int = 3) -> GeneralWindow:
    """Other sizes on each axis, and last windows that hang over: of a kernel larger than the image, too."""
    kernel, stride, ceil_mode = draw(pairs(1, 4)), draw(pairs(1, 4)), draw(st.booleans())
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    over = [min(s - 1, k - 1) if ceil_mode else 0 for k, s in zip(kernel, stride, strict=True)]
    fits = [max(1, k - 2 * p - o) for k, p, o in zip(kernel, padding, over, strict=True)]
    h, w = (draw(st.integers(fit, fit + 5)) for fit in fits)
    shape = (draw(st.integers(1, 3)), h, w, draw(st.integers(1, max_channels)))
    return GeneralWindow(shape, kernel, stride, padding, ceil_mode=ceil_mode)


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
