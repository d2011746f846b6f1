"""Cuts small maps out of large arrays, and chooses how their numbers are written."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from minidl.explain.records import Geometry, Map


class Region(NamedTuple):
    """Rows and columns of a map. They may reach into the padding around it."""

    rows: range
    columns: range

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), len(self.columns)


class Scale(NamedTuple):
    """How numbers are written: divided by 10^exponent, with this many decimals."""

    exponent: int
    decimals: int


def scale_of(*arrays: np.ndarray | float) -> Scale:
    """Three digits of the number of largest magnitude; without a power of ten if it lies between 0.1 and 1000."""
    largest = max((float(np.abs(a).max(initial=0)) for a in map(np.asarray, arrays)), default=0.0)
    if largest == 0 or not math.isfinite(largest):
        return Scale(0, 0)
    exponent = 0 if 0.1 <= largest < 1000 else 3 * math.floor(math.log10(largest) / 3)
    return Scale(exponent, max(2 - math.floor(math.log10(largest / 10.0**exponent)), 0))


MOST = 7  # rows and columns of a map


def around(place: tuple[int, int], size: tuple[int, int], most: int = MOST) -> Region:
    """At most `most` rows and columns of a map of `size`, with `place` as near to their middle as it can be."""

    def part(at: int, length: int) -> range:
        start = min(max(at - most // 2, 0), max(length - most, 0))
        return range(start, min(start + most, length))

    return Region(part(place[0], size[0]), part(place[1], size[1]))


def touching(region: Region, window: Geometry, out: tuple[int, int]) -> Region:
    """The outputs whose windows contain a pixel of the region."""
    k, s, p = window.kernel, window.stride, window.padding

    def part(pixels: range, length: int) -> range:
        return range(max(-((k - 1 - p - pixels[0]) // s), 0), min((pixels[-1] + p) // s + 1, length))

    return Region(part(region.rows, out[0]), part(region.columns, out[1]))


def under(outputs: Region, window: Geometry) -> Region:
    """The pixels in the windows of the outputs."""
    k, s, p = window.kernel, window.stride, window.padding

    def part(places: range) -> range:
        return range(s * places[0] - p, s * places[-1] - p + k) if places else range(0)

    return Region(part(outputs.rows), part(outputs.columns))


def cut(a: np.ndarray, region: Region, scale: Scale | None = None) -> Map:
    """The region of a map a (H, W), with zeros for the padding; `scale` is that of its numbers unless given."""
    height, width = a.shape
    values = np.zeros(region.shape)
    rows, columns = ([i for i in part if 0 <= i < n] for part, n in zip(region, a.shape, strict=True))
    if rows and columns:
        first_row, first_column = rows[0] - region.rows[0], columns[0] - region.columns[0]
        inner = a[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        values[first_row : first_row + len(rows), first_column : first_column + len(columns)] = inner
    corner = (part[0] if part else 0 for part in region)
    return Map(*corner, height, width, values.tolist(), *(scale or scale_of(values)))


def inside(a: np.ndarray, region: Region) -> np.ndarray:
    """The region of a map (H, W) or maps (H, W, C)."""
    return a[region.rows.start : region.rows.stop, region.columns.start : region.columns.stop]


def windows_of_pixels(region: Region, window: Geometry, out: tuple[int, int], size: tuple[int, int]) -> Map:
    """In how many windows each pixel of the region lies: what col2im makes of ones."""

    def part(pixels: range, length: int) -> np.ndarray:
        return np.array([len(touching(Region(range(i, i + 1), range(1)), window, (length, 1)).rows) for i in pixels])

    counts = np.outer(part(region.rows, out[0]), part(region.columns, out[1]))
    return Map(region.rows[0], region.columns[0], *size, counts.tolist(), 0, 0)


def strongest(a: np.ndarray) -> tuple[int, int, int]:
    """(row, column, channel) of a (H, W, C): the channel with the largest sum of magnitudes, and its largest."""
    channel = int(np.abs(a).sum(axis=(0, 1)).argmax())
    return *place_of(np.abs(a[..., channel])), channel


def place_of(a: np.ndarray) -> tuple[int, int]:
    """(row, column) of the largest number of a (H, W)."""
    row, column = np.unravel_index(int(a.argmax()), a.shape)
    return int(row), int(column)
