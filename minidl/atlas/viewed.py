"""A trained network and the images that it is looked at with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType

import numpy as np

from minidl.backend.arrays import get_backend
from minidl.data.base import Split
from minidl.data.loader import Loader, normalise
from minidl.engine import unfuse
from minidl.errors import ShapeError, UsageError
from minidl.layers import Layer
from minidl.layers.convert import convert
from minidl.text.plural import counted
from minidl.text.progress import Progress
from minidl.training.config import network_in_words, of_network
from minidl.training.execution import Execution, on_engine
from minidl.training.trainer import TrainState
from minidl.visual.control import IMAGES, randomised, some_images
from minidl.visual.subject import Subject

BATCH = 100


@dataclass
class Viewed:
    """What an atlas is made from.

    model    of plain layers, on the host
    split    images with labels, or without
    mean, std    how the network takes them (see `normalise`)
    classes, words    ids of the classes, and their names
    train    images for the batch statistics of the network with random weights
    fresh    fresh(seed) makes the network with new random weights; None: each layer draws its own
    """

    model: Layer
    split: Split
    mean: np.ndarray
    std: np.ndarray
    classes: Sequence[str]
    words: Sequence[str]
    train: Split
    title: str = "a network"
    split_name: str = ""  # none: the images of a model of your own
    facts: list[tuple[str, str]] = field(default_factory=list)
    history: dict[str, list[float]] = field(default_factory=dict)
    fresh: Callable[[int], Layer] | None = None
    top1: float | None = None  # on the validation images, as its run says
    execution: Execution = field(default_factory=Execution)

    @property
    def xp(self) -> ModuleType:
        return get_backend(self.execution.backend, self.execution.tf32)

    @property
    def image_shape(self) -> tuple[int, ...]:
        return self.split.images(np.arange(1)).shape[1:]

    def placed(self, model: Layer) -> Layer:
        """The plain `model` on the backend."""
        return model if self.xp is np else convert(model, xp=self.xp)

    def running(self, model: Layer) -> Layer:
        """The plain `model` on the engine and the backend."""
        return on_engine(model, self.execution)[0]

    def randomised(self) -> Layer:
        """The network before any training."""
        with Progress("random weights", min(IMAGES, len(self.train)), "image") as bar:

            def batches() -> Iterator[np.ndarray]:
                for x in some_images(self.train, self.mean, self.std):
                    yield x
                    bar.add(len(x))

            try:
                return randomised(self.model, batches(), self.fresh, threads=self.execution.threads)
            except ShapeError:  # the only image has a map of one pixel, which has no variance
                return randomised(self.model, (), self.fresh)

    def loader(self) -> Loader:
        """All images once, in order."""
        return Loader(self.split, BATCH, mean=self.mean, std=self.std, shuffle=False, drop_last=False)

    def images(self, positions: np.ndarray) -> np.ndarray:
        """Images in the form that the network takes, float32 (n, H, W, C)."""
        return normalise(self.split.images(np.asarray(positions)), self.mean, self.std)

    def pictures(self, positions: np.ndarray) -> np.ndarray:
        """The same images for the screen, uint8 (n, H, W, 3)."""
        images = self.split.images(np.asarray(positions))
        if images.dtype != np.uint8:  # floats of any range: each image from its darkest to its brightest
            low, high = (f(images, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
            images = np.rint(255 * (images - low) / np.where(high > low, high - low, 1)).astype(np.uint8)
        return shown(images)


def shown(images: np.ndarray) -> np.ndarray:
    """Images (n, H, W, C) as (n, H, W, 3): one channel is gray, of two the first one, and of more the first three."""
    return images[..., :1].repeat(3, axis=3) if images.shape[3] < 3 else images[..., :3]


def of_subject(subject: Subject, build: Callable[..., Layer], images: Viewed | None = None) -> Viewed:
    """The network of a checkpoint and its images, or those of another one; `build` makes registered networks."""
    about, state = subject.about, subject.checkpoint.state
    if images is not None:
        if images.image_shape != tuple(about.image_shape):
            size, other = (f"{s[0]}x{s[1]}" for s in (about.image_shape, images.image_shape))
            raise UsageError(f"{subject.checkpoint.path}: its images have {size} pixels, and the others {other}")
        return replace(
            images, model=subject.model, mean=np.array(about.mean), std=np.array(about.std), title=subject.source,
            facts=[], history={}, top1=_top1(state),
        )  # fmt: skip
    data = subject.data
    columns = ("epoch", "train_top1", "val_top1", "train_loss", "val_loss")
    extent = data.extent.get(subject.split_name, subject.split_name)
    settings = ("preset", "optimizer", "lr", "batch_size", "epochs", "augment", "seed")
    return Viewed(
        model=subject.model,
        split=subject.split,
        mean=data.mean,
        std=data.std,
        classes=about.classes,
        words=about.words,
        train=data.train,
        title=f"{about.model} on {data.dataset.name}",
        split_name=subject.split_name,
        facts=[
            ("network", network_in_words(about.model, about.config)),
            ("weights", f"{subject.source}, after {counted(state.epoch, 'epoch')}"),
            ("data set", f"{data.dataset.name}, {extent}"),
            ("training", ", ".join(f"{k} {about.config[k]}" for k in settings if about.config.get(k) is not None)),
        ],
        history={c: [row[c] for row in state.history] for c in columns} if state.history else {},
        fresh=lambda seed: build(about.model, classes=len(about.classes), seed=seed, **of_network(about.config)),
        execution=subject.execution,
    )


def _top1(state: TrainState) -> float | None:
    """The accuracy after the last epoch that the state knows of."""
    return next((row["val_top1"] for row in state.history if row["epoch"] == state.epoch), None)


def of_model(
    model: Layer, loader: Loader, classes: Sequence[str] | None, title: str, fresh: Callable[[int], Layer] | None
) -> Viewed:
    """A model of your own, and the images of a Loader. `classes` are the names of its outputs."""
    if not isinstance(model, Layer) or not isinstance(loader, Loader):
        raise UsageError("an atlas is of a model and the images of a Loader, as in (model, loader, folder)")
    plain = unfuse(model)
    first = normalise(loader.split.images(np.arange(1)), loader.mean, loader.std)
    outputs = plain.out_shape(first.shape)
    if len(outputs) != 2:
        raise UsageError(f"the model's output for an image has the shape {outputs[1:]}: an atlas needs scores (K,)")
    names = [str(c) for c in classes] if classes is not None else [str(k) for k in range(outputs[1])]
    if len(names) != outputs[1]:
        raise UsageError(f"{len(names)} names of classes for a model with {outputs[1]} outputs")
    labels = loader.split.labels
    if labels is not None and (largest := max(labels, default=-1)) >= outputs[1]:
        raise UsageError(f"label {largest}: the model has {outputs[1]} outputs, so labels go up to {outputs[1] - 1}")
    return Viewed(
        plain, loader.split, loader.mean, loader.std, names, names, loader.split, title,
        facts=[("network", title)], fresh=fresh,
    )  # fmt: skip
