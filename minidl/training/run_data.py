"""The data of a run: its splits as training sees them, and those of a saved model again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from itertools import zip_longest
from pathlib import Path

import numpy as np

from minidl.data import (
    HELD_OUT,
    NO_VAL,
    Dataset,
    Loader,
    PaperAugment,
    channel_statistics,
    load_dataset,
    only_classes,
    split_off,
    subset,
)
from minidl.data.base import Split
from minidl.data.naming import SHAPES, stem
from minidl.data.subset import choose_classes
from minidl.errors import DataError, UsageError
from minidl.storage.validate import blamed
from minidl.text.calls import call
from minidl.text.shares import percent
from minidl.training.checkpoints import Checkpoint
from minidl.training.config import Config
from minidl.training.runs import Run, run_folder

STATISTICS_IMAGES = 1000  # enough for mean and deviation if every image has to be drawn first
EVAL_BATCH = 100
TINY_IMAGENET = "tiny-imagenet-200"  # what the command `download` fetches
IMPORTED = "imported"  # the data set's name in a checkpoint of `import-torch`


@dataclass
class Data:
    """The splits as a run uses them, and their normalization."""

    dataset: Dataset
    train: Split
    val: Split
    mean: np.ndarray
    std: np.ndarray

    extent: dict[str, str] = field(default_factory=dict)  # what part of the data set a split is, where it is a part
    place: str = SHAPES  # where it was read: "shapes" or a path

    def split(self, name: str) -> Split:
        """The split called "train", "val" or "test"; UsageError if there is none, or if it has no images."""
        found = self.dataset.test if name == "test" else getattr(self, name)
        if found is None or len(found) == 0:
            raise UsageError(f"{self.dataset.name} has no {name} images")
        return found

    def loader(self, split: Split, batch_size: int = EVAL_BATCH, workers: int = 1) -> Loader:
        """The images of `split` once, in order, without dropping any."""
        return Loader(
            split, batch_size, mean=self.mean, std=self.std, shuffle=False, drop_last=False, workers=workers
        )


def load_data(config: Config, progress: bool = True) -> Data:
    """The data set of `config`, with its subset, held-out split, paper augmentation and statistics."""
    dataset = _open(config, progress)
    if config.classes:
        dataset = only_classes(dataset, config.classes)
    train, val, extent = _parts(dataset, config)
    if len(val) == 0:
        raise UsageError(f"{dataset.name} has no val images: give other --classes, or --val-split")
    if len(lost := np.setdiff1d(np.arange(len(dataset.classes)), train.labels)):
        name = dataset.classes[lost[0]]
        raise UsageError(
            f"{dataset.name}: all training images of class {name} are gray, nothing is left with --gray skip"
        )
    drawn = getattr(train, "sums", None) is None
    some = np.arange(min(len(train), STATISTICS_IMAGES)) if drawn else None
    mean, std = channel_statistics(train, some)
    if config.augment == "paper":
        train = PaperAugment(train, config.seed)
    return Data(dataset, train, val, mean, std, extent, config.data)


def _open(config: Config, progress: bool) -> Dataset:
    return load_dataset(
        config.data,
        gray=config.gray,
        image_size=config.image_size,
        seed=config.seed,
        held_out=config.val_split or HELD_OUT,
        progress=progress,
    )


def without_val(dataset: Dataset) -> bool:
    """Whether the data set has no val, so that a part of train was held out when it was opened."""
    return NO_VAL in dataset.notes


def _parts(dataset: Dataset, config: Config) -> tuple[Split, Split, dict[str, str]]:
    """(train, val) as a run of `config` uses them, and which part of the data set each is, in words.

    The shares are counted, because of a small class more is taken than was asked for: one image at least.
    """
    parts, words = {"train": dataset.train, "val": dataset.val}, {"train": "train", "val": "val"}
    if config.val_split and not without_val(dataset):
        parts["train"], parts["val"] = split_off(dataset.train, config.val_split, config.seed, dataset.classes)
    if config.val_split or without_val(dataset):
        held_out = percent(len(parts["val"]), len(parts["train"]) + len(parts["val"]))
        words = {"train": f"train without the {held_out} held out", "val": f"{held_out} of train, held out"}
    if config.subset < 1:
        for name, split in parts.items():
            parts[name] = subset(split, config.subset, config.seed)
            if 0 < len(parts[name]) < len(split):
                words[name] = f"{percent(len(parts[name]), len(split))} of {words[name]}"
    return parts["train"], parts["val"], {name: said for name, said in words.items() if said != name}


def saved_data(checkpoint: Checkpoint, path: str | None = None, whole: bool = False, progress: bool = True) -> Data:
    """The data set that a checkpoint was trained on (or the one at `path`), normalized as in its training.

    Its splits have the same images as in training, without augmentation; with `whole`, all images of the data set.
    Raises DataError if the data set isn't where it was, or has other classes.
    """
    about = checkpoint.about
    saved = {f.name: about.config[f.name] for f in fields(Config) if f.name in about.config}
    place = path or _place(checkpoint)
    config = replace(Config(**saved), data=place, image_size=about.image_shape[0], augment="none")
    if whole:
        config = replace(config, subset=1.0, gray="convert")
    with blamed(checkpoint.path):
        dataset = _open(config, progress)
        if whole and not without_val(dataset):
            config = replace(config, val_split=0.0)
        if config.classes and set(about.classes) <= set(dataset.classes):
            dataset = choose_classes(dataset, [dataset.classes.index(c) for c in about.classes], config.classes)
        check_classes(checkpoint, dataset)
        train, val, extent = _parts(dataset, config)
    mean, std = (np.array(v, np.float32) for v in (about.mean, about.std))
    return Data(dataset, train, val, mean, std, extent, place)


def _place(checkpoint: Checkpoint) -> str:
    """Where the data set of a checkpoint is. An exported one stores only its name: it may be here or in data/."""
    data = data_of_training(checkpoint)
    if Path(data).name == IMPORTED and not checkpoint.state.step:
        raise DataError(f"{checkpoint.path}: imported weights, which have no data set: give --data")
    if data == SHAPES or Path(data).exists():
        return data
    if Path(data).is_absolute():
        raise DataError(f"{data}: the data set of {checkpoint.path} isn't there any more: give --data with its place")
    for folder in (Path.cwd(), Path.cwd() / "data"):
        if found := [path for path in sorted(folder.glob("*")) if stem(path) == Path(data).name]:
            return str(found[0])
    fetch = f", or fetch it with `{call('download')} data`" if Path(data).name == TINY_IMAGENET else ""
    raise DataError(f"{data}: the data set of {checkpoint.path} is neither here nor in data/: give --data{fetch}")


def data_of_training(checkpoint: Checkpoint) -> str:
    """Where the training of a checkpoint read its data last: the run knows it, also if it was resumed with data in
    another place; the checkpoint knows where they were before.
    """
    if (folder := run_folder(checkpoint.path)) is not None:
        with suppress(DataError):
            return Run.open(folder).config().data
    return checkpoint.about.config["data"]


def check_classes(checkpoint: Checkpoint, dataset: Dataset) -> None:
    """Raises DataError unless the outputs of the model mean the classes of the data set."""
    trained, here = checkpoint.about.classes, dataset.classes
    for position, (there, now) in enumerate(zip_longest(trained, here, fillvalue="missing")):
        if there != now:
            raise DataError(
                f"{checkpoint.path}: trained on {len(trained)} classes, but {dataset.name} has {len(here)}: "
                f"class {position} is {there} there and {now} here"
            )
