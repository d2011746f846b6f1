"""A batch in tiles, and in shards: the parts of a batch whose sums are kept apart.

A sum of floats depends on the order of its terms: (0.1 + 0.2) + 0.3 differs from 0.1 + (0.2 + 0.3) in the last bit.
So a sum over a batch is always computed in the same order, whoever computes which part of it: a sum for each *shard*,
whose tiles follow one another, and then these sums in a fixed tree,

    ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)).

Shards depend on the batch alone, never on the number of threads. A tile never crosses the border of a shard. So
several processes could compute some shards each, down to one each, and get the same bits.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

Array = np.ndarray

SHARDS = 8  # of a batch of 32 images or more


class Grid(tuple[slice, ...]):
    """The tiles of a batch in order, each a slice of its images, and the shard of each tile.

    For sums over tiles a task has an accumulator for each shard, a *lane*: `lane` is the number of each tile's.
    """

    lanes: tuple[range, ...]  # the numbers of each lane's tiles
    lane: tuple[int, ...]
    images: Array  # (S, 1) float64: how many each shard has

    def __new__(cls, shards: list[list[slice]]) -> Grid:
        grid = super().__new__(cls, [tile for shard in shards for tile in shard])
        ends = np.cumsum([0, *map(len, shards)]).tolist()
        grid._starts = np.array(ends[:-1])
        grid.images = np.array([[shard[-1].stop - shard[0].start] for shard in shards], np.float64)
        grid.lanes = tuple(map(range, ends, ends[1:]))
        grid.lane = tuple(k for k, tiles in enumerate(grid.lanes) for _ in tiles)
        return grid

    def lane_sums(self, parts: Array, axis: int = 0) -> Array:
        """The sum over the tiles of each lane: along `axis`, one for each tile becomes one for each lane."""
        return parts if len(self) == len(self.lanes) else np.add.reduceat(parts, self._starts, axis)


def shards_of(images: int) -> int:
    """The number of shards of a batch, a power of two: at least 2 if possible, and below SHARDS with at least 4
    images each.

    Two threads share two shards evenly. More and smaller ones would make the matrix products smaller.
    """
    most = max(1, min(images, SHARDS, max(2, images // 4)))
    return 1 << (most.bit_length() - 1)


def grid_of(images: int, most: int) -> Grid:
    """The batch in tiles of at most `most` images, nearly equal in each of its shards."""
    return grid(tuple(borders(images, shards_of(images))), most)


def borders(images: int, shards: int) -> list[int]:
    """The first image of each shard, and the number of images: shard k is [n k / S, n (k + 1) / S)."""
    return [images * k // shards for k in range(shards + 1)]


@lru_cache(256)
def grid(ends: tuple[int, ...], most: int) -> Grid:
    """The shards between these borders, in tiles of at most `most` images."""
    return Grid([cut(a, b, max(1, -(-(b - a) // most))) for a, b in zip(ends, ends[1:], strict=False)])


def cut(start: int, stop: int, parts: int) -> list[slice]:
    """The range in `parts` slices of nearly equal size, one after the other."""
    bounds = [start + (stop - start) * i // parts for i in range(parts + 1)]
    return [slice(a, b) for a, b in zip(bounds, bounds[1:], strict=False)]


def tree_sum(parts: Array) -> Array:
    """(S, ...) -> (...): the sum over shards in the order of the tree; S is a power of two."""
    while len(parts) > 1:
        parts = parts[::2] + parts[1::2]
    return parts[0]
