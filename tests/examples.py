"""One example of every layer, of a module and of a network: the tests of the layer contract use them."""

from collections.abc import Callable

import numpy as np

import models
from minidl.layers import (
    TRAIN,
    AdaptiveAvgPool2D,
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    Dropout,
    Flatten,
    GeneralAvgPool2D,
    GeneralConv2D,
    GeneralMaxPool2D,
    GlobalAvgPool,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2D,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    SiLU,
    Tanh,
)
from models.inception import Inception, inception
from tests.strategies import randomized

IMAGES = (2, 7, 6, 3)
EXAMPLES: dict[str, tuple[Callable[[type], Layer], tuple[int, ...]]] = {
    "Conv2D": (lambda dtype: Conv2D(3, 4, 3, stride=2, padding=1, rng=0, dtype=dtype), IMAGES),
    "Conv2D of 1x1": (lambda dtype: Conv2D(3, 4, 1, bias=False, rng=0, dtype=dtype), IMAGES),
    "BatchNorm2D": (lambda dtype: BatchNorm2D(3, dtype=dtype), IMAGES),
    "ReLU": (lambda dtype: ReLU(), IMAGES),
    "LeakyReLU": (lambda dtype: LeakyReLU(0.2), IMAGES),
    "SiLU": (lambda dtype: SiLU(), IMAGES),
    "MaxPool2D": (lambda dtype: MaxPool2D(4, 2, 1), IMAGES),
    "AvgPool2D": (lambda dtype: AvgPool2D(3, 1, 1), IMAGES),
    "GeneralConv2D": (
        lambda dtype: GeneralConv2D(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), groups=2, rng=0, dtype=dtype),
        (2, 7, 6, 4),
    ),
    "GeneralConv2D of one size": (
        lambda dtype: GeneralConv2D(3, 4, 3, padding="same", bias=False, rng=0, dtype=dtype),
        IMAGES,
    ),
    "GeneralMaxPool2D": (lambda dtype: GeneralMaxPool2D((3, 2), 2, (1, 0), ceil_mode=True), IMAGES),
    "GeneralAvgPool2D": (
        lambda dtype: GeneralAvgPool2D(3, (2, 1), 1, ceil_mode=True, count_include_pad=False),
        IMAGES,
    ),
    "AdaptiveAvgPool2D": (lambda dtype: AdaptiveAvgPool2D((3, 4)), IMAGES),
    "Sigmoid": (lambda dtype: Sigmoid(), IMAGES),
    "Tanh": (lambda dtype: Tanh(), IMAGES),
    "Flatten in torch's order": (lambda dtype: Flatten(channels_first=True), IMAGES),
    "GlobalAvgPool": (lambda dtype: GlobalAvgPool(), IMAGES),
    "Dropout": (lambda dtype: Dropout(0.4), IMAGES),
    "Linear": (lambda dtype: Linear(5, 4, rng=0, dtype=dtype), (3, 5)),
    "Flatten": (lambda dtype: Flatten(), IMAGES),
    "Sequential": (
        lambda dtype: Sequential(
            {"conv": Conv2D(3, 2, 3, rng=0, dtype=dtype), "relu": ReLU(), "pool": MaxPool2D(2, 1), "flat": Flatten()}
        ),
        IMAGES,
    ),
    "Concat": (lambda dtype: Concat([{"a": Conv2D(3, 2, 1, rng=0, dtype=dtype)}, {"b": ReLU()}]), IMAGES),
    "Residual": (lambda dtype: Residual(Conv2D(3, 3, 3, padding=1, rng=0, dtype=dtype)), IMAGES),
    "Residual of named layers": (
        lambda dtype: Residual(
            {"conv": Conv2D(3, 4, 3, stride=2, padding=1, rng=0, dtype=dtype), "relu": ReLU()},
            {"around": Conv2D(3, 4, 1, stride=2, rng=0, dtype=dtype)},
        ),
        IMAGES,
    ),
    "inception": (lambda dtype: inception(3, Inception(2, 3, 4, 1, 2, 3), np.random.default_rng(0), dtype), IMAGES),
    "network": (lambda dtype: models.build("convnet", 3, dropout=0.3, dtype=dtype), (2, 9, 8, 3)),
}


STEP = TRAIN.at_step(0)  # of a training, as dropout must know which


def leaf_names(model: Layer) -> list[str]:
    """The full names of the layers without children, in forward order."""
    return [name for name, layer in model.named_layers().items() if not layer.children()]


def example(name: str, dtype: type = np.float64, seed: int = 0) -> tuple[Layer, np.ndarray, np.ndarray]:
    """(layer with random parameters, x, dy)"""
    make, shape = EXAMPLES[name]
    rng = np.random.default_rng(seed)
    layer = randomized(make(dtype), rng)
    x = rng.normal(size=shape).astype(dtype)
    dy = rng.normal(size=layer.out_shape(shape)).astype(dtype)
    return layer, x, dy
