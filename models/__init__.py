"""The networks, by name: `models.build("refined", classes=200)`."""

from __future__ import annotations

from functools import partial

import numpy as np

from minidl.errors import UsageError
from minidl.layers import Sequential
from models.convnet import build_convnet
from models.inception import BASELINE, REFINED, THREE_MODULE, build_inception

REGISTRY = {
    "baseline": partial(build_inception, BASELINE),
    "refined": partial(build_inception, REFINED),
    "three-module": partial(build_inception, THREE_MODULE),
    "convnet": build_convnet,
}


def build(
    name: str, classes: int = 200, *, dropout: float = 0.0, seed: int = 0, dtype: type = np.float32
) -> Sequential:
    """The registered network `name` with weights drawn from `seed`. Raises UsageError for an unknown name."""
    if name not in REGISTRY:
        raise UsageError(f"unknown model {name!r}: choose {', '.join(REGISTRY)}")
    if classes < 2:
        raise UsageError(f"a classifier needs at least 2 classes, got {classes}")
    rng = np.random.default_rng([seed, 0])  # 0: the purpose "initial weights"
    return REGISTRY[name](classes=classes, dropout=dropout, rng=rng, dtype=dtype)
