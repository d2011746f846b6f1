"""The stage of a pool: its windows, its switches, and in how many windows each pixel lies."""

from __future__ import annotations

import numpy as np

from minidl.explain.cut import around, cut, inside, place_of, scale_of, strongest, touching, under, windows_of_pixels
from minidl.explain.records import Geometry, PoolStage
from minidl.explain.watch import Seen
from minidl.layers import MaxPool2D


def pool_stage(seen: Seen) -> PoolStage:
    """A max or average pool, in the channel with the largest gradient, around a pixel that several windows share."""
    layer = seen.layer
    window = Geometry(layer.kernel, layer.stride, layer.padding)
    is_max = isinstance(layer, MaxPool2D)
    size, out = seen.x.shape[1:3], seen.y.shape[1:3]
    *place, channel = strongest(seen.dx[0])
    x, y, dy, dx = (a[0, ..., channel] for a in (seen.x, seen.y, seen.dy, seen.dx))
    switches = None
    if is_max:
        places = _switches(seen.cache.index[0, ..., channel].astype(int), window)
        shared = np.zeros(size)
        np.add.at(shared, (places[..., 0], places[..., 1]), dy != 0)
        place = place_of(np.where(shared == shared.max(), np.abs(dx), -1))
        switches = places
    pixels = around(tuple(place), size)
    outputs = touching(pixels, window, out)
    wide = under(outputs, window)
    counts = windows_of_pixels(pixels, window, out, size)
    if np.ptp(counts.values) == 0:
        counts = windows_of_pixels(around((0, 0), size), window, out, size)  # where they differ
    values, gradient = (
        scale_of(inside(x, pixels), inside(y, outputs)),
        scale_of(inside(dy, outputs), inside(dx, pixels)),
    )
    return PoolStage(
        name=seen.name,
        about=repr(layer),
        kind="max" if is_max else "average",
        window=window,
        overlaps=window.stride < window.kernel,
        channel=channel,
        channels=seen.x.shape[3],
        x=cut(x, wide, values),
        y=cut(y, outputs, values),
        dy=cut(dy, outputs, gradient),
        dx=cut(dx, pixels, gradient),
        counts=counts,
        switches=[] if switches is None else inside(switches, outputs).tolist(),
    )


def _switches(index: np.ndarray, window: Geometry) -> np.ndarray:
    """(OH, OW) places in the windows -> (OH, OW, 2): row and column of the pixel."""
    corner = np.indices(index.shape) * window.stride - window.padding  # (2, OH, OW)
    return np.stack([corner[0] + index // window.kernel, corner[1] + index % window.kernel], axis=2)
