"""Convolution and batch normalization, and the activation and 2x2 max pool after them if there are any."""

from __future__ import annotations

from minidl.engine.blocks.activation import activation
from minidl.engine.blocks.block import Block, Design
from minidl.engine.blocks.maps import Convolutions
from minidl.engine.blocks.pattern import Reader
from minidl.engine.blocks.stage import Part, Stage
from minidl.layers import BatchNorm2D, Conv2D, Layer


class ConvBlock(Block):
    """A block of one stage, with one convolution of any geometry.

    Shapes: x (N, H, W, C), y (N, OH, OW, F) as Conv2D's or the pool's.
    """

    @staticmethod
    def match(layers: list[Layer], first: bool) -> int:
        reader = Reader(layers)
        return reader.whole_with(reader.pair_pool) if reader.conv_bn() else 0

    @staticmethod
    def design(plain: Layer) -> Design:
        reader = Reader([plain])
        return Design([conv_stage(*reader.conv_bn())], reader.pair_pool())


def conv_stage(conv: Conv2D, norm: BatchNorm2D, after: Layer | None) -> Stage:
    """A stage that is one convolution."""
    *_, channels, filters = conv.params["weight"].shape
    return Stage([Part(Convolutions([conv]), slice(0, channels), slice(0, filters))], [norm], activation(after))
