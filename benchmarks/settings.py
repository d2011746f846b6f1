"""What all contenders share: the settings, and the images they are measured on."""

from __future__ import annotations

import numpy as np

DROPOUT = 0.4  # the refined net's
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 3.16e-5  # the paper's
CLASSES = 200
SIDES = {"refined": 64, "vgg": 32, "resnet18": 64}  # the networks, and the height and width of their images
VGG_FILTERS = (64, 128, 256)  # of each block: two 3x3 convolutions with BN and ReLU, then a 2x2 max pool
BATCHES = 4  # different ones, taken in turn, so that no loss runs down to nothing

Batch = tuple[np.ndarray, np.ndarray]  # images (N, H, W, 3) and labels (N,)


def random_batches(network: str, batch_size: int) -> list[Batch]:
    """Images and labels for `network`, the same for all contenders."""
    rng = np.random.default_rng(0)
    shape = (batch_size, SIDES[network], SIDES[network], 3)
    return [
        (rng.standard_normal(shape, dtype=np.float32), rng.integers(0, CLASSES, batch_size)) for _ in range(BATCHES)
    ]
