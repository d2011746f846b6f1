"""Networks of all kinds as rows of data, and how a random one is drawn, for `random_chains.py`."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from minidl.errors import ShapeError
from minidl.layers import (
    AdaptiveAvgPool2D,
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    Dropout,
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

Activation = str | float | None  # "relu", "silu", the slope of a LeakyReLU, or none


class Conv(NamedTuple):
    filters: int
    kernel: int
    stride: int = 1
    padding: int = 0
    bias: bool = False
    bn: bool = True
    act: Activation = "relu"
    nested: bool = True  # in a Sequential of its own


class MaxPool(NamedTuple):
    kernel: int
    stride: int
    padding: int = 0


class AvgPool(NamedTuple):
    kernel: int
    stride: int
    padding: int = 0


class Branches(NamedTuple):
    """A Concat."""

    branches: tuple[tuple[Row, ...], ...]


class Block(NamedTuple):
    """A residual block: its shortcut is a 1x1 convolution and BN where the shape changes or `projected` says so."""

    body: tuple[Conv, ...]  # the last one without activation; where the shortcut is x, it has as many filters as x
    projected: bool = False
    act: Activation = "relu"  # after the sum
    nested: bool = True


class Own(NamedTuple):
    """A user's own container, around some rows."""

    rows: tuple[Row, ...]


class Layers(NamedTuple):
    """Layers without channels of their own."""

    names: tuple[str, ...]  # of CLASSES


class Grouped(NamedTuple):
    """A GeneralConv2D with as many groups as divide the channels on both sides."""

    filters: int
    kernel: tuple[int, int]
    stride: int = 1
    dilation: int = 1


Row = Conv | MaxPool | AvgPool | Branches | Block | Own | Layers | Grouped
CLASSES = {
    **{"relu": ReLU, "silu": SiLU, "sigmoid": Sigmoid, "tanh": Tanh, "dropout": lambda: Dropout(0)},
    "hanging max": lambda: GeneralMaxPool2D((3, 2), 2, ceil_mode=True),
    "hanging mean": lambda: GeneralAvgPool2D(3, (2, 1), 1, ceil_mode=True, count_include_pad=False),
    "bins": lambda: AdaptiveAvgPool2D((5, 4)),
}


class OwnContainer(Layer):
    """Only its forward pass knows that it doubles what comes out of its body."""

    def __init__(self, body: Layer) -> None:
        self.body = body

    def out_shape(self, in_shape):
        return self.body.out_shape(in_shape)

    def forward(self, x, ctx):
        y, cache = ctx.run("body", self.body, x)
        return 2 * y, cache

    def backward(self, dy, cache, need_dx=True):
        return self.body.backward(2 * dy, cache, need_dx)

    def input_grad(self, dy, cache):
        return self.body.input_grad(2 * dy, cache)

    def project(self, s, cache, rule):
        return self.body.project(2 * s, cache, rule)


# ------------------------------------------------------------ from rows to layers


def network(rows: tuple[Row, ...], channels: int, classes: int = 0) -> Sequential:
    """The rows as a network for images with so many channels; with classes, GlobalAvgPool and Linear at the end."""
    layers, channels = _chain(rows, channels)
    if classes:
        layers |= {"gap": GlobalAvgPool(), "fc": Linear(channels, classes, rng=0, dtype=np.float64)}
    return Sequential(layers)


def _chain(rows: tuple[Row, ...], channels: int) -> tuple[dict[str, Layer], int]:
    layers: dict[str, Layer] = {}
    for i, row in enumerate(rows):
        made, channels = _made(row, channels)
        if getattr(row, "nested", False):
            made = {type(row).__name__.lower(): Sequential(made)}
        layers |= {f"{name}_{i}": layer for name, layer in made.items()}
    return layers, channels


def _made(row: Row, channels: int) -> tuple[dict[str, Layer], int]:
    """The layers of a row, and how many channels come out."""
    match row:
        case Conv():
            return _conv(row, channels), row.filters
        case MaxPool():
            return {"pool": MaxPool2D(*row)}, channels
        case AvgPool():
            return {"pool": AvgPool2D(*row)}, channels
        case Layers():
            return {f"{name}_{i}": CLASSES[name]() for i, name in enumerate(row.names)}, channels
        case Grouped():
            groups, sizes = math.gcd(channels, row.filters), (row.kernel, row.stride, "same", row.dilation)
            conv = GeneralConv2D(channels, row.filters, *sizes, groups=groups, rng=0, dtype=np.float64)
            return {"grouped": conv}, row.filters
        case Own():
            layers, out = _chain(row.rows, channels)
            return {"own": OwnContainer(Sequential(layers))}, out
        case Branches():
            chains, widths = zip(*(_chain(rows, channels) for rows in row.branches), strict=True)
            named = [{f"{i}_{name}": layer for name, layer in chain.items()} for i, chain in enumerate(chains)]
            return {"concat": Concat(named)}, sum(widths)
        case Block():
            return _block(row, channels)
    raise TypeError(row)


def _conv(row: Conv, channels: int) -> dict[str, Layer]:
    conv = Conv2D(channels, row.filters, row.kernel, row.stride, row.padding, row.bias, rng=0, dtype=np.float64)
    norm = {"bn": BatchNorm2D(row.filters, dtype=np.float64)} if row.bn else {}
    return {"conv": conv} | norm | activation(row.act)


def activation(act: Activation) -> dict[str, Layer]:
    if act is None:
        return {}
    return {"act": CLASSES[act]() if isinstance(act, str) else LeakyReLU(act)}


