"""Sums of matrix products over the tiles of a batch, in the order of the tree of shards (`grid.py`)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minidl.engine.tiles.grid import Grid
from minidl.engine.tiles.products import add_product
from minidl.engine.tiles.recycler import Empty
from minidl.engine.tiles.scratch import Scratch

Array = np.ndarray


class ProductSum:
    """The sum of a @ b over all tiles: `total`, when every tile's a and b are added.

    Each lane has an array. As soon as both lanes of a pair are done their arrays become one, and so on up the tree.
    So a few arrays exist at a time, not one for each lane: of a filter of 512 channels each has 38 MB.

    of_shard    what the sum of a lane becomes before it is added to others (see `TileRunner.by_shard`)
    """

    total: Array

    def __init__(
        self,
        tiles: Grid,
        shape: tuple[int, ...],
        dtype: np.dtype,
        empty: Empty,
        of_shard: Callable[[Array], Array] | None = None,
    ) -> None:
        self._tiles, self._of_shard, self._new = tiles, of_shard, lambda: empty(shape, dtype)
        self._lanes: dict[int, Array] = {}
        self._halves: dict[int, Array] = {}  # by the node of the tree at which they wait for the other half

    def add(self, i: int, a: Array, b: Array, scratch: Scratch) -> None:
        """Adds a (..., P, K) @ b (..., K, N) of tile i; the sum may have the axes P split."""
        lane, again = self._tiles.lane[i], self._tiles.again[i]
        part = self._lanes[lane] if again else self._lanes.setdefault(lane, self._new())
        add_product(a, b, part.reshape(*b.shape[:-2], a.shape[-2], -1), again, scratch)
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
