"""Deconvnet projections in minidl, as `visualize.py deconv` computes them; see `projections.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.projections import RULE, Pairs
from minidl.visual.projection import Projector, project_units


class MiniDL:
    """A contender. It takes many units at once, and pairs with the same image share its forward pass.

    With `own_images` every pair has its own copy of the image, and nothing is shared.
    """

    def __init__(
        self, batch_size: int, threads: int, folder: str, engine: str = "fused", own_images: bool = False
    ) -> None:
        threadpool_limits(threads)
        self.threads = threads
        pairs = Pairs.load(Path(folder))
        self.projector = Projector(pairs.model, pairs.layer, RULE, engine=engine, threads=threads)
        self.x, self.tops, self.units = pairs.x, pairs.tops, pairs.units
        if own_images:
            self.x = pairs.x[pairs.tops.ravel()]
            self.tops = np.arange(len(self.x)).reshape(pairs.tops.shape)  # (P,) -> (units, n)

    def project(self, step: int) -> list[np.ndarray]:
        """(n, H, W, C) for every unit: all pairs there are."""
        found = project_units(self.projector, self.x.__getitem__, self.tops, self.units)
        return [signals for _, signals in found]
