"""The fused engine in one of several processes that share a batch: what `TileRunner` leaves open for them."""

from __future__ import annotations

import numpy as np

from minidl.engine.tiles.grid import SHARDS, Grid, borders, grid
from minidl.engine.tiles.runner import TileRunner
from minidl.parallel.share import Share

Array = np.ndarray


class RankRunner(TileRunner):
    """BN's sums are those of all ranks' shards. Gradients that follow from such sums alone are the same on every
    rank; only rank 0 adds them, because the gradients of all ranks are added up afterwards.

    exact    the batch has SHARDS shards, whatever the number of ranks R. Each rank has SHARDS / R of them, which are
             a subtree of the tree in which sums over shards are added (`tiles/grid.py`).
    """

    def __init__(self, threads: int, share: Share, exact: bool) -> None:
        super().__init__(threads)
        self.share, self.by_shard, self.leads = share, exact, share.comm.rank == 0

    def grid(self, images: int, most: int) -> Grid:
        if not (self.by_shard and self.share.images):
            return super().grid(images, most)
        mine = self.share.comm.share(SHARDS)
        ends = borders(self.share.images, SHARDS)[mine.start : mine.stop + 1]
        return grid(tuple(end - ends[0] for end in ends), most)

    def merge(self, parts: Array) -> Array:
        return self.share.comm.allgather(parts) if self.share.images else parts
