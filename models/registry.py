"""The networks by name, and the trained ones that come with minidl."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from minidl.errors import UsageError
from minidl.layers import Sequential
from minidl.models.convnet import build_convnet
from minidl.models.inception import BASELINE, REFINED, THREE_MODULE, build_inception

REGISTRY = {
    "baseline": partial(build_inception, BASELINE),
    "refined": partial(build_inception, REFINED),
    "three-module": partial(build_inception, THREE_MODULE),
    "convnet": build_convnet,
}
WEIGHTS = Path(__file__).parent / "weights"


def build(
    name: str, classes: int = 200, *, dropout: float = 0.0, seed: int = 0, dtype: type = np.float32
) -> Sequential:
    """The registered network `name`, with weights drawn from `seed`. Raises UsageError for an unknown name."""
    if name not in REGISTRY:
        raise UsageError(f"unknown model {name!r}: choose {', '.join(REGISTRY)}")
    if classes < 2:
        raise UsageError(f"a classifier needs at least 2 classes, got {classes}")
    rng = np.random.default_rng([seed, 0])  # 0: the purpose "initial weights"
    return REGISTRY[name](classes=classes, dropout=dropout, rng=rng, dtype=dtype)


def pretrained() -> list[str]:
    """The names of the trained networks that come with minidl."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


def weights_file(name: str) -> Path:
    """The checkpoint file of the trained network `name`; for another name, UsageError with the names that exist."""
    if name not in pretrained():
        raise UsageError(
            f"no pretrained network {name!r}: choose {', '.join(pretrained()) or 'none, there are none'}"
        )
    return WEIGHTS / f"{name}.safetensors"


def load_pretrained(name: str) -> Sequential:
    """The trained network `name`; models/weights/README.md says how it was trained, and on which data.

    Its images are x = (pixels / 255 - mean) / std. The mean, std and classes are in
    `minidl.training.checkpoints.load_checkpoint(weights_file(name)).about`.
    """
    from minidl.training.checkpoints import load_checkpoint  # what reads files is slow to import

    return load_checkpoint(weights_file(name)).build(build)
