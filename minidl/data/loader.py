"""Batches for the network: order, augmentation, normalization, and threads that prepare batches in advance.

There is no state to save here. The order of the images depends on (seed, epoch) only, and the augmentation of an
image on (seed, epoch, index) only. So an epoch can be resumed at any batch with the same bits, with any number of
workers.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from minidl.data.arrays import as_split, require_pixels
from minidl.data.base import Split, positions
from minidl.errors import DataError, ShapeError, UsageError, require_whole

Augment = Callable[[np.ndarray, np.ndarray, int, int], np.ndarray]  # (uint8 images, indices, seed, epoch) -> images


def normalise(images: np.ndarray, mean: ArrayLike, std: ArrayLike) -> np.ndarray:
    """y = (x / 255 - mean) / std per channel: uint8 (..., H, W, C) to float32, as one product and one sum.

    mean and std (C,), or one number for all channels, are in units of the range [0, 1].
    Of images that are floats already, y = (x - mean) / std.
    Raises DataError for images of another type, UsageError for a mean or std that can't be one.
    """
    images = np.asarray(images)
    require_pixels(images)
    if images.ndim < 3:
        raise ShapeError(f"images have the shape {images.shape}: they must be (..., H, W, C), channels last")
    width, channels = images.shape[-2:]
    unit = 255 if images.dtype == np.uint8 else 1
    mean, std = each_channel(mean, std, channels, of_pixels=unit == 255)
    scale, shift = (1 / (unit * std)).astype(np.float32), (-mean / std).astype(np.float32)
    # Whole image rows make the inner loops long: (..., H, W, C) -> (rows, W*C).
    x = images.reshape(-1, width * channels).astype(np.float32)
    x *= np.tile(scale, width)
    x += np.tile(shift, width)
    return x.reshape(images.shape)


def _augmented(images: Any, before: np.ndarray) -> np.ndarray:
    """What a function `augment` made of the images `before`; UsageError if these aren't as many uint8 images."""
    array = isinstance(images, np.ndarray)
    if array and images.dtype == np.uint8 and images.ndim == 4 and len(images) == len(before):
        return images  # (floats would be taken for pixels from 0 to 1)
    found = f"{images.dtype} of the shape {images.shape}" if array else type(images).__name__
    raise UsageError(f"augment gave {found}: must give uint8 images (N, H, W, C), one for each of the {len(before)}")


def each_channel(mean: ArrayLike, std: ArrayLike, channels: int, *, of_pixels: bool) -> tuple[np.ndarray, np.ndarray]:
    """(mean, std) of each channel, float64 (C,); one number stands for all channels.

    Raises ShapeError or UsageError for values that can't be mean and std: of_pixels, in units of pixels / 255, they
    lie between 0 and 1.
    """
    found = []
    for name, values in (("mean", mean), ("std", std)):
        try:
            array = np.asarray(values, np.float64)
        except (TypeError, ValueError):
            raise UsageError(f"{name} is {values!r:.60}: give a number for each channel, or one for all") from None
        if array.shape not in ((), (1,), (channels,)):
            raise ShapeError(
                f"{name} has the shape {array.shape}, and the images have {channels} channels, the last axis"
            )
        if not np.isfinite(array).all():
            raise UsageError(f"{name} is {values!r:.60}: give finite numbers")
        if name == "std" and not (array > 0).all():
            raise UsageError(f"std is {array.tolist()}: each must be above 0")
        if of_pixels and not ((array >= 0) & (array <= 1)).all():
            raise UsageError(f"{name} is {array.tolist()}: of uint8 pixels it is in units of 255, from 0 to 1")
        found.append(np.broadcast_to(array, channels))
    return found[0], found[1]


