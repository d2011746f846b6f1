"""Crops of random size and place, resized to the size that the network is trained on. That size may grow.

Like all changes of images they are functions of (seed, epoch, index); see minidl/data/augment.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minidl.data.augment import OnlineAugment, uniform
from minidl.data.loader import Augment
from minidl.errors import UsageError

SizeAt = Callable[[int], int]  # epoch -> height and width of the training images
STEP = 8  # pixels by which the training images grow: three halvings leave even maps


def resample(images: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The part `boxes[i]` of each image, resized to `size`: bilinear, and antialiased where it shrinks.

    images uint8 (n, H, W, C), boxes float (n, 4): top, left, height, width in pixels, size (h, w);
    out uint8 (n, h, w, C).

        y[s, t] = sum_jk R[s, j] x[j, k] C[t, k],    R and C as in `_weights`

    All sums are whole numbers below 255 * 256^2 < 2^24, which float32 holds exactly. So the bits don't depend on the
    order in which BLAS adds. (Pillow's Image.resize with Resampling.BILINEAR and box= differs by rounding only.)
    """
    n, height, width, channels = images.shape
    h, w = size
    rows = _weights(boxes[:, 0], boxes[:, 2], h, height)  # (n, h, H)
    columns = _weights(boxes[:, 1], boxes[:, 3], w, width)  # (n, w, W)
    x = images.reshape(n, height, width * channels).astype(np.float32)
    x = (rows @ x).reshape(n, h, width, channels)  # (n, h, W*C) -> (n, h, W, C)
    x = x.transpose(0, 2, 1, 3).reshape(n, width, h * channels)  # (n, h, W, C) -> (n, W, h*C)
    x = (columns @ x).reshape(n, w, h, channels)  # columns first: (n, w, h*C) -> (n, w, h, C)
    x = (x.astype(np.int32) + (1 << 15)) >> 16
    return np.ascontiguousarray(x.astype(np.uint8).transpose(0, 2, 1, 3))


def _weights(start: np.ndarray, length: np.ndarray, size: int, pixels: int) -> np.ndarray:
    """The weight of each of the `pixels` in each of `size` samples of [start, start + length): float32 (n, size,
    pixels).

    Sample s is at c = start + (s + 1/2) length / size. The middle of pixel j is at j + 1/2, and its weight is

        max(0, 1 - |j + 1/2 - c| / r),    r = max(1, length / size),

    divided by the sum of all weights; in units of 1/256, rounded so that the weights of a sample add up to exactly
    256.
    """
    scale = (length / size)[:, None]
    centre = start[:, None] + (np.arange(size) + 0.5) * scale  # (n, size)
    distance = np.abs(np.arange(pixels) + 0.5 - centre[..., None])  # (n, size, pixels)
    exact = np.maximum(0, 1 - distance / np.maximum(scale, 1)[..., None])
    rising = np.cumsum(exact, axis=-1)
    rising = np.floor(rising / rising[..., -1:] * 256 + 0.5)
    return np.diff(rising, axis=-1, prepend=0).astype(np.float32)


def growing(start: int, final: int, epochs: int) -> SizeAt:
    """Sizes that grow from `start` to `final` pixels in steps of 8, all equally long; `final` from epoch `epochs` on.

        size(e) = start + 8 floor(e / epochs (final - start) / 8)    for e < epochs, then final

    Small images cost less (40 pixels: two fifths of 64), and a young network can learn most things from them (Howard
    2018, fast.ai's DAWNBench entry; Tan & Le 2021, "EfficientNetV2", section 4).
    """

    def size(epoch: int) -> int:
        return final if epoch >= epochs else start + STEP * (epoch * (final - start) // (STEP * epochs))

    return size


def followed(first: Augment, then: Augment, epoch: int) -> Augment:
    """`first` before `epoch`, `then` from that epoch on."""
    return lambda images, indices, seed, e: (first if e < epoch else then)(images, indices, seed, e)


class ResizedCrops:
    """A random part of the image, resized to the size of the epoch, and mirrored in every second epoch.

    The part covers `area` to 1 of the image's area (uniform), and its sides have a ratio between 3:4 and 4:3 (uniform
    in its logarithm). It is cut where it is larger than the image, and its place is uniform (Szegedy et al. 2015,
    "Going deeper with convolutions", section 6, where the area may be as small as 8 %).

    size    epoch -> height and width of the training images; None: those of the images
    """

    def __init__(self, area: float, size: SizeAt | None = None) -> None:
        if not 0 < area <= 1:
            raise UsageError(
                f"area is {area}: give the least share of the image that a crop covers, above 0, up to 1"
            )
        if size is not None and not callable(size):
            raise UsageError(f"size is {size!r:.60}: give a function epoch -> pixels, such as lambda epoch: 64")
        self.area, self.size = area, size

    def __call__(self, images: np.ndarray, indices: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        down, right, area, ratio = (uniform(seed, epoch, indices, purpose) for purpose in (1, 2, 4, 5))
        height, width = images.shape[1:3]
        area, root = self.area + (1 - self.area) * area, (4 / 3) ** (ratio - 0.5)  # root: of width over height
        h, w = np.minimum(np.sqrt(area) / root, 1) * height, np.minimum(np.sqrt(area) * root, 1) * width
        boxes = np.stack([down * (height - h), right * (width - w), h, w], axis=1)
        out = resample(images, boxes, (height, width) if self.size is None else (self.size(epoch),) * 2)
        flipped = alternating(seed, epoch, indices)
        out[flipped] = out[flipped, :, ::-1]
        return out


def alternating(seed: int, epoch: int, indices: np.ndarray) -> np.ndarray:
    """Which images to mirror, bool (n,): a random half of them in even epochs, the other half in odd epochs.

    So two epochs in a row show both sides of every image. Independent draws would show the same side twice for half
    of them (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU", section 3.6, arXiv:2404.00498).
    """
    return (uniform(seed, 0, indices, 3) < 0.5) ^ bool(epoch % 2)


def stretched_first(area: float, start: int, final: int, epochs: int) -> Augment:
    """Crops that grow from `start` to `final` pixels in the first `epochs`, then whole images, flipped, shifted."""
    return followed(ResizedCrops(area, growing(start, final, epochs)), OnlineAugment(), epochs)
