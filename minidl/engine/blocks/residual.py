"""The residual block: convolutions with their BNs, a shortcut around them, and an activation of the sum."""

from __future__ import annotations

from minidl.engine.blocks.block import Block, Design
from minidl.engine.blocks.conv import conv_stage
from minidl.engine.blocks.pattern import ConvBN, Reader
from minidl.engine.blocks.stage import Stage
from minidl.layers import Layer, Residual


class ResidualBlock(Block):
    """A block with a stage for each convolution of the body, of which the last one has no activation; the shortcut
    is x itself, or a convolution and BN. After the sum there may be an activation, and after it a 2x2 max pool.

    Shapes: as those of `Residual`.
    Source: He et al., Deep residual learning for image recognition, 2015, Figures 2 and 5.
    """

    @staticmethod
    def match(layers: list[Layer], first: bool) -> int:
        reader = Reader(layers)
        residual = reader.one(Residual)
        if residual is None or not _body(residual) or not _shortcut(residual):
            return 0
        whole = reader.whole
        return (reader.activation() and reader.whole_with(reader.pair_pool)) or whole

    @staticmethod
    def design(plain: Layer) -> Design:
        reader = Reader([plain])
        residual, after = reader.one(Residual), reader.activation()
        *convs, last = _body(residual)
        stages = [*(conv_stage(*conv) for conv in convs), conv_stage(last.conv, last.bn, after)]
        return Design(stages, reader.pair_pool(), _shortcut(residual))


def _body(residual: Residual) -> list[ConvBN]:
    """The convolutions of the body; none if it has another form."""
    reader = Reader([residual.body])
    convs = reader.conv_bns()
    return convs if reader.at_end and convs and convs[-1].activation is None else []


def _shortcut(residual: Residual) -> Stage | bool:
    """The stage of a convolution and BN; True for x itself; False for any other form."""
    if residual.shortcut is None:
        return True
    reader = Reader([residual.shortcut])
    conv = reader.conv_bn()
    return conv_stage(*conv) if conv and reader.at_end and conv.activation is None else False
