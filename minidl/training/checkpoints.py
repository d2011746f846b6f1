"""Checkpoints: weights, optimizer and state of a run in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from minidl.backend import to_host
from minidl.data.naming import portable
from minidl.errors import DataError, DivergedError
from minidl.io import assign, check_arrays, load_arrays, model_arrays, save_arrays
from minidl.layers.base import Layer
from minidl.optim import Optimizer
from minidl.training.averaging import WeightAverage
from minidl.training.trainer import Trainer, TrainState

FORMAT = 1
_KEY = "minidl"  # in the file's metadata: the JSON below
_OPTIMIZER = "optimizer/"  # prefix of the optimizer's arrays
_TRAINED = "trained/"  # prefix of the weights that training goes on with, where those without it are an average
_PREFIXES = (_OPTIMIZER, _TRAINED)


@dataclass
class About:
    """What a checkpoint says of its model, besides the weights."""

    model: str  # registered name
    classes: list[str]  # ids in the order of the outputs
    words: list[str]
    image_shape: list[int]  # (H, W, C)
    mean: list[float]  # per channel, in [0, 1]
    std: list[float]
    config: dict[str, Any]


@dataclass
class Checkpoint:
    """A checkpoint as read from a file."""

    path: Path
    about: About
    state: TrainState
    arrays: dict[str, np.ndarray]

    def build(self, build: Callable[..., Layer]) -> Layer:
        """The model with its weights; `build(name, classes=..., dropout=...)` makes registered networks."""
        model = build(self.about.model, classes=len(self.about.classes), dropout=self.about.config["dropout"])
        self.restore_weights(model)
        return model

    def restore_weights(self, model: Layer) -> None:
        own = model_arrays(model)
        given = self._weights()
        check_arrays({name: a.shape for name, a in own.items()}, given, str(self.path))
        for name, a in own.items():
            assign(a, given[name])

    def restore_optimizer(self, optimizer: Optimizer) -> None:
        try:
            optimizer.load_state(self._under(_OPTIMIZER), self.state.step)
        except DataError as error:
            raise DataError(f"{self.path}: no run goes on from it, as `last` and snapshots allow: {error}") from error

    def restore_average(self, average: WeightAverage) -> None:
        """Gives the model of `average` the weights that training goes on with, and `average` the others."""
        average.restore(self._weights(), self._under(_TRAINED), str(self.path))

    def _weights(self) -> dict[str, np.ndarray]:
        return {name: a for name, a in self.arrays.items() if not name.startswith(_PREFIXES)}

    def _under(self, prefix: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(prefix): a for name, a in self.arrays.items() if name.startswith(prefix)}


def save_checkpoint(path: Path, trainer: Trainer, about: About, with_optimizer: bool = True) -> None:
    """Writes the trainer's model, optimizer and state, atomically.

    Raises DivergedError instead when the loss or a weight is not a number: the file before stays the last good one.
    """
    trainer.read_sums()
    trainer.elapsed()
    average = trainer.average
    arrays = model_arrays(trainer.model) if average is None else dict(average.averaged)
    if not all(np.isfinite(to_host(a)).all() for a in arrays.values()):
        raise DivergedError(f"a weight is not a number after step {trainer.state.step}: try a smaller --lr")
    if with_optimizer:
        arrays |= {_OPTIMIZER + name: a for name, a in trainer.optimizer.state().items()}
        if average is not None:
            arrays |= {_TRAINED + name: a for name, a in average.trained.items()}
    _save(path, arrays, about, trainer.state)


def export_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint to be passed on: no optimizer arrays, and names in the place of paths."""
    config = dict(checkpoint.about.config)
    config["data"] = portable(config["data"])
    if config.get("init_from"):
        config["init_from"] = Path(config["init_from"]).name
    about = replace(checkpoint.about, config=config)
    arrays = {name: a for name, a in checkpoint.arrays.items() if not name.startswith(_PREFIXES)}
    _save(path, arrays, about, checkpoint.state)


def _save(path: Path, arrays: dict[str, Any], about: About, state: TrainState) -> None:
    header = {"format": FORMAT, "about": asdict(about), "state": asdict(state)}
    save_arrays(path, arrays, {_KEY: json.dumps(header)})


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint; raises DataError naming the file if it is not one of this version."""
    arrays, metadata = load_arrays(path)
    if _KEY not in metadata:
        raise DataError(f"{path}: a weight file without minidl's metadata, not a checkpoint")
    try:
        header = json.loads(metadata[_KEY])
        if header["format"] != FORMAT:
            raise DataError(f"{path}: checkpoint format {header['format']}, this version reads {FORMAT}")
        about, state = About(**header["about"]), TrainState(**header["state"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: its metadata can't be read ({error})") from error
    return Checkpoint(Path(path), about, state, arrays)
