"""The settings of a training run: each with its default and its help, and the presets."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from minidl.data.naming import resolve
from minidl.errors import DataError, UsageError
from minidl.storage.validate import Check, boolean, choice, file_path, optional, plain_name, table, text, wrong
from minidl.text.numbers import count, not_negative, part, pixels, positive, seed64, share, thread_count, whole


def _setting(default: Any, help: str, **options: Any) -> Any:
    return field(default=default, metadata={"help": help, **options})


def run_path(text: str) -> str:
    """The absolute path of a run folder or checkpoint."""
    return str(Path(os.path.expanduser(text)).absolute())


# Stretching blurs: a network that is trained on stretched images to the end is worse on whole ones.
STRETCHED = 0.85  # of the epochs, with augment crops
ENGINES = ("fused", "plain")
ENGINE_HELP = "fused: several layers joined into one, faster; plain: one layer after the other (cupy: always plain)"
TF32_HELP = "cupy: round the factors of matrix products to 10 bits, faster on GPUs from sm_80 on"
CLASSES_HELP = "ids, names, or positions such as 0-179 or 3,5,7 (where ids are numbers, a number is an id)"
THREADS_HELP = "threads of the fused engine (0: all cores); plain layers use one, for the same bits each time"


@dataclass(frozen=True)
class Config:
    """The settings of one training run; the command line's flags are made from these fields."""

    data: str = _setting(
        "shapes",
        "shapes (drawn on the fly), or a Tiny ImageNet zip or folder, or a folder of images",
        type=resolve,
    )
    classes: str | None = _setting(None, f"use these classes only: {CLASSES_HELP}", metavar="LIST")
    image_size: int = _setting(
        64, "all images of a folder or archive are resized to this; those of shapes have 64", type=pixels
    )
    gray: str = _setting(
        "convert", "gray images: convert to RGB, or skip (training set only)", choices=("convert", "skip")
    )
    augment: str = _setting(
        "none",
        "paper: one flipped or rotated extra image per RGB image; online: new random flips and shifts in each epoch; "
        f"crops: stretched crops in the first {100 * STRETCHED:g} % of the epochs, then like online",
        choices=("none", "paper", "online", "crops"),
    )
    crop_area: float = _setting(0.5, "augment crops: smallest share of an image's area in a crop", type=part)
    start_size: int = _setting(
        0,
        "augment crops: first size of the training images, which then grow (0: full size at once)",
        type=whole,
    )
    subset: float = _setting(1.0, "train and validate on this share of every class", type=part)
    val_split: float = _setting(0.0, "validate on this share of the training set, not on val (0: on val)", type=share)
    model: str = _setting("refined", "network: {models}")
    stem: str | None = _setting(
        None,
        "ResNets: small (3x3, for images of 32 to 96 pixels) or imagenet (7x7 and a pool); small if not given",
    )
    activation: str | None = _setting(
        None, "after every convolution and sum, but not in the paper's networks; relu if not given"
    )
    dropout: float = _setting(0.0, "share of the features set to zero before the last layer", type=share)
    init_from: str | None = _setting(
        None, "start from the weights of this run or checkpoint", metavar="RUN", type=run_path
    )
    freeze: str | None = _setting(
        None, "don't train this layer, such as inception3, and all layers before it", metavar="LAYER"
    )
    head_lr: float = _setting(1.0, "learning-rate multiplier of the last layer", type=positive)
    engine: str = _setting("fused", ENGINE_HELP, choices=ENGINES)
    backend: str = _setting("numpy", "numpy (CPU) or cupy (GPU)", choices=("numpy", "cupy"))
    tf32: bool = _setting(False, TF32_HELP)
    batch_size: int = _setting(32, "images per step", type=count)
    epochs: int = _setting(2, "passes over the training set", type=count)
    optimizer: str = _setting("adam", "update rule", choices=("adam", "adamw", "sgd"))
    lr: float = _setting(5e-3, "learning rate (the peak, for one-cycle)", type=positive)
    weight_decay: float = _setting(
        3.16e-5, "weight decay: an L2 term for adam and sgd, decoupled for adamw", type=not_negative
    )
    decay_all: bool = _setting(True, "weight decay also for biases and batch normalization")
    momentum: float = _setting(0.9, "momentum of sgd (Nesterov's)", type=share)
    schedule: str = _setting(
        "one-cycle", "learning rate over time", choices=("constant", "step", "cosine", "one-cycle")
    )
    drop_epoch: int = _setting(25, "schedule step: multiply the learning rate by 0.1 after this epoch", type=count)
    warmup_epochs: float = _setting(
        0.0, "epochs at the start in which the learning rate rises linearly", type=not_negative
    )
    label_smoothing: float = _setting(0.0, "share of the target spread over all classes", type=share)
    class_weights: str = _setting(
        "none",
        "balanced: in the loss all classes count alike, however many images each has; none: all images do",
        choices=("none", "balanced"),
    )
    clip_norm: float = _setting(0.0, "shorten gradients whose norm is above this (0: never)", type=not_negative)
    ema: float = _setting(
        0.0, "evaluate and save a moving average of the weights with this decay, such as 0.999 (0: none)", type=share
    )
    patience: int = _setting(0, "stop after this many epochs without a better val top-1 (0: never)", type=whole)
    seed: int = _setting(0, "seed of all random numbers: same seed, same bits", type=seed64)
    sync_bn: bool = _setting(
        False, "several processes: batch normalization over the whole batch, not over each one's part of it"
    )
    exact: bool = _setting(False, "the same bits on 1, 2, 4 or 8 processes; includes --sync-bn")
    # The settings below change neither weights nor metrics, so a resumed run may give others.
    threads: int = _setting(0, THREADS_HELP, type=thread_count)
    workers: int = _setting(1, "threads that prepare batches", type=thread_count)
    checkpoint_minutes: float = _setting(3.0, "minutes between checkpoints within an epoch", type=positive)
    snapshot_epochs: int = _setting(0, "epochs between snapshots: checkpoints that are kept (0: none)", type=whole)
    log: str = _setting(
        "none",
        "tensorboard: also write curves, pictures and histograms for TensorBoard into the run folder",
        choices=("none", "tensorboard"),
    )
    keep: int = _setting(0, "number of snapshots to keep, the newest ones (0: all)", type=whole)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


