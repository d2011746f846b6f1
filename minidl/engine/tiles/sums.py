"""Sums of matrix products over the tiles of a batch, in the order of the tree of shards (`grid.py`)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minidl.engine.tiles.grid import Grid
from minidl.engine.tiles.recycler import Empty
from minidl.engine.tiles.scratch import Scratch

Array = np.ndarray

LARGE = 1 << 18  # numbers


class ProductSum:
    """The sum of a @ b over all tiles: `total`, when every tile's a and b are added.

    Each lane has an array. As soon as both lanes of a pair are done their arrays become one, and so on up the tree.
    So a few arrays exist at a time, not one for each lane: of a filter of 512 channels each has 38 MB.

    of_shard    what the sum of a lane becomes before it is added to others (see `TileRunner.by_shard`)
    """

    total: Array

    def __init__(self, tiles: Grid, empty: Empty, of_shard: Callable[[Array], Array] | None = None) -> None:
        self._tiles, self._empty, self._of_shard = tiles, empty, of_shard
        self._lanes: dict[int, Array] = {}
        self._halves: dict[int, Array] = {}  # by the node of the tree at which they wait for the other half

    def add(self, i: int, a: Array, b: Array, scratch: Scratch) -> None:
        """Adds a (..., P, K) @ b (..., K, N) of tile i. b has all axes of the product."""
        lane = self._tiles.lane[i]
        if lane in self._lanes:
            _add_product(a, b, self._lanes[lane], scratch)
        else:
            self._lanes[lane] = self._empty((*b.shape[:-2], a.shape[-2], b.shape[-1]), b.dtype)
            np.matmul(a, b, out=self._lanes[lane])
        if i == self._tiles.lanes[lane][-1]:
            part = self._lanes.pop(lane)
            self._join(len(self._tiles.lanes) + lane, self._of_shard(part) if self._of_shard else part)

    def _join(self, node: int, part: Array) -> None:
        """The sum below a node of the tree is complete. Node 1 is its root, and below node k are 2 k and 2 k + 1."""
        while node > 1:
            node //= 2
            other = self._halves.setdefault(node, part)  # one step, so of two threads only one goes on
            if other is part:
                return
            del self._halves[node]
            part += other  # a + b is b + a, to the last bit
        self.total = part


def _add_product(a: Array, b: Array, out: Array, scratch: Scratch) -> None:
    """out += a @ b, a large stack in parts that stay in the cache."""
    for x, y, to in zip(a, b, out, strict=True) if out.size > LARGE and out.ndim > 2 else [(a, b, out)]:
        part = scratch("product", to.shape, to.dtype)
        np.matmul(x, y, out=part)
        to += part
