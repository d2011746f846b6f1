"""Weights and images that NumPy alone makes from names, so that networks of two frameworks can have the same ones."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import numpy as np

from minidl.layers import Linear

SEED = 20
CLASSES = 1000
DRAWN = ("conv", "general_conv", "linear")  # the layers that draw their weights


def array_of(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array of this name in torch's layout, float32; a function of the name and the shape.

    With a generator default_rng([20, crc32(name)]), z its standard normal and u its uniform float32 numbers:

        weights of convolutions and linear layers  z sqrt(2 / numbers that a unit reads)
        biases, and running means                  0.1 z
        running variances, and BN's weights        0.5 + u
    """
    rng = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    if len(shape) > 1:
        z = rng.standard_normal(shape, dtype=np.float32)
        z *= np.float32(np.sqrt(2 / np.prod(shape[1:])))
        return z
    if name.endswith(("bias", "running_mean")):
        return np.float32(0.1) * rng.standard_normal(shape, dtype=np.float32)
    return np.float32(0.5) + rng.random(shape, dtype=np.float32)


def images(number: int, side: int) -> np.ndarray:
    """Standard normal numbers (N, H, W, 3), float32."""
    return np.random.default_rng([SEED, number, side]).standard_normal((number, side, side, 3), dtype=np.float32)


def gradient(shape: tuple[int, ...]) -> np.ndarray:
    """dy for a shape, float32."""
    return np.random.default_rng([SEED, *shape]).standard_normal(shape, dtype=np.float32)


def checksum(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """SHA-256 of names and shapes, sorted by name: "fc.bias 1000\\nfc.weight 1000 512\\n..."."""
    lines = sorted(f"{name} {' '.join(map(str, shape))}\n" for name, shape in shapes.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@contextmanager
def undrawn() -> Iterator[None]:
    """Networks that are built meanwhile have weights of zero, which take no time, and no memory at first."""
    with ExitStack() as stack:
        for module in DRAWN:
            zeros = lambda rng, shape, fan_in, dtype=np.float32: np.zeros(shape, dtype)  # noqa: E731
            stack.enter_context(patch(f"minidl.layers.{module}.he_normal", zeros))
        plain = lambda d, k, rng, dtype: Linear(d, k, rng=rng, dtype=dtype)  # noqa: E731
        stack.enter_context(patch("minidl.models.vgg.hidden_linear", plain))
        yield
