"""Reads patterns of plain layers in a chain, such as convolution, BN and activation.

A chain may hold chains: convolution, BN and ReLU often are a Sequential of their own. So a pattern is compared with
the innermost layers, and what it takes must end where a layer of the outer chain ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from minidl.engine.blocks.activation import is_activation
from minidl.layers import BatchNorm2D, Conv2D, Layer, MaxPool2D, Sequential


class ConvBN(NamedTuple):
    """A convolution and the BN and activation after it."""

    conv: Conv2D
    bn: BatchNorm2D
    activation: Layer | None

    @property
    def filters(self) -> int:
        return self.conv.params["weight"].shape[3]


class Reader:
    """Takes the innermost layers of a chain one after the other."""

    def __init__(self, layers: list[Layer]) -> None:
        self._leaves = [(i, leaf) for i, layer in enumerate(layers) for leaf in inner(layer)]
        self._taken = 0

    def one(self, kind: type[Layer]) -> Layer | None:
        """The next layer, if it is of exactly this class."""
        return self._take(lambda leaf: type(leaf) is kind)

    def activation(self) -> Layer | None:
        return self._take(is_activation)

    def pair_pool(self) -> MaxPool2D | None:
        return self._take(lambda leaf: type(leaf) is MaxPool2D and (leaf.kernel, leaf.stride) == (2, 2))

    def conv_bn(self) -> ConvBN | None:
        """The next layers, if they are a convolution, BN and perhaps an activation."""
        start = self._taken
        if (conv := self.one(Conv2D)) and (norm := self.one(BatchNorm2D)):
            return ConvBN(conv, norm, self.activation())
        self._taken = start
        return None

    def conv_bns(self) -> list[ConvBN]:
        """As many of them as there are."""
        found = []
        while conv := self.conv_bn():
            found.append(conv)
        return found

    @property
    def at_end(self) -> bool:
        return self._taken == len(self._leaves)

    @property
    def whole(self) -> int:
        """How many layers of the outer chain were taken, if the last one was taken to its end; otherwise 0."""
        if self._taken == 0:
            return 0
        last = self._leaves[self._taken - 1][0]
        return last + 1 if self.at_end or self._leaves[self._taken][0] != last else 0

    def whole_with(self, optional: Callable[[], Layer | None]) -> int:
        """`whole`, with the optional next layer if that is taken to its end too."""
        whole = self.whole
        optional()
        return self.whole or whole

    def _take(self, fits) -> Layer | None:
        if self.at_end or not fits(self._leaves[self._taken][1]):
            return None
        self._taken += 1
        return self._leaves[self._taken - 1][1]


def inner(layer: Layer) -> Iterator[Layer]:
    """The layers of nested chains, in order; any other layer stands for itself."""
    if isinstance(layer, Sequential) and layer.wiring == "chain":
        for child in layer:
            yield from inner(child)
    else:
        yield layer
