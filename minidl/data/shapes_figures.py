"""The 20 classes of `shapes`: outlines as signed distances, figures made of outlines, and a table of figures.

A figure is a list of `(d, tone)`. `d` (64, 64) is the signed distance in pixels to an outline (negative inside), and
`tone` the position of its colour in the image's palette. Later elements cover earlier ones. Distances combine like
sets: `minimum` is the union, `maximum` the intersection, `-d` the complement.
(Signed distance functions: I. Quilez, "2D distance functions", iquilezles.org/articles/distfunctions2d.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

HUE_YELLOW, HUE_GREEN = 0.15, 0.36
Figure = list[tuple[np.ndarray, int]]


# Outlines. u runs to the right and v down, in pixels from the figure's centre; r is the figure's radius.
def disc(u, v, r, x=0.0, y=0.0):
    return np.hypot(u - x, v - y) - r


def box(u, v, half_width, half_height, x=0.0, y=0.0):
    return np.maximum(abs(u - x) - half_width, abs(v - y) - half_height)


def star(u, v, r, tips, inner):
    """A star whose notches lie at `inner * r`; with inner = cos(pi / tips) it is the regular polygon."""
    half = math.pi / tips
    angle = abs(np.mod(np.arctan2(u, -v) + half, 2 * half) - half)  # every tip folded onto one half of the first
    radius = np.hypot(u, v)
    along, across = inner * math.cos(half) - 1, inner * math.sin(half)  # from the tip (1, 0) to the notch
    return ((radius * np.cos(angle) - r) * across - radius * np.sin(angle) * along) / math.hypot(along, across)


def stripes(v, period):
    return abs(np.mod(v, period) - period / 2) - period / 4


def either(a, b):
    """Exclusive or: inside one outline but not inside both."""
    return np.maximum(np.minimum(a, b), -np.maximum(a, b))


# Figures.
def paint_disc(u, v, r, rng) -> Figure:
    return [(disc(u, v, r), 0)]


def paint_ring(u, v, r, rng) -> Figure:
    return [(abs(disc(u, v, 0.78 * r)) - rng.uniform(0.14, 0.22) * r, 0)]


def paint_blob(u, v, r, rng) -> Figure:
    """A cloud without an outline: Gaussian bumps, with `d` falling so slowly that the border is soft."""
    bumps = sum(
        np.exp(-2.6 * ((u - x) ** 2 + (v - y) ** 2) / r**2) for x, y in rng.uniform(-0.65 * r, 0.65 * r, (4, 2))
    )
    return [(0.75 - bumps, 0)]


def paint_plus(u, v, r, rng) -> Figure:
    arm = rng.uniform(0.22, 0.34) * r
    return [(np.minimum(box(u, v, r, arm), box(u, v, arm, r)), 0)]


def paint_saltire(u, v, r, rng) -> Figure:
    return paint_plus((u + v) * math.sqrt(0.5), (u - v) * math.sqrt(0.5), r, rng)


def paint_star(u, v, r, rng) -> Figure:
    return [(star(u, v, 1.15 * r, 5, rng.uniform(0.38, 0.46)), 0)]


def paint_triangle(u, v, r, rng) -> Figure:
    return [(star(u, v, 1.3 * r, 3, math.cos(math.pi / 3)), 0)]


def paint_square(u, v, r, rng) -> Figure:
    return [(box(u, v, 0.82 * r, 0.82 * r), 0)]


def paint_crescent(u, v, r, rng) -> Figure:
    bite = disc(u, v, r, x=rng.uniform(0.6, 0.7) * r)
    return [(np.maximum(disc(u, v, 1.1 * r), -bite), 0)]


def paint_pole(u, v, r, rng) -> Figure:
    half = rng.uniform(2.0, 3.5)
    return [(abs(u) - half - 1, 1), (abs(u) - half, 0), (abs(u + 0.4 * half) - 0.3 * half, 2)]


def paint_vertical_tricolour(u, v, r, rng) -> Figure:
    v = v + rng.uniform(0, 2) * np.sin(u * 0.2 + rng.uniform(0, math.tau))  # the cloth waves
    cloth = box(u, v, 1.15 * r, 0.8 * r)
    return [(cloth, 1), (np.maximum(cloth, u + 0.38 * r), 0), (np.maximum(cloth, 0.38 * r - u), 2)]


def paint_horizontal_tricolour(u, v, r, rng) -> Figure:
    v = v + rng.uniform(0, 2) * np.sin(u * 0.2 + rng.uniform(0, math.tau))
    cloth = box(u, v, 1.15 * r, 0.8 * r)
    return [(cloth, 1), (np.maximum(cloth, v + 0.27 * r), 0), (np.maximum(cloth, 0.27 * r - v), 2)]


def paint_cross_flag(u, v, r, rng) -> Figure:
    v = v + rng.uniform(0, 2) * np.sin(u * 0.2 + rng.uniform(0, math.tau))
    cloth, hoist = box(u, v, 1.2 * r, 0.85 * r), -0.35 * r
    cross = np.minimum(abs(u - hoist), abs(v)) - 0.2 * r
    return [(cloth, 1), (np.maximum(cloth, cross), 0), (np.maximum(cloth, cross + 0.11 * r), 2)]


def paint_car(u, v, r, rng) -> Figure:
    u = u * rng.choice([-1, 1])
    body = np.minimum(box(u, v, 1.2 * r, 0.3 * r, y=0.1 * r), box(u, v, 0.65 * r, 0.4 * r, x=-0.15 * r, y=-0.4 * r))
    windows = np.minimum(
        box(u, v, 0.2 * r, 0.2 * r, x=-0.45 * r, y=-0.45 * r), box(u, v, 0.2 * r, 0.2 * r, x=0.12 * r, y=-0.45 * r)
    )
    left, right = (disc(u, v, 0.34 * r, x=x * r, y=0.45 * r) for x in (-0.65, 0.65))
    wheels = np.minimum(left, right)
    return [(body, 0), (windows, 1), (wheels, 2), (wheels + 0.2 * r, 1)]


def paint_texture(inside: Callable) -> Callable:
    """A figure that fills a window of random outline with tone 0 where `inside(u, v, period, rng)` < 0."""

    def paint(u, v, r, rng) -> Figure:
        window = disc(u, v, 1.1 * r) if rng.random() < 0.5 else box(u, v, 1.1 * r, 1.1 * r)
        return [(window, 1), (np.maximum(window, inside(u, v, rng.uniform(9, 14), rng)), 0)]

    return paint


paint_stripes = paint_texture(lambda u, v, period, rng: stripes(v + rng.uniform(0, period), period))
paint_checkers = paint_texture(lambda u, v, period, rng: either(stripes(u, 1.4 * period), stripes(v, 1.4 * period)))


@paint_texture
def paint_dots(u, v, period, rng):
    return disc(np.mod(u, period), np.mod(v, period), 0.3 * period, period / 2, period / 2)


@paint_texture
def paint_waves(u, v, period, rng):
    wavelength = rng.uniform(16, 22)
    return stripes(v + 0.25 * wavelength * np.sin(u * (math.tau / wavelength) + rng.uniform(0, math.tau)), period)


@dataclass(frozen=True)
class Kind:
    """One class: its words, its figure, the range of its radius in pixels, and how far it may be turned."""

    words: str
    paint: Callable[..., Figure]
    radius: tuple[float, float] = (16, 23)
    turn: float = 180.0  # degrees to either side
    lean: float = 0.0  # degrees by which the upright figure is turned first
    hue: float | None = None  # a class of colour rather than form
    softness: float = 1.0  # width of the border, in the unit of `d`


KINDS = (
    Kind("yellow blob", paint_blob, hue=HUE_YELLOW, softness=0.9),
    Kind("green blob", paint_blob, hue=HUE_GREEN, softness=0.9),
    Kind("vertical pole", paint_pole, turn=9),
    Kind("horizontal stripes", paint_stripes, (22, 34), turn=10),
    Kind("diagonal stripes", paint_stripes, (22, 34), turn=10, lean=45),
    Kind("waves", paint_waves, (22, 34), turn=15),
    Kind("checkerboard", paint_checkers, (22, 34), turn=20),
    Kind("polka dots", paint_dots, (22, 34), turn=45),
    Kind("vertical tricolour", paint_vertical_tricolour, turn=12),
    Kind("horizontal tricolour", paint_horizontal_tricolour, turn=12),
    Kind("cross flag", paint_cross_flag, turn=12),
    Kind("ring", paint_ring),
    Kind("disc", paint_disc),
    Kind("plus", paint_plus, turn=12),
    Kind("saltire", paint_saltire, turn=12),
    Kind("five-pointed star", paint_star, turn=20),
    Kind("triangle", paint_triangle, turn=20),
    Kind("square", paint_square, turn=15),
    Kind("crescent", paint_crescent, turn=25),
    Kind("toy car", paint_car, turn=15),
)