def _block(row: Block, channels: int) -> tuple[dict[str, Layer], int]:
    stride = int(np.prod([conv.stride for conv in row.body]))
    projected = row.projected or stride > 1
    *first, last = row.body
    last = last._replace(act=None, filters=last.filters if projected else channels)
    body, inside = _chain((*first, last), channels)
    shortcut = _conv(Conv(inside, 1, stride, act=None), channels) if projected else None
    return {"sum": Residual(Sequential(body), shortcut and Sequential(shortcut))} | activation(row.act), inside


# ----------------------------------------------------------------- random rows

SLOPES = (0.01, 0.2, 0.0, -0.3)
WIDTHS = (1, 2, 3, 4, 5, 8, 9, 11, 24, 32)  # 8 and more: Winograd along columns, 24 to 32: along both axes
MOST_NUMBERS = 40_000  # in the output of a row
LEAST_VALUES = 8  # of a channel over the batch: the variance of a few numbers may be next to zero


def random_shape(rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Of a batch: one image or several, odd and even sides, few channels or many."""
    sides = rng.integers(1, 14, 2) if rng.random() < 0.5 else rng.choice([6, 8, 9, 12, 16, 17], 2)
    return int(rng.choice([1, 2, 3, 5, 9, 17])), *map(int, sides), int(rng.choice([1, 2, 3, 3, 3, 9, 24]))


def random_rows(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Row, ...]:
    """One to five rows that images of this shape fit."""
    rows: tuple[Row, ...] = ()
    for _ in range(100):
        longer = (*rows, random_row(rng))
        if fits(longer, shape):
            rows = longer
        if len(rows) == 5 or (rows and rng.random() < 0.3):
            break
    return rows


def fits(rows: tuple[Row, ...], shape: tuple[int, ...]) -> bool:
    try:
        out = network(rows, shape[3]).out_shape(shape)
    except ShapeError:
        return False
    return np.prod(out) <= MOST_NUMBERS and np.prod(out[:-1]) >= LEAST_VALUES


def random_row(rng: np.random.Generator, depth: int = 0) -> Row:
    kinds = [random_conv, random_conv, random_block, random_module, random_pool, random_pool, random_others]
    row = rng.choice(kinds if depth == 0 else kinds[:3] + kinds[4:6])(rng)
    return Own((row,)) if depth == 0 and rng.random() < 0.1 else row


def random_act(rng: np.random.Generator) -> Activation:
    return (None, "relu", "relu", "relu", "silu", float(rng.choice(SLOPES)))[rng.integers(6)]


def random_conv(rng: np.random.Generator, same: bool = False) -> Conv:
    """A convolution, BN, activation, or some of these; `same`: the map keeps its size."""
    kernel = int(rng.choice([1, 3, 3, 5, 7]))
    padding = kernel // 2 if same or rng.random() < 0.6 else int(rng.integers(0, kernel + 1))
    stride = 2 if not same and rng.random() < 0.25 else 1
    bn, bias, nested = rng.random() < 0.9, rng.random() < 0.3, rng.random() < 0.5
    return Conv(int(rng.choice(WIDTHS)), kernel, stride, padding, bias, bn, random_act(rng), nested)


def random_pool(rng: np.random.Generator) -> Row:
    pools = [(2, 2, 0), (2, 2, 0), (2, 2, 1), (3, 2, 0), (3, 2, 1), (4, 2, 0), (3, 1, 1), (2, 1, 0), (3, 3, 1)]
    return (AvgPool if rng.random() < 0.2 else MaxPool)(*pools[rng.integers(len(pools))])


def random_block(rng: np.random.Generator) -> Block:
    """Basic or bottleneck, identity or projected; sometimes with a body that no paper has."""
    act, width, stride = random_act(rng), int(rng.choice(WIDTHS)), int(rng.choice([1, 1, 2]))
    nested = rng.random() < 0.5
    basic = (Conv(width, 3, stride, 1, act=act, nested=nested), Conv(width, 3, 1, 1, nested=nested))
    bottleneck = (
        Conv(width, 1, act=act, nested=nested),
        Conv(width, 3, stride, 1, act=act, nested=nested),
        Conv(2 * width, 1, nested=nested),
    )
    own = tuple(random_conv(rng, same=True) for _ in range(rng.integers(1, 4)))
    body = (basic, basic, bottleneck, own)[rng.integers(4)]
    return Block(body, rng.random() < 0.4, act if rng.random() < 0.8 else random_act(rng), rng.random() < 0.5)


def random_module(rng: np.random.Generator) -> Branches:
    """An inception module, or any other branches with maps of the same size."""
    same, act = random_act(rng), rng.random() < 0.7

    def conv(kernel: int) -> Conv:
        return Conv(int(rng.choice(WIDTHS)), kernel, 1, kernel // 2, act=same if act else random_act(rng))

    def branch() -> tuple[Row, ...]:
        kind = rng.integers(6)
        if kind == 0:
            return (conv(1),)
        if kind == 1:
            size = int(rng.choice([1, 3, 5]))
            return AvgPool(size, 1, size // 2), conv(1)
        if kind == 2 and not act:
            return (random_block(rng),) if rng.random() < 0.5 else (random_conv(rng, same=True),)
        return conv(1), conv(int(rng.choice([3, 5, 7])))

    return Branches(tuple(branch() for _ in range(rng.integers(1, 5))))


def random_others(rng: np.random.Generator) -> Layers | Grouped:
    names = [("relu",), ("silu",), ("dropout",), ("dropout", "relu"), ("sigmoid",), ("tanh",)]
    names += [("hanging max",), ("hanging mean",), ("bins",)]
    if rng.random() < 0.4:
        sizes = tuple(int(k) for k in rng.integers(1, 4, 2)), int(rng.choice([1, 1, 2])), int(rng.choice([1, 1, 2]))
        return Grouped(int(rng.choice(WIDTHS)), *sizes)
    return Layers(names[rng.integers(len(names))])
