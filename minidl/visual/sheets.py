"""Sheets of images: a unit's images and projections, a photo and its units, all units of a layer."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

from minidl.visual.page import TILE, TINY, WRONG, Grid, line_height, save_grids

PHOTO_TILE = 256
POSTER_TILES = 192, 128, 64  # the widest that a poster has room for
POSTER_WIDTH, POSTER_RATIO = 2200, 1.4  # width to height


def save_sheet(
    path: Path,
    originals: np.ndarray,
    projections: np.ndarray | None,
    true: list[str],
    predicted: list[str],
    title: str,
    footer: str,
    blank: np.ndarray | None = None,
    captions: list[str] | None = None,
) -> None:
    """The images of a unit and, beside them in the same order, its projections (the paper's Figures 7-24).

    originals    uint8 (n, H, W, 3), in rows of three, with the `true` class below each; "": it is unknown
    projections  the same for the screen, with the `predicted` class above each, marked if it is wrong; without
                 projections it is above the originals. Those that are `blank`, bool (n,), say "no signal"
    captions     a line below each projection, or below the true class

    Raises UsageError without images, otherwise as `save_figure`.
    """
    said = [p if t in ("", p) else WRONG + p for p, t in zip(predicted, true, strict=True)]
    if projections is None:
        below = [true] if captions is None else [true, captions]
        grids = [("predicted class above, true class below", Grid(enlarge(originals, TILE), 3, said, below))]
    else:
        none = [""] * len(true)  # lines that stay empty keep the two in step
        shades = Grid(enlarge(projections, TILE), 3, said, [captions or none], blank=blank)
        grids = [
            ("true class below", Grid(enlarge(originals, TILE), 3, none, [true])),
            ("predicted class above", shades),
        ]
    save_grids(path, grids, title, footer)


def save_photo_sheet(
    path: Path,
    photo: np.ndarray,
    projections: np.ndarray,
    captions: list[str],
    title: str,
    footer: str,
    blank: np.ndarray | None = None,
) -> None:
    """A photo, uint8 (H, W, 3), and the projections of several units, uint8 (n, H, W, 3), with a caption above each.

    Raises UsageError without projections, otherwise as `save_figure`.
    """
    columns = math.ceil(math.sqrt(len(projections)))
    grid = Grid(enlarge(projections, PHOTO_TILE), columns, captions, blank=blank)
    side = (2 if columns < 4 else 3) * PHOTO_TILE
    save_grids(path, [("", Grid(_sized(photo, side)[None], 1, [""])), ("", grid)], title, footer)


def save_poster(
    path: Path,
    tiles: np.ndarray,
    captions: list[str] | None,
    title: str,
    footer: str,
    blank: np.ndarray | None = None,
) -> None:
    """All units of a layer, one small projection each, uint8 (u, H, W, 3), with their `captions` or numbers below.

    Dead units, those that are `blank`, bool (u,), are gray with a dash. Raises UsageError without units, otherwise as
    `save_figure`.
    """
    captions = [str(i) for i in range(len(tiles))] if captions is None else captions
    for width in POSTER_TILES:
        images = enlarge(tiles, width)
        grid = Grid(images, _columns(images), None, [captions], TINY, blank, "—")
        if grid.width <= POSTER_WIDTH:
            break
    save_grids(path, [("", grid)], title, footer)


def _columns(images: np.ndarray) -> int:
    """The number of columns for a poster of `images`: about the right width, with the fewest gaps at the end."""
    ideal = max(1, math.sqrt(POSTER_RATIO * len(images) * (images.shape[1] + line_height(TINY)) / images.shape[2]))
    near = range(math.ceil(0.8 * ideal), math.ceil(1.25 * ideal) + 1)
    return min(near, key=lambda columns: (-len(images) % columns, abs(columns - ideal)))


def enlarge(images: np.ndarray, width: int) -> np.ndarray:
    """Images (n, H, W, 3), with each pixel repeated so that they are about `width` wide, never smaller."""
    factor = max(1, round(width / images.shape[2]))
    return images.repeat(factor, axis=1).repeat(factor, axis=2)


def _sized(photo: np.ndarray, side: int) -> np.ndarray:
    """A photo (H, W, 3), at most `side` high and wide: reduced smoothly, or enlarged by repeating pixels."""
    factor = side // max(photo.shape[:2])
    if factor == 0:
        reduced = Image.fromarray(photo)
        reduced.thumbnail((side, side), Image.Resampling.LANCZOS)
        return np.asarray(reduced)
    return photo.repeat(factor, axis=0).repeat(factor, axis=1)
