"""The training batches of a run: shuffled, augmented, and small at first where the settings say so."""

from __future__ import annotations

from minidl.data import Loader, OnlineAugment
from minidl.data.crops import stretched_first
from minidl.data.loader import Augment
from minidl.errors import UsageError
from minidl.training.config import STRETCHED, Config
from minidl.training.run_data import Data


def train_loader(config: Config, data: Data) -> Loader:
    """Shuffled, augmented, full batches."""
    return Loader(
        data.train,
        config.batch_size,
        mean=data.mean,
        std=data.std,
        seed=config.seed,
        augment=make_augment(config, data),
        workers=config.workers,
    )


def make_augment(config: Config, data: Data) -> Augment | None:
    """The random changes of the training images, which are drawn anew in each epoch."""
    if config.augment == "online":
        return OnlineAugment()
    if config.augment == "crops":
        start, final = first_size(config, data), data.dataset.image_shape[0]
        return stretched_first(config.crop_area, start, final, int(STRETCHED * config.epochs))
    return None


def first_size(config: Config, data: Data) -> int:
    """Height and width of the training images in the first epoch; UsageError if these are impossible."""
    size = data.dataset.image_shape[0]
    if not config.start_size:
        return size
    if config.augment != "crops":
        raise UsageError(
            f"--start-size {config.start_size} is for crops only: add --augment crops, or --start-size 0"
        )
    if config.start_size > size:
        raise UsageError(
            f"--start-size {config.start_size}: images of {size} pixels can't shrink to that: give fewer, "
            "or 0 for full size at once"
        )
    return config.start_size
