"""Networks without numbers: names and shapes, without the seconds and gigabytes that their first weights take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minidl.diagnostics.blank import Blank, Meter
from minidl.layers.base import Layer
from minidl.layers.context import join
from minidl.storage.weights import torch_name, torch_shapes


class _Blanks(np.random.Generator):
    """A generator of random numbers that draws none."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Blank:
        return Meter().array(size, np.float64)


class _Zeros(np.random.Generator):
    """A generator of random numbers that are all zero."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> np.ndarray:
        return np.zeros(size, np.float32)


def sketch(network: Callable[..., Layer], classes: int, **options: Any) -> Layer:
    """The network of a builder of the registry; its weights have shapes but no numbers."""
    return network(classes=classes, dropout=0.0, rng=_Blanks(), dtype=np.float32, **options)


def unfilled(network: Callable[..., Layer], classes: int, **options: Any) -> Layer:
    """The network of a builder of the registry, whose weights will be read: none are drawn."""
    return network(classes=classes, dropout=0.0, rng=_Zeros(), dtype=np.float32, **options)


def names_of_classes(network: Callable[..., Layer], **options: Any) -> list[str]:
    """The torch names of the arrays whose first axis is the classes."""
    two, three = (torch_shapes(sketch(network, classes, **options)) for classes in (2, 3))
    return [name for name, shape in two.items() if shape != three[name]]


def side_heads(layer: Layer, path: str = "") -> Iterator[str]:
    """The torch names of the arrays that only help in training: those of side heads."""
    for key, child in layer.children().items():
        inside = join(path, layer.level(key))
        if key in layer.training_only:
            yield from (
                torch_name(join(inside, name)) for name in [*child.named_parameters(), *child.named_buffers()]
            )
        else:
            yield from side_heads(child, inside)
