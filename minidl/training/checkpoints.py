"""Checkpoints: the weights, the optimizer and the state of a run in one safetensors file."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from minidl.backend.arrays import to_host
from minidl.backend.named import assign, check_arrays
from minidl.data.naming import portable
from minidl.errors import DataError, DivergedError
from minidl.layers.base import Layer
from minidl.optim import Optimizer
from minidl.storage.metadata import CHECKPOINT, from_json, to_json
from minidl.storage.validate import array, blamed, fits, plain_name, real, table, text, whole
from minidl.storage.weights import load_arrays, model_arrays, pack_arrays, save_arrays, unpack_arrays
from minidl.text.calls import call
from minidl.training.averaging import WeightAverage
from minidl.training.config import SETTINGS, of_network
from minidl.training.runs import find_checkpoint
from minidl.training.trainer import Trainer, TrainState

FORMAT = 1
_OPTIMIZER = "optimizer/"  # prefix of the optimizer's arrays
_TRAINED = "trained/"  # prefix of the weights that training continues with, if the others are an average
_PREFIXES = (_OPTIMIZER, _TRAINED)

# The checks of what is read. Earlier versions had fewer settings; later ones may have more, which are ignored.
_SETTINGS = table({key: SETTINGS[key] for key in ("data", "dropout")}, SETTINGS, others=True)
_ABOUT = table(
    {
        "model": plain_name,
        "classes": array(text(1000, 1), 2),
        "words": array(text(10_000), 2),
        "image_shape": array(whole(1, 4096), 3, 3),
        "mean": array(real(0, 1), 3, 3),
        "std": array(real(1e-3, 1), 3, 3),  # of images that are all of one colour it is 1/255
        "config": _SETTINGS,
    }
)
_SHARE, _SECONDS = real(0, 1), real(0, 1e10)


def _measured(value: Any, where: str) -> float:
    """A loss. It may have become infinite, which JSON stores as null."""
    return float("nan") if value is None or value != value else real(0, 1e300)(value, where)


ROW = {  # of metrics.csv
    "epoch": whole(1),
    "train_loss": _measured,
    "train_top1": _SHARE,
    "val_loss": _measured,
    "val_top1": _SHARE,
    "val_top5": _SHARE,
    "lr": real(0, 1e300),
    "images_per_s": real(0, 1e12),
    "seconds": _SECONDS,
}
_STATE = table(
    {"epoch": whole(), "step": whole()},
    {
        "batch": whole(),
        "loss_sum": real(0, 1e300),
        "correct": whole(),
        "best_epoch": whole(),
        "best_top1": real(-1, 1),
        "seconds": _SECONDS,
        "history": array(table(ROW)),
    },
)
_FORMAT = fits(lambda v: type(v) is int and v == FORMAT, f"{FORMAT}, which this version reads")
_HEADER = table({"format": _FORMAT, "about": _ABOUT, "state": _STATE}, others=True)


@dataclass
class About:
    """What a checkpoint says about its model, besides the weights."""

    model: str  # registered name
    classes: list[str]  # ids in the order of the outputs
    words: list[str]
    image_shape: list[int]  # (H, W, C)
    mean: list[float]  # per channel, in [0, 1]
    std: list[float]
    config: dict[str, Any]


@dataclass
class Checkpoint:
    """A checkpoint that was read from a file."""

    path: Path
    about: About
    state: TrainState
    arrays: dict[str, np.ndarray]

    def build(self, build: Callable[..., Layer]) -> Layer:
        """The model with its weights; `build(name, classes=..., **of_network(...))` makes registered networks."""
        about, classes = self.about, len(self.about.classes)
        if not any(classes in a.shape for a in self.arrays.values()):  # a last layer of millions would be made
            raise DataError(f"{self.path}: doesn't fit the model: no weights for its {classes:,} about.classes")
        with blamed(f"{self.path}: about.model"):
            model = build(about.model, classes=classes, **of_network(about.config))
        self.restore_weights(model)
        with blamed(f"{self.path}: about.image_shape"):
            model.out_shape((1, *about.image_shape))
        return model

    def restore_weights(self, model: Layer) -> None:
        own = model_arrays(model)
        given = self._weights()
        check_arrays(own, given, str(self.path))
        for name, a in own.items():
            assign(a, given[name])

    def restore_optimizer(self, optimizer: Optimizer) -> None:
        with self._continued():
            optimizer.load_state(self._under(_OPTIMIZER), self.state.step)

    def restore_average(self, average: WeightAverage) -> None:
        """Gives the model of `average` the weights that training continues with, and `average` the averaged ones."""
        with self._continued():
            average.restore(self._weights(), self._under(_TRAINED), "the average's state")

    @contextmanager
    def _continued(self) -> Iterator[None]:
        try:
            yield
        except DataError as error:
            raise DataError(f"{self.path}: no run goes on from it, as `last` and snapshots allow: {error}") from error

    def _weights(self) -> dict[str, np.ndarray]:
        return {name: a for name, a in self.arrays.items() if not name.startswith(_PREFIXES)}

    def _under(self, prefix: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(prefix): a for name, a in self.arrays.items() if name.startswith(prefix)}


def save_checkpoint(path: Path, trainer: Trainer, about: About, with_optimizer: bool = True) -> None:
    """Writes the trainer's model, optimizer and state, atomically. Raises as `checkpoint_of`."""
    made = checkpoint_of(path, trainer, about, with_optimizer)
    save_arrays(path, made.arrays, _metadata(made.about, made.state))


