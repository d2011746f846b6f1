"""What the page knows. `write` puts it into the page as JSON; the scripts in `page/` use the same names.

Numbers are float64, as `input_grad` returns them for a float64 copy of the network. Rows and columns count from 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Map:
    """A part of one channel: `values` begin at (row, column) of a map of height x width, outside of it is padding.

    Shown is value / 10^exponent with `decimals` digits after the point; in a sum with three more.
    """

    row: int
    column: int
    height: int
    width: int
    values: list[list[float]]
    exponent: int
    decimals: int


@dataclass
class Geometry:
    kernel: int
    stride: int
    padding: int


@dataclass
class Channel:
    """An input channel of the convolution.

    others_y     what all other channels (and the bias) add to y
    others_dx    what all other filters add to dx
    """

    channel: int
    x: Map
    w: Map
    dx: Map
    others_y: Map
    others_dx: Map


@dataclass
class ConvStage:
    name: str
    about: str
    window: Geometry
    unit: int
    filters: int
    in_channels: int
    bias: float | None
    y: Map
    dy: Map
    channels: list[Channel]


@dataclass
class PoolStage:
    """switches[i][j]: the pixel (row, column) that is the maximum of the window of y.values[i][j]."""

    name: str
    about: str
    kind: str  # "max" or "average"
    window: Geometry
    overlaps: bool
    channel: int
    channels: int
    x: Map
    y: Map
    dy: Map
    dx: Map
    counts: Map
    switches: list[list[tuple[int, int]]]


@dataclass
class NormStage:
    """Batch normalization of `images` images with their own statistics: dx = direct + variance + mean."""

    name: str
    about: str
    channel: int
    images: int
    numbers: int  # M, of the channel, in all images
    gamma: float
    mu: float
    inv_std: float
    probe_inv_std: float
    dgamma: float
    dbeta: float
    x: Map
    xhat: Map
    dy: Map
    direct: Map
    variance: Map
    mean: Map
    dx: Map


@dataclass
class ReluStage:
    name: str
    channel: int
    x: Map
    y: Map
    dy: Map
    dx: Map


@dataclass
class Branch:
    """Channels start to stop of the module's output. samples: (channel of the module, y, dy) at JoinStage.place."""

    name: str
    start: int
    stop: int
    samples: list[tuple[int, float, float]]
    dx: Map


@dataclass
class JoinStage:
    """Branches that read the same x. joined: by "concatenation" of channels, or by a "sum"."""

    name: str
    about: str
    joined: str
    channel: int
    in_channels: int
    channels: int
    place: tuple[int, int]
    value: tuple[int, int]  # exponent and decimals of y in the samples, as in Map
    gradient: tuple[int, int]  # and of dy
    branches: list[Branch]
    dx: Map


@dataclass
class Block:
    """A layer at the top of the network; `branches` of parts if it is the one that is looked into."""

    name: str
    about: str
    shape: list[int]
    branches: list[list[str]] = field(default_factory=list)


@dataclass
class Page:
    """field: top, left, bottom, right of the pixels where the gradient of the unit's maximum is not zero.

    stages     by the names "conv", "pool", "norm", "relu", "join"
    missing    why a stage is left out
    """

    title: str
    layer: str
    unit: int
    start: str  # of the way back: "loss" or "unit"
    loss: float | None
    image: str
    picture: str  # a data: address
    picture_shape: tuple[int, int]
    label: str
    predicted: str
    value: float
    place: tuple[int, int]
    field: tuple[int, int, int, int] | None
    blocks: list[Block]
    stages: dict[str, ConvStage | PoolStage | NormStage | ReluStage | JoinStage]
    missing: dict[str, str]
