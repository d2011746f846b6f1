"""Techniques of training that `train` doesn't offer, for the rows of `benchmarks/recipe.py` that measure them.

Each takes a trainer that hasn't trained yet and changes it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from minidl.backend.arrays import Array
from minidl.data.augment import uniform
from minidl.data.crops import stretched_first
from minidl.layers.base import Context, Mode
from minidl.losses import softmax_cross_entropy, top_k_correct
from minidl.training.trainer import Trainer

Technique = Callable[[Trainer], None]
PATCH_IMAGES = 500  # enough for the covariance of 27 numbers: two million patches


def whitened(trainer: Trainer) -> None:
    """The first filters look along the principal axes of the images' patches, each axis in both directions.

    With the covariance C = V diag(e) V^T of all k x k patches, pairs of filters start as s V_i and -s V_i, where s is
    the mean norm of the random filters. The batch normalization after them divides by the standard deviation of each
    axis, sqrt(e_i), so together they whiten the patches. Filters that are left stay random.

    Source: Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU", section 3.2, arXiv:2404.00498.
    """
    w = trainer.model.named_parameters()["stem.conv.weight"].value  # (KH, KW, C, F)
    height, width, channels, filters = w.shape
    loader = trainer.train
    images, _ = loader.batch(np.arange(min(PATCH_IMAGES, len(loader.split))), 0)
    windows = np.lib.stride_tricks.sliding_window_view(images, (height, width), axis=(1, 2))
    # (N, H, W, C, KH, KW) -> (N*H*W, KH*KW*C)
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, height * width * channels)
    _, axes = np.linalg.eigh(np.cov(patches, rowvar=False))
    pairs = np.concatenate([axes, -axes], axis=1)[:, :filters]  # (KH*KW*C, at most F)
    flat = w.reshape(-1, filters)
    flat[:, : pairs.shape[1]] = pairs * np.linalg.norm(flat, axis=0).mean()


def fast_betas(trainer: Trainer, times: float = 8.0) -> None:
    """The biases of batch normalization learn at `times` the rate of the others (Jordan 2024, section 3.4)."""
    for name, options in trainer.optimizer.options.items():
        if name.endswith(".beta"):
            options["lr_scale"] = times


def independent_flips(trainer: Trainer) -> None:
    """Each image is mirrored with probability 1/2 in every epoch, whatever it was in the epoch before.

    The augmentation mirrors a known half of the images; a second draw, independent of it, mirrors half again.
    """
    before = trainer.train.augment

    def augment(images: np.ndarray, indices: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        out = before(images, indices, seed, epoch)
        again = uniform(seed, epoch, indices, purpose=6) < 0.5
        out[again] = out[again, :, ::-1]
        return out

    trainer.train.augment = augment


def stretched(trainer: Trainer, share: float, area: float = 0.5, sizes: tuple[int, int] = (40, 64)) -> None:
    """Crops of growing size in the first `share` of the epochs, then whole images, flipped and shifted.

    That is what the preset `best` does with a share of 0.85.
    """
    trainer.train.augment = stretched_first(area, *sizes, int(share * trainer.epochs))


def mixup(trainer: Trainer, alpha: float = 0.2) -> None:
    """Trains on weighted means of two images: l a + (1 - l) b with l ~ Beta(alpha, alpha), one l for each batch.

    Source: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", arXiv:1710.09412.
    """

    def mix(x: Array, rng: np.random.Generator) -> tuple[Array, float]:
        share = float(rng.beta(alpha, alpha))
        return np.float32(share) * x + np.float32(1 - share) * x[::-1], share

    trainer.step = partial(_mixed_step, trainer, mix)


def cutmix(trainer: Trainer, alpha: float = 1.0) -> None:
    """A rectangle of each image comes from another one. Its area has the share 1 - l, with l ~ Beta(alpha, alpha).

    Source: Yun et al. 2019, "CutMix", arXiv:1905.04899.
    """

    def mix(x: Array, rng: np.random.Generator) -> tuple[Array, float]:
        height, width = x.shape[1:3]
        side = np.sqrt(1 - rng.beta(alpha, alpha))
        middle = rng.random(2) * (height, width)
        top, left = np.clip(middle - side / 2 * np.array([height, width]), 0, None).astype(int)
        bottom, right = np.minimum(middle + side / 2 * np.array([height, width]), (height, width)).astype(int)
        x = x.copy()
        x[:, top:bottom, left:right] = x[::-1, top:bottom, left:right].copy()
        return x, 1 - (bottom - top) * (right - left) / (height * width)

    trainer.step = partial(_mixed_step, trainer, mix)


def _mixed_step(trainer: Trainer, mix: Callable, x: Array, y: Array) -> tuple[Array, Array]:
    """`Trainer.train_step` on pairs of images. The partner of an image is the one in its place from the batch's end.

    The loss is the same mean of the two labels' losses as the image is of the two images:

        L = l L(z, y) + (1 - l) L(z, y'),    dz = l dz(y) + (1 - l) dz(y')
    """
    step = trainer.state.step
    x, share = mix(x, np.random.default_rng([trainer.seed, step]))
    logits, cache = trainer.model.forward(x, Context(Mode.TRAIN, trainer.seed, step))
    loss, dlogits = softmax_cross_entropy(logits, y, trainer.label_smoothing)
    other_loss, other_dlogits = softmax_cross_entropy(logits, y[::-1].copy(), trainer.label_smoothing)
    trainer.model.zero_grad()
    trainer.model.backward(share * dlogits + (1 - share) * other_dlogits, cache, need_dx=False)
    trainer.optimizer.step(trainer.schedule(step))
    return share * loss + (1 - share) * other_loss, top_k_correct(logits, y, 1)
