"""More images than there are: the paper's fixed extended training set, and random changes drawn anew in each epoch.

All draws are hashes of (seed, epoch, index, purpose). So the change of an image doesn't depend on the other images in
the batch, nor on what was drawn before.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from minidl.data.arrays import as_split
from minidl.data.base import Split, positions
from minidl.errors import UsageError, require_whole

ANGLES = (6, 8, 10)  # degrees: Tiny ImageNet's paper set is turned by one of these, either way
_FLIP, _ROTATIONS = 0, (*ANGLES, *(-a for a in ANGLES))  # positive: clockwise


def uniform(seed: int, epoch: int, indices: np.ndarray, purpose: int) -> np.ndarray:
    """Numbers in [0, 1), float64 (n,): for each index a function of (seed, epoch, index, purpose) and nothing else.

    Counter-based: splitmix64's finalizer (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number
    generators", section 4) after each of the four words.
    """
    state = np.zeros(len(indices), np.uint64)
    for word in (seed, epoch, purpose, indices):
        state += np.atleast_1d(word).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return (state >> np.uint64(11)) * 2.0**-53


def rotate(images: np.ndarray, degrees: float) -> np.ndarray:
    """uint8 images (n, H, W, C) turned clockwise about their centre; bilinear, with the border pixels repeated
    outwards.

    y[p] = sum_k w_k x[q_k(p)],  where q_k are the four pixels around the point that the rotation moves to p.
    """
    n, height, width, channels = images.shape
    places, weights = _rotation_table(height, width, degrees)
    pixels = images.reshape(n, height * width, channels)
    # 16-bit sums of 8-bit pixels times weights that add up to 256, the largest being 255 * 256 + 128
    turned = np.full(pixels.shape, 128, np.uint16)
    for place, weight in zip(places, weights, strict=True):
        turned += pixels[:, place] * weight[:, None]
    return (turned >> 8).astype(np.uint8).reshape(images.shape)


@cache
def _rotation_table(height: int, width: int, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """The positions of the four pixels, intp (4, H*W), and their weights in 1/256, uint16 (4, H*W)."""
    angle = np.deg2rad(degrees)
    y, x = np.mgrid[:height, :width].reshape(2, -1)  # (2, H, W) -> (2, H*W)
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    # y points down, so clockwise is (x, y) -> (x cos - y sin, x sin + y cos); this is its inverse.
    from_x = np.clip(x * np.cos(angle) + y * np.sin(angle) + (width - 1) / 2, 0, width - 1)
    from_y = np.clip(y * np.cos(angle) - x * np.sin(angle) + (height - 1) / 2, 0, height - 1)
    left = np.minimum(from_x.astype(int), max(width - 2, 0))
    top = np.minimum(from_y.astype(int), max(height - 2, 0))
    right, down = from_x - left, from_y - top
    corner, one, line = top * width + left, width > 1, width * (height > 1)  # an image may be one pixel wide
    places = np.stack([corner, corner + one, corner + line, corner + one + line])
    exact = np.stack([(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down])
    weights = np.floor(np.cumsum(exact, axis=0) * 256 + 0.5)  # rounded sums: they end in exactly 256
    return places, np.diff(weights, axis=0, prepend=0).astype(np.uint16)


class PaperAugment:
    """The paper's training set: all n images of `split`, then one extra image for each that isn't gray.

    The extra image is flipped, turned clockwise or turned counterclockwise, each with the same probability; the angle
    is uniform in {6, 8, 10} degrees. The set is fixed: an extra image depends only on the seed and its original.
    Bilinear sampling and the repeated border are our choice; the paper says nothing about them.

    split    the originals
    gray     bool (n,), which of them are gray; by default `split.gray`, or none if the split has no such attribute
    """

    def __init__(self, split: Split | tuple[ArrayLike, ArrayLike], seed: int, gray: np.ndarray | None = None) -> None:
        split = as_split(split)
        if split.labels is None:
            raise UsageError("these images have no labels: the paper's extra images have those of their originals")
        if split.images(np.arange(1)).dtype != np.uint8:
            raise UsageError("augmentation turns and moves uint8 pixels, and these images are floats")
        gray = getattr(split, "gray", None) if gray is None else gray
        originals = np.arange(len(split))
        extra = originals if gray is None else originals[~gray]
        self.split = split
        self.source = np.concatenate([originals, extra])  # the original of each image
        self.labels = split.labels[self.source]
        # -1 for an original, else 0..8 with equal probability: a flip (0, 1, 2) or one of six rotations
        self.change = np.full(len(self.source), -1)
        self.change[len(split) :] = uniform(seed, 0, extra, purpose=0) * 9

    def __len__(self) -> int:
        return len(self.source)

    def images(self, indices: np.ndarray) -> np.ndarray:
        indices = positions(indices, len(self))
        images, change = self.split.images(self.source[indices]), self.change[indices]
        flipped = (change >= 0) & (change < 3)
        images[flipped] = images[flipped, :, ::-1]
        for k, degrees in enumerate(_ROTATIONS, 3):
            if (chosen := change == k).any():
                images[chosen] = rotate(images[chosen], degrees)
        return images


class OnlineAugment:
    """Random flips and crops, drawn anew in every epoch; for the Loader's `augment`.

    Each image is mirrored with probability 1/2, and shifted by up to `padding` pixels in each direction; the border
    is reflected. These are the crops of He et al. (2016), "Deep Residual Learning", section 4.2, with reflection
    instead of zeros.
    """

    def __init__(self, padding: int = 4) -> None:
        self.padding = require_whole("padding", padding)

    def __call__(self, images: np.ndarray, indices: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        n, height, width, channels = images.shape
        down, right, mirror = (uniform(seed, epoch, indices, purpose) for purpose in (1, 2, 3))
        p = self.padding
        padded = np.pad(images, ((0, 0), (p, p), (p, p), (0, 0)), mode="reflect")
        # Rows as runs of bytes: (n, H+2p, W+2p, C) -> (n, H+2p, (W+2p)*C), then every crop as a view.
        rows = padded.reshape(n, height + 2 * p, (width + 2 * p) * channels)
        crops = np.lib.stride_tricks.sliding_window_view(rows, (height, width * channels), axis=(1, 2))
        steps = 2 * p + 1
        top, left = (down * steps).astype(int), (right * steps).astype(int)
        # (n, H, W*C) -> (n, H, W, C)
        out = crops[np.arange(n), top, left * channels].reshape(images.shape)
        flipped = mirror < 0.5
        out[flipped] = out[flipped, :, ::-1]
        return out
