"""The inception module: parallel branches over one input that share their matrix products and passes.

All 1x1 convolutions of a module read x, so their filters stand side by side and share one product.
An average pool treats all channels alike, and a 1x1 convolution treats all pixels alike, so they commute:
    sum_c (sum_j P[i,j] x[j,c]) w[c,f] = sum_j P[i,j] (sum_c x[j,c] w[c,f]).
The pool comes after the convolution, where it adds up 16 channels instead of 128, and its factor 1/k^2 is in w.
"""

from __future__ import annotations

from typing import NamedTuple

from minidl.engine.blocks.activation import activation
from minidl.engine.blocks.block import Block, Design
from minidl.engine.blocks.maps import Box, Convolutions, side_by_side
from minidl.engine.blocks.pattern import ConvBN, Reader
from minidl.engine.blocks.stage import Part, Stage
from minidl.engine.convolutions.winograd import KERNELS
from minidl.layers import AvgPool2D, Concat, Layer, Sequential


class Branch(NamedTuple):
    """[1x1], [average pool, 1x1] or [1x1, k x k]; each convolution with its BN and activation."""

    pool: int  # the average pool's kernel; 1 without a pool
    convs: list[ConvBN]


class InceptionBlock(Block):
    """A Concat of branches [1x1], [1x1, k x k "same"] and [average pool, 1x1], in any order; at least one k x k.

    Its first stage are the 1x1s in front of the k x k convolutions, its second one these, side by side with the
    others. The convolutions have no bias. A 2x2 max pool may follow.

    Shapes: x (N, H, W, C), y (N, H, W, F), or the pool's.
    Source: Szegedy et al., Going deeper with convolutions, 2014, section 4.
    """

    @staticmethod
    def match(layers: list[Layer], first: bool) -> int:
        reader = Reader(layers)
        module = reader.one(Concat)
        return reader.whole_with(reader.pair_pool) if module and branches_of(module) else 0

    @staticmethod
    def design(plain: Layer) -> Design:
        reader = Reader([plain])
        branches = branches_of(reader.one(Concat))
        outs = side_by_side([b.convs[-1].filters for b in branches])
        ordered = sorted(zip(branches, outs, strict=True), key=lambda pair: -len(pair[0].convs))  # k x k first
        points = Convolutions([b.convs[0].conv for b, _ in ordered], [1 / b.pool**2 for b, _ in ordered])
        reduced = [b.convs[0] for b, _ in ordered if len(b.convs) == 2]
        first = Stage(
            [Part(points, slice(0, points.w_shape[2]), slice(0, points.w_shape[3]))],
            [conv.bn for conv in reduced],
            activation(reduced[0].activation),
        )
        parts = [
            Part(Convolutions([b.convs[1].conv]) if len(b.convs) == 2 else Box(b.pool), inner, out)
            for (b, out), inner in zip(ordered, points.columns, strict=True)
        ]
        second = Stage(parts, [b.convs[-1].bn for b in branches], activation(branches[0].convs[-1].activation))
        return Design([first, second], reader.pair_pool())


def branches_of(module: Concat) -> list[Branch]:
    """The branches of a module; none if it has another form."""
    branches = [_branch(branch) if isinstance(branch, Sequential) else None for branch in module.branches]
    if None in branches or all(len(b.convs) == 1 for b in branches):
        return []
    inside = {_kind(b.convs[0].activation) for b in branches if len(b.convs) == 2}
    outside = {_kind(b.convs[-1].activation) for b in branches}
    return branches if len(inside) == len(outside) == 1 else []


def _kind(activation: Layer | None) -> str:
    """Two activations of one kind compute the same."""
    return f"{type(activation)} {vars(activation) if activation else ''}"


def _branch(branch: Sequential) -> Branch | None:
    reader = Reader([branch])
    pool, convs = reader.one(AvgPool2D), reader.conv_bns()
    kernels = [c.conv.params["weight"].shape[0] for c in convs]
    fits = kernels == [1] or (pool is None and len(kernels) == 2 and kernels[0] == 1 and kernels[1] in KERNELS)
    same = all(
        "bias" not in c.conv.params and _keeps_size(k, c.conv.stride, c.conv.padding)
        for c, k in zip(convs, kernels, strict=True)
    ) and (pool is None or _keeps_size(pool.kernel, pool.stride, pool.padding))
    return Branch(pool.kernel if pool else 1, convs) if reader.at_end and fits and same else None


def _keeps_size(kernel: int, stride: int, padding: int) -> bool:
    """Whether a window leaves the map's height and width unchanged."""
    return stride == 1 and kernel % 2 == 1 and padding == kernel // 2