def denormalise(x: np.ndarray, mean: ArrayLike, std: ArrayLike) -> np.ndarray:
    """The uint8 images that `normalise` turned into `x`, rounded and clipped to 0..255."""
    pixels = (x * np.asarray(std, np.float32) + np.asarray(mean, np.float32)) * np.float32(255)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def image_sums(images: np.ndarray) -> np.ndarray:
    """The sums of x and of x^2 of each uint8 image and channel: (n, H, W, C) -> uint64 (n, 2, C), exact."""
    n, height, width, channels = images.shape
    rows = images.reshape(n, height, width * channels)
    squares = np.square(rows, dtype=np.uint16)  # 255^2 just fits
    columns = np.stack([np.add.reduce(v, axis=1, dtype=np.uint64) for v in (rows, squares)], axis=1)
    return columns.reshape(n, 2, width, channels).sum(axis=2)  # (n, 2, W*C) -> (n, 2, W, C) -> (n, 2, C)


def channel_statistics(
    split: Split | tuple[ArrayLike, ArrayLike | None], indices: np.ndarray | None = None, batch: int = 1000
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation per channel of the images at `indices` (default: all), float32 (C,), in [0, 1].

    split   one of a data set, or your own arrays (images, labels) as `Loader` takes them; floats are measured as they
            are

    The sums are integers, so the order and `batch` don't change a bit. A packed split stores the sums of each image
    (`sums`), so that nothing has to be read. A constant channel gets the deviation of one gray level, 1/255, and of
    floats 1.
    """
    split = as_split(split)
    indices = np.arange(len(split)) if indices is None else positions(indices, len(split))
    if len(indices) == 0:
        raise UsageError("channel statistics of no images: choose at least one")
    if (images := split.images(indices[:1])).dtype != np.uint8:
        x = split.images(indices).astype(np.float64)
        if not np.isfinite(x).all():
            raise DataError("channel statistics: an image has a number that isn't finite (NaN or infinite)")
        varies = x.max(axis=(0, 1, 2)) > x.min(axis=(0, 1, 2))  # the std of equal numbers may not be quite 0
        std = np.where(varies, x.std(axis=(0, 1, 2)), 1)
        return x.mean(axis=(0, 1, 2)).astype(np.float32), std.astype(np.float32)
    if (sums := getattr(split, "sums", None)) is not None:
        total = sums[indices].sum(axis=0)
    else:
        parts = (split.images(indices[i : i + batch]) for i in range(0, len(indices), batch))
        total = sum(image_sums(part).sum(axis=0) for part in parts)
    height, width = images.shape[1:3]
    n = len(indices) * height * width
    first, second = ([int(v) for v in row] for row in total)  # Python integers: n * second needs more than 64 bits
    mean = [s / (255 * n) for s in first]
    variance = [(n * q - s * s) / (255 * n) ** 2 for s, q in zip(first, second, strict=True)]
    return np.array(mean, np.float32), np.maximum(np.sqrt(variance), 1 / 255).astype(np.float32)


def map_ahead(function: Callable[[Any], Any], items: Iterable[Any], workers: int) -> Iterator[Any]:
    """Like `map(function, items)`, but `workers` threads compute up to two items each in advance. The order is kept.

    With workers = 0 an item is computed when it is asked for. An exception of `function` is raised here, at its item.
    The threads end when the generator is closed.
    """
    if workers == 0:
        for item in items:
            yield function(item)  # not `yield from map(...)`: a StopIteration of the function's would end that
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="minidl-batches")
    ahead: deque = deque()
    try:
        for item in items:
            ahead.append(pool.submit(function, item))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:  # also when the consumer stops early
        pool.shutdown(cancel_futures=True)


class Loader:
    """Batches (x, y) of a split: x float32 (n, H, W, C) normalized, y int64 (n,); y is -1 if labels are unknown.

    split       one of a data set, or your own arrays (images, labels): images (N, H, W, C), uint8 pixels or floats;
                labels N whole numbers from 0, or None
    mean, std   a number for each channel, or one for all, in units of pixels / 255; of floats in their own units
    augment     a function (uint8 images, indices, seed, epoch) -> uint8 images, or None
    shuffle     a new order for every epoch, or else the order of the split
    drop_last   leave out the last batch if it is not full
    workers     threads that prepare batches in advance, two each; 0 prepares a batch when it is asked for
    limit       the most batches in an epoch
    """

    def __init__(
        self,
        split: Split | tuple[ArrayLike, ArrayLike | None],
        batch_size: int,
        *,
        mean: ArrayLike = 0.0,
        std: ArrayLike = 1.0,
        seed: int = 0,
        augment: Augment | None = None,
        shuffle: bool = True,
        drop_last: bool = True,
        workers: int = 1,
        limit: int | None = None,
    ) -> None:
        split = as_split(split)
        batch_size, workers = require_whole("batch_size", batch_size, 1), require_whole("workers", workers)
        seed, limit = require_whole("seed", seed), None if limit is None else require_whole("limit", limit, 1)
        if len(split) < (batch_size if drop_last else 1):
            raise UsageError(f"a batch of {batch_size} needs more than the {len(split)} images there are")
        if augment is not None and (isinstance(augment, type) or not callable(augment)):
            kind = f"the class {augment.__name__}" if isinstance(augment, type) else repr(augment)[:60]
            raise UsageError(f"augment is {kind}: give a function of images, such as minidl.data.OnlineAugment()")
        first = split.images(np.arange(1))
        require_pixels(first)
        if augment is not None and first.dtype != np.uint8:
            raise UsageError("augmentation turns and moves uint8 pixels, and these images are floats")
        each_channel(mean, std, first.shape[-1], of_pixels=first.dtype == np.uint8)  # fails here, not in an epoch
        self.split, self.batch_size, self.seed, self.augment = split, batch_size, seed, augment
        self.mean, self.std = np.asarray(mean, np.float32), np.asarray(std, np.float32)
        self.shuffle, self.drop_last, self.workers, self.limit = shuffle, drop_last, workers, limit

    def __len__(self) -> int:
        """Batches per epoch."""
        batches = len(self.split) // self.batch_size if self.drop_last else -(-len(self.split) // self.batch_size)
        return batches if self.limit is None else min(batches, self.limit)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        raise UsageError("the order of images differs from epoch to epoch: for x, y in loader.epoch(epoch)")

    def order(self, epoch: int) -> np.ndarray:
        """The positions of the split in the order of `epoch`, int64 (n,)."""
        require_whole("epoch", epoch)
        if not self.shuffle:
            return np.arange(len(self.split))
        return np.random.default_rng([self.seed, epoch, zlib.crc32(b"order")]).permutation(len(self.split))

    def batch(self, indices: np.ndarray, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The batch (x, y) of the images at `indices`, augmented as in `epoch`."""
        images = self.split.images(indices)
        if self.augment is not None:
            images = _augmented(self.augment(images, indices, self.seed, epoch), images)
        labels = self.split.labels
        y = np.full(len(indices), -1) if labels is None else labels[indices]
        return normalise(images, self.mean, self.std), y

    def images_of(self, batch: int) -> int:
        """The number of images in batch number `batch`: the last one may be smaller."""
        return min(self.batch_size, len(self.split) - batch * self.batch_size)

    def labelled(self, epoch: int) -> int:
        """How many of the images in the batches of `epoch` have a label."""
        labels, seen = self.split.labels, len(self) * self.batch_size
        return 0 if labels is None else int((labels[self.order(epoch)[:seen]] >= 0).sum())

    def epoch(
        self, epoch: int, start: int = 0, part: Callable[[int], slice] | None = None, *, step: int = 1
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches of `epoch` with the numbers start, start + step, start + 2 step, ...

        part    which of its n images a batch has: n -> slice
        """
        order = self.order(epoch)
        parts = (order[i * self.batch_size : (i + 1) * self.batch_size] for i in range(start, len(self), step))
        if part is not None:
            parts = (indices[part(len(indices))] for indices in parts)
        return map_ahead(lambda part: self.batch(part, epoch), parts, self.workers)
