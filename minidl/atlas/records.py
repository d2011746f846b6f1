"""What an atlas says: the records that the page reads. Each file `data/NAME.js` calls `atlas.put(NAME, record)`.

    atlas             Index: what the first page needs, and the size of everything else
    layer-LLL         LayerRecord of layer number LLL in Index.layers
    classes-KKK       list of ClassRecord: those of classes KKK * PER_CHUNK and on
    images            ImageList: what captions and the search need of every image
    images-KKK        list of ImageRecord: those of images KKK * PER_CHUNK and on
    embedding         EmbeddingRecord
    activity-LLL      ActivityRecord of layer LLL
    epoch-EEE-LLL     list of a Seen for each unit: layer LLL in the snapshot after epoch EEE
    other-LLL         list of a Match for each unit: layer LLL in the network of --compare

Numbers of files have three digits or more. A unit is (layer, unit): a number in Index.layers and a channel. An image
is its position in the split. A class is its number; -1 stands for an unknown one.

Pictures are tiles in sheets, `sheets/NAME-KKK.webp`. Tile t of a series is in sheet t // each, at row
t % each // across and column t % across, a square of `size` pixels every `step` pixels (see Tiles). The series are

    images              tile = image
    wall-LLL            tile = unit: the first projection of each; of one that isn't drawn, the best image itself
    units-LLL           tile = unit * Layout.width + Layout.parts[part][0] + rank in that part
    epoch-EEE-LLL       tile = unit * n + rank: deconvnets of the snapshot's own images, n = Layout.parts["deconv"][1]
    other-LLL           tile = unit * n + rank: deconvnets of the matching unit's own images
"""

from __future__ import annotations

from dataclasses import dataclass, field

FORMAT = 2
PER_CHUNK = 200  # images and classes in a file
Pair = tuple[int, float]  # (image or class, number)
Link = tuple[int, int, float]  # (layer, unit, number); layer -1: not in this atlas


@dataclass
class Tiles:
    """How tiles lie in all sheets."""

    size: int  # pixels of a side
    step: int  # pixels from tile to tile, a multiple of 16: a block of the compressed picture is never of two tiles
    across: int  # tiles in a row
    each: int  # tiles in a full sheet


@dataclass
class Layout:
    """The pictures of one unit: (first tile, how many) of each part.

    "deconv", "gradient", "guided"     of the unit's nine images, in their order
    "random deconv", ...               of the first few of them, by the network with random weights
    "deciles"                          deconvnets of the images of UnitRecord.deciles
    """

    width: int  # tiles of a unit; 0: no projections were made
    parts: dict[str, tuple[int, int]]


@dataclass
class Block:
    """A layer as the graph shows it, with the layers in it."""

    name: str  # full name; "" if it has none
    kind: str  # class, or for a leaf its description
    shape: list[int]  # of one image's output
    parameters: int
    wiring: str  # how the children are connected: "chain", "parallel", or "" if only its code knows
    layer: int  # number in Index.layers, -1 if it is not there
    group: int  # number in Index.groups, -1 if it is not there
    children: list[Block]


@dataclass
class Null:
    """The likeness of pictures that have nothing to do with each other, over all units of a layer."""

    median: float
    upper: float  # 95 % lie below


@dataclass
class LayerSummary:
    name: str
    kind: str
    shape: list[int]  # (H, W, C) or (K,)
    units: int
    group: int  # of which its units are a part, -1 if none
    start: int  # the number of its first unit in the group
    dead: int  # units
    selectivity: float  # median
    likeness: dict[str, float]  # rule -> median over units; empty without projections
    null: dict[str, Null]  # rule -> what unrelated pictures reach
    logits: bool  # the units are the scores of the classes, in their order


@dataclass
class Group:
    """A block whose output is that of some layers, side by side: inception2 of b1, b3, b5 and pool."""

    name: str
    layers: list[int]
    units: int


@dataclass
class ClassSummary:
    id: str
    words: str
    images: int
    accuracy: float | None  # None without images
    predicted: int  # images that are taken for this class


@dataclass
class Snapshot:
    """An earlier state of the same run. Its series and data are epoch-EEE-LLL with EEE = epoch."""

    epoch: int
    top1: float | None  # on the validation images, if the run says so


@dataclass
class Other:
    """The network of --compare."""

    title: str
    top1: float | None  # on the validation images of its own run, if that says so
    correlation: float  # median over units of that with their match


