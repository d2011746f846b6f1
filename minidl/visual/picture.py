"""A picture of a few arrays, such as images above what a unit sees in them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from minidl.data.arrays import require_pixels
from minidl.errors import ShapeError, require_whole
from minidl.visual.screen import to_screen

_COLUMNS = 10
_GUTTER = 4  # white pixels between tiles


def picture(*arrays: np.ndarray, tile: int = 128) -> Image.Image:
    """Arrays of N images each as rows of tiles, one row above the other. `.save("name.png")` writes the picture to a
    file.

    arrays    uint8 pixels (N, H, W, 3), shown unchanged; floats (N, H, W, 3), such as gradients, with zero as
              mid-gray; maps (N, H, W) in gray. With more than ten images there are several rows for each array
    tile      the width of a tile in pixels

    One image may come without its N. Notebooks show the result. Raises ShapeError for arrays of another form or of
    different N.
    """
    require_whole("tile", tile, 1)
    rows = [_tiles(np.asarray(a), tile) for a in arrays]
    counts = {len(row) for row in rows}
    if len(counts) != 1:
        raise ShapeError(f"a picture of arrays of {sorted(counts) or 'no'} images: give as many in each")
    (count,) = counts
    starts = range(0, count, _COLUMNS)
    lines = [row[start : start + _COLUMNS] for start in starts for row in rows]
    height = sum(line[0].height + _GUTTER for line in lines) + _GUTTER
    sheet = Image.new("RGB", (min(count, _COLUMNS) * (tile + _GUTTER) + _GUTTER, height), "white")
    top = _GUTTER
    for line in lines:
        for i, image in enumerate(line):
            sheet.paste(image, (_GUTTER + i * (tile + _GUTTER), top))
        top += line[0].height + _GUTTER
    return sheet


def _tiles(a: np.ndarray, width: int) -> list[Image.Image]:
    if a.ndim == 3 and a.shape[-1] in (1, 3) and a.shape[-1] != a.shape[1]:
        a = a[None]  # one image, in gray or in color; (N, 3, 3) are N small maps
    if a.ndim == 4 and a.shape[-1] == 1:
        a = a[..., 0]
    if a.ndim == 3:
        a = a[..., None].repeat(3, axis=3)  # (N, H, W) -> (N, H, W, 3)
    if a.ndim != 4 or a.shape[-1] != 3 or not a.size:
        hint = ": choose a unit, as a[..., 0]" if a.ndim == 4 else ""
        if a.ndim == 4 and a.shape[1] in (1, 3):
            hint = ": channels first? a.transpose(0, 2, 3, 1) puts them last"
        raise ShapeError(f"an array of the shape {a.shape} is neither images (N, H, W, 3) nor maps (N, H, W){hint}")
    require_pixels(a)
    if a.dtype != np.uint8:
        a, _ = to_screen(a.astype(np.float64))
    size = (width, max(1, round(width * a.shape[1] / a.shape[2])))
    return [Image.fromarray(image).resize(size, Image.Resampling.NEAREST) for image in a]
