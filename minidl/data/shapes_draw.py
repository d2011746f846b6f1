"""Draws one image of `shapes`: colours, background, distractors, the figure, occluders, light and noise."""

from __future__ import annotations

import math

import numpy as np

from minidl.data.shapes_figures import Kind, box, disc

SIZE = 64
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE].astype(np.float32)
OTHER_HUES = (0.5, 1.05)  # neither yellow nor green


def hsv(hue, saturation, value) -> np.ndarray:
    """RGB (..., 3) in [0, 1] from arrays (...) of hue, saturation and value in [0, 1]."""
    ramp = np.clip(abs(np.mod(np.asarray(hue)[..., None] * 6 + [0, 4, 2], 6) - 3) - 1, 0, 1)
    return np.asarray(value)[..., None] * (1 - np.asarray(saturation)[..., None] * (1 - ramp))


def palette(rng: np.random.Generator, hue: float | None) -> np.ndarray:
    """Four colours (4, 3) that are far apart: the background's, then tones 0, 1 and 2.

    Each colour is chosen from twelve random candidates: the one whose nearest colour so far is the farthest away.
    """
    hues, saturations, values = rng.random((4, 12)), rng.uniform(0.2, 1, (4, 12)), rng.uniform(0.15, 1, (4, 12))
    if hue is not None:
        hues[0] = rng.uniform(*OTHER_HUES, 12)
        hues[1] = hue + rng.uniform(-0.02, 0.02, 12)
        saturations[1], values[1] = rng.uniform(0.8, 1, 12), rng.uniform(0.6, 0.95, 12)
    candidates = hsv(hues, saturations, values)
    chosen = candidates[0, :1]
    for some in candidates[1:]:
        nearest = ((some[:, None] - chosen) ** 2).sum(-1).min(1)
        chosen = np.concatenate([chosen, some[nearest.argmax()][None]])
    return chosen.astype(np.float32)


def _smoothing(cells: int) -> np.ndarray:
    """The matrix (64, cells) that interpolates `cells` values smoothly over 64 pixels."""
    distance = np.linspace(0, cells - 1, SIZE)[:, None] - np.arange(cells)
    return np.cos(np.clip(distance, -1, 1) * np.pi / 2).astype(np.float32) ** 2


SMOOTHING = {cells: _smoothing(cells) for cells in (3, 5, 9, 17)}


def smooth_noise(rng: np.random.Generator, cells: int, channels: int) -> np.ndarray:
    """Random hills and valleys (channels, 64, 64), 64 / cells pixels wide, of standard deviation 0.5 to 1."""
    hills = rng.standard_normal((channels, cells, cells), dtype=np.float32)
    # Not `@`: BLAS kernels round differently from one processor to the next, and so would a few pixels.
    rows = np.einsum("yi,cij->cyj", SMOOTHING[cells], hills)
    return np.einsum("cyj,xj->cyx", rows, SMOOTHING[cells])


def cover(image: np.ndarray, d: np.ndarray, colour: np.ndarray, softness: float = 1.0) -> None:
    """Paints `colour` (3, 1, 1) in place on `image` (3, 64, 64) where `d` < 0; the border is `softness` wide."""
    image += np.clip(0.5 - d / softness, 0, 1) * (colour - image)


def turned(x: float, y: float, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (u, v) of every pixel in a frame centred at (x, y) and turned clockwise."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    right, down = COLUMNS - x, ROWS - y
    return cosine * right + sine * down, cosine * down - sine * right


def draw_kind(kind: Kind, rng: np.random.Generator) -> np.ndarray:
    """One image of `kind` as uint8 (64, 64, 3): background, distractors, figure, occluders, light and noise."""
    ground, *tones = palette(rng, kind.hue)[..., None, None]
    ripple = np.sin(turned(0, 0, rng.uniform(0, 360))[0] * rng.uniform(0.3, 1.2))
    image = ground + 0.08 * smooth_noise(rng, int(rng.choice([3, 5, 9, 17])), 3)
    image += rng.uniform(-0.06, 0.06, (3, 1, 1)).astype(np.float32) * ripple

    for x, y in rng.uniform(0, SIZE, (3, 2)):  # soft spots in hues that no class of colour has
        spot = hsv(rng.uniform(*OTHER_HUES), rng.uniform(0.3, 1), rng.uniform(0.2, 1)).astype(np.float32)
        cover(image, disc(COLUMNS - x, ROWS - y, rng.uniform(1, 4)), spot[:, None, None], softness=6.0)

    x, y = SIZE / 2 + rng.uniform(-9, 9, 2)
    u, v = turned(float(x), float(y), kind.lean * rng.choice([-1, 1]) + rng.uniform(-kind.turn, kind.turn))
    grain = 0.05 * smooth_noise(rng, 9, 1)
    for d, tone in kind.paint(u, v, rng.uniform(*kind.radius), rng):
        cover(image, d, tones[tone] + grain, kind.softness)

    for x, y in rng.uniform(0, SIZE, (2, 2)):  # short sticks in front of everything
        u, v = turned(float(x), float(y), rng.uniform(0, 180))
        stick = hsv(rng.random(), rng.random(), rng.random()).astype(np.float32)
        cover(image, box(u, v, rng.uniform(6, 11), rng.uniform(0.7, 1.6)), stick[:, None, None])

    light = turned(SIZE / 2, SIZE / 2, rng.uniform(0, 360))[0] / SIZE
    image *= rng.uniform(0.75, 1.2) + rng.uniform(0, 0.4) * light
    image += rng.uniform(0.01, 0.07) * rng.standard_normal(image.shape, dtype=np.float32)
    return np.rint(image.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