# A run may continue on a machine with or without a GPU: the same training, with other rounding. Its data may have
# moved; `resume` checks that they are the same. What concerns the machine holds for one command; what concerns the
# folder of the run holds from then on.
KEPT_ON_RESUME = ("data", "checkpoint_minutes", "snapshot_epochs", "keep", "log")
FREE_ON_RESUME = (*KEPT_ON_RESUME, "backend", "tf32", "threads", "workers")

NETWORK = ("dropout", "stem", "activation")  # the settings that, with the name of the model, say what it is built of


def of_network(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of the settings of a run those that its network is built from; earlier versions had fewer."""
    return {name: settings[name] for name in NETWORK if name in settings}


def network_in_words(model: str, settings: Mapping[str, Any]) -> str:
    """The name of the model and what was chosen of it, such as "resnet18, stem imagenet"."""
    return ", ".join([model, *(f"{name} {value}" for name, value in of_network(settings).items() if value)])


_PAPER = {
    "epochs": 40,
    "lr": 1e-4,
    "weight_decay": 3.16e-5,
    "schedule": "constant",
}  # section 2.3
_MODERN = {  # ours, for ten epochs of Tiny ImageNet: docs/experiments.md has what each choice is worth
    "augment": "online",
    "batch_size": 128,
    "epochs": 10,
    "optimizer": "adamw",
    "lr": 4e-3,
    "weight_decay": 0.02,
    "schedule": "one-cycle",
}
_BEST = {  # ours, for one night with Tiny ImageNet: docs/experiments.md has why
    "augment": "crops",
    "crop_area": 0.5,
    "start_size": 40,
    "batch_size": 128,
    "epochs": 70,
    "optimizer": "sgd",
    "lr": 0.2,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "schedule": "one-cycle",
    "label_smoothing": 0.1,
    "ema": 0.9995,
}
_OURS = {"optimizer": "adam", "batch_size": 64}  # the paper doesn't say

PRESETS: dict[str, Callable[[str], dict[str, Any]]] = {
    "quick": lambda model: {},  # the defaults: minutes on a CPU
    "modern": lambda model: _MODERN,
    "best": lambda model: _BEST,
    "paper": lambda model: {
        **_PAPER,
        **_OURS,
        **(
            {"gray": "skip", "augment": "none", "dropout": 0.0}  # section 2.3.2: original set without gray images
            if model == "baseline"
            else {
                "gray": "convert",
                "augment": "paper",
                "schedule": "step",
                "drop_epoch": 25,  # "after 25 epochs the learning rate was manually reduced"; the factor 0.1 is ours
                "dropout": 0.4,  # ours: the paper names no rate
            }
        ),
    },
}


def make_config(preset: str, given: dict[str, Any]) -> Config:
    """The settings of `preset`, overridden by those `given` on the command line. Raises as `check_settings`."""
    model = given.get("model", Config.model)
    config = Config(**{**PRESETS[preset](model), **given})
    check_settings(config)
    return config


def check_settings(config: Config) -> None:
    """Raises UsageError naming the flags that can't be used together."""
    warmup, drop = config.warmup_epochs, config.drop_epoch
    if config.freeze and not config.init_from:
        raise UsageError(
            f"--freeze {config.freeze} would keep random weights as they are: give --init-from, whose weights to keep"
        )
    if warmup >= config.epochs:
        raise UsageError(f"--warmup-epochs {warmup:g}: choose fewer than --epochs {config.epochs}")
    if config.schedule == "step" and drop <= warmup:
        raise UsageError(
            f"--drop-epoch {drop} is within --warmup-epochs {warmup:g}: choose a later drop, or fewer of these"
        )


def unused_settings(config: Config) -> list[str]:
    """A line for every setting that was changed but has no effect together with the others."""
    default = Config()
    idle = (
        ("drop_epoch", config.schedule == "step", "it is for --schedule step"),
        ("crop_area", config.augment == "crops", "it is for --augment crops"),
        ("momentum", config.optimizer == "sgd", "it is for --optimizer sgd"),
        ("keep", config.snapshot_epochs > 0, "it counts the snapshots of --snapshot-epochs"),
    )
    lines = [
        f"--{name.replace('_', '-')} {getattr(config, name):g} does nothing here: {why}"
        for name, used, why in idle
        if not used and getattr(config, name) != getattr(default, name)
    ]
    if config.schedule == "step" and config.drop_epoch >= config.epochs:
        lines.append(f"the learning rate never drops: --drop-epoch {config.drop_epoch} is not before the last epoch")
    if config.augment == "crops" and config.epochs == 1:
        when = f"in the first {100 * STRETCHED:g} % of the epochs"
        lines.append(f"no image is cropped: --augment crops does so {when}, and there is one")
    return lines


_TEXTS: dict[str, Check] = {  # what is stored of them differs from what their flags take
    "data": file_path,
    "classes": optional(text(100_000)),
    "model": plain_name,
    "stem": optional(plain_name),
    "activation": optional(plain_name),
    "init_from": optional(file_path),
    "freeze": optional(text(200)),
}


def _stored(f: Field) -> Check:
    """The check for a setting that is read back: it must be a value that its flag accepts."""
    if f.name in _TEXTS:
        return _TEXTS[f.name]
    if "choices" in f.metadata:
        return choice(*f.metadata["choices"])
    return boolean if isinstance(f.default, bool) else _numeric(type(f.default), f.metadata["type"])


def _numeric(kind: type, parse: Callable[[str], Any]) -> Check:
    """The check for a number that the flag `parse` accepts, and that is a whole number if `kind` is int."""

    def check(value: Any, where: str) -> Any:
        if type(value) is not int and type(value) is not kind:
            raise wrong(where, value, "a whole number" if kind is int else "a number")
        try:
            return parse(repr(value))
        except UsageError as error:
            raise DataError(f"{where}: {error}") from error

    return check


SETTINGS: dict[str, Check] = {f.name: _stored(f) for f in fields(Config)}
_SAVED = table({}, SETTINGS)


def config_from_dict(settings: Any, source: str) -> Config:
    """A saved configuration; raises DataError naming `source` and the setting that is wrong."""
    return Config(**_SAVED(settings, f"{source}:"))