@dataclass
class Agreement:
    """How well the first-order estimate agrees with really setting units to zero, on a sample."""

    correlation: float | None  # None: not measured, or nothing changes
    units: int


@dataclass
class Effects:
    all: Agreement
    layers: list[Agreement]  # each of Index.layers; without units: the scores, for which the estimate is exact
    images: int  # on which units were set to zero
    over: int  # images from which the estimates come


@dataclass
class Index:
    format: int
    title: str  # the run and its data set
    facts: list[tuple[str, str]]  # how this atlas was made, data set, settings: label and text
    history: dict[str, list[float]]  # epoch, train_top1, val_top1, train_loss, val_loss; empty if unknown
    top1: float | None
    top5: float | None
    norm: str  # by which images are ranked: "l2" or "inf"
    rules: dict[str, str]  # rule -> a line that says what its pictures are
    measure: str  # of likeness: a line
    tiles: Tiles
    layout: Layout
    network: Block
    layers: list[LayerSummary]
    groups: list[Group]
    classes: list[ClassSummary]
    images: int
    split: str  # "" if it has no name
    labelled: bool  # whether any true label is known
    effects: Effects
    embedding: bool  # whether there is one
    snapshots: list[Snapshot] = field(default_factory=list)  # the state of this atlas is not among them
    other: Other | None = None


@dataclass
class UnitRecord:
    top: list[Pair]  # the nine images that excite it most, best first, and the norm of the map
    deciles: list[Pair]  # one image from each tenth of all images, by the norm of the map, strongest first
    blank: list[int]  # those of its tiles (0 to Layout.width - 1) whose projection is zero everywhere
    histogram: list[
        int
    ]  # images by the norm of the map, in 20 equal bins from 0 to the largest (a score below 0 is in the first)
    selectivity: float
    dead: bool
    classes: list[Pair]  # the classes with the largest mean activation, best first
    likeness: dict[str, float]  # rule -> likeness to the same projection of the network with random weights
    incoming: list[Link]  # the largest weights that lead to it, by magnitude; the number is signed
    outgoing: list[Link]  # the largest weights that lead from it
    effects: list[Pair]  # by how much a class's score changes without the unit where it is predicted; lowest first
    drawn: bool = True  # False: it has no pictures, because fewer units were asked for


@dataclass
class LayerRecord:
    units: list[UnitRecord]


@dataclass
class Mistake:
    """Images of a class that are taken for another one."""

    predicted: int
    images: int
    units: list[Link]  # of the last module: what raises score(predicted) - score(true) most on them, to first order


@dataclass
class ClassRecord:
    surest: list[int]  # images that are rightly recognised, the most probable first
    worst: list[int]  # images by their loss, largest first
    mistakes: list[Mistake]  # most frequent first
    taken: list[Pair]  # the classes whose images are taken for this one, and how many
    selective: list[tuple[str, list[Link]]]  # module -> its units that are most selective for the class


@dataclass
class ImageList:
    labels: list[int]  # -1: unknown
    predicted: list[int]
    names: list[str]  # of their files in the split; empty if they have none


@dataclass
class ImageRecord:
    label: int  # -1: unknown
    best: list[Pair]  # the likeliest classes and their probabilities
    loss: float | None
    name: str  # of its file in the split; "" if it has none
    strongest: list[tuple[str, list[Link]]]  # module -> units; the number is the share of the unit's maximum
    shown: list[tuple[int, int, int]]  # (layer, unit, tile of the unit): where there are pictures of it, not of zeros


@dataclass
class EmbeddingRecord:
    """Positions of all images, in 0 to 4095: x0, y0, x1, y1, ..."""

    pca: list[int]
    tsne: list[int]  # empty with fewer than five images
    explained: list[float]  # share of the variance on the two axes of pca
    labels: list[int]
    predicted: list[int]
    features: str  # what they are


@dataclass
class ActivityRecord:
    """The norm of every unit's map on every image, in 16 steps from 0 to its largest.

    step = round(15 sqrt(norm / largest)), and 0 for a score below 0. Three images are two letters: with a, b, c their
    steps, 256 a + 16 b + c is 64 p + q, and the letters are numbers p and q of ALPHABET.
    """

    largest: list[float]
    units: list[str]


ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


@dataclass
class Seen:
    top: list[Pair]
    selectivity: float


@dataclass
class Match:
    layer: str  # name in the other network
    unit: int
    correlation: float  # of the norms over all images
    top: list[Pair]
    selectivity: float