def checkpoint_of(path: Path, trainer: Trainer, about: About, with_optimizer: bool = True) -> Checkpoint:
    """What `save_checkpoint` writes; the arrays are the live ones.

    If the loss or a weight is NaN, raises DivergedError instead, so that the file from before remains the last good
    one.
    """
    trainer.read_sums()
    trainer.elapsed()
    average = trainer.average
    arrays = model_arrays(trainer.model) if average is None else dict(average.averaged)
    if not all(np.isfinite(to_host(a)).all() for a in arrays.values()):
        raise DivergedError(
            f"a weight is not a number after step {trainer.state.step}: try a smaller learning rate (--lr)"
        )
    if with_optimizer:
        arrays |= {_OPTIMIZER + name: a for name, a in trainer.optimizer.state().items()}
        if average is not None:
            arrays |= {_TRAINED + name: a for name, a in average.trained.items()}
    return Checkpoint(path, about, _timeless(trainer.state) if about.config.get("exact") else trainer.state, arrays)


def _timeless(state: TrainState) -> TrainState:
    """`state` without what clocks say, so that runs with the same bits write the same files."""
    no_time = {"images_per_s": 0.0, "seconds": 0.0}
    return replace(state, seconds=0.0, history=[row | no_time for row in state.history])


def portable_checkpoint(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint for other people: without the optimizer's arrays, and with names instead of paths."""
    config = dict(checkpoint.about.config)
    config["data"] = portable(_of_here(config["data"]))
    if config.get("init_from"):
        path = Path(_of_here(config["init_from"]))
        run = path.parents[1].name if path.parent.name == "checkpoints" else ""
        config["init_from"] = run or path.name
    about = replace(checkpoint.about, config=config)
    arrays = {name: a for name, a in checkpoint.arrays.items() if not name.startswith(_PREFIXES)}
    return replace(checkpoint, about=about, arrays=arrays)


def export_checkpoint(path: Path, checkpoint: Checkpoint, more: Mapping[str, str] | None = None) -> None:
    """Writes a checkpoint for other people (`portable_checkpoint`), with `more` metadata beside minidl's."""
    made = portable_checkpoint(checkpoint)
    save_arrays(path, made.arrays, {**(more or {}), **_metadata(made.about, made.state)})


def _of_here(path: str) -> str:
    """A path of any operating system as one of this system; of a Windows path only the name is kept."""
    windows = PureWindowsPath(path)
    return f"./{windows.name}" if windows.drive else path


def _metadata(about: About, state: TrainState) -> dict[str, str]:
    return {CHECKPOINT: to_json({"format": FORMAT, "about": asdict(about), "state": asdict(state)})}


def pack_checkpoint(checkpoint: Checkpoint) -> bytes:
    """The content of its file, for a rank that can't read the file, or for a disk that is full now."""
    arrays = {name: to_host(a) for name, a in checkpoint.arrays.items()}
    return pack_arrays(arrays, _metadata(checkpoint.about, checkpoint.state))


def unpack_checkpoint(content: bytes, path: Path) -> Checkpoint:
    """The checkpoint of `pack_checkpoint`; `path` is where it was read, for messages."""
    return _checkpoint(path, *unpack_arrays(content))


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Reads a checkpoint, or the best one of a run's folder.

    Raises DataError naming the file if it is not a checkpoint of this version.
    """
    path = find_checkpoint(path) if Path(path).is_dir() else Path(path)
    return _checkpoint(path, *load_arrays(path))


def _checkpoint(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> Checkpoint:
    if CHECKPOINT not in metadata:
        raise DataError(
            f"{path}: weights alone, not a checkpoint; minidl.load(file, model) loads those of minidl.save, and of "
            f"weights with torch's names `{call('import-torch')} {shlex.quote(str(path))} --model NAME` makes one"
        )
    header = _HEADER(from_json(metadata[CHECKPOINT], path), f"{path}:")
    about, state = About(**header["about"]), TrainState(**header["state"])
    _fit_together(about, state, path)
    for key, a in arrays.items():
        if a.dtype.kind == "f" and not key.startswith(_OPTIMIZER) and not np.isfinite(a).all():
            raise DataError(f"{path}: {key} holds a weight that is not a number")
    return Checkpoint(path, about, state, arrays)


def _fit_together(about: About, state: TrainState, path: Path) -> None:
    """Raises DataError for values that contradict each other."""
    height, width, channels = about.image_shape
    classes, words = len(about.classes), len(about.words)
    for good, problem in (
        (words == classes, f"about.words has {words} names for {classes} classes"),
        (len(set(about.classes)) == classes, "about.classes has a class twice"),
        (height == width and channels == 3, f"about.image_shape {about.image_shape} isn't that of square RGB images"),
        (state.best_epoch <= state.epoch, f"state.best_epoch is {state.best_epoch}, after epoch {state.epoch}"),
    ):
        if not good:
            raise DataError(f"{path}: {problem}")
