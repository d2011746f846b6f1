"""The size of every unit's map at chosen layers, in one pass of images through the network.

The fast engine never makes most of the maps: its composites keep them in the cache, or skip them. So the network is
cut after every layer that is asked for. Each piece is fused, and run in INFER mode on the output of the piece before
it. A layer inside a Concat is either the end of a branch, and then its map is some channels of the Concat's output;
or it is the end of a chain of its own over the Concat's input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from minidl.backend.arrays import Array, array_module
from minidl.engine import prepare
from minidl.engine.tile_layer import TileLayer
from minidl.errors import UsageError
from minidl.layers import Layer, Sequential
from minidl.layers.base import INFER, Context, Shape
from minidl.layers.context import join
from minidl.layers.heads import spine
from minidl.visual.truncate import truncate, walk

NORMS = ("inf", "l2")  # the first two rows of MapNorms; the third is the mean


class MapNorms(TileLayer):
    """The size of every unit's map, in three numbers.

    Shapes: a (N, H, W, C), or (N, C) for units without a map; y (N, 3, C).

    Forward:   y[n,:,c] = max |a|,  sqrt(sum a^2),  mean |a|    over h, w of a[n,h,w,c]

    A single number a[n,c] is its own size, three times and with its sign: the score of a class that is far below zero
    is small.
    """

    def out_shape(self, in_shape: Shape) -> Shape:
        return in_shape[0], 3, in_shape[-1]

    def forward(self, x: Array, ctx: Context) -> tuple[Array, None]:
        xp = array_module(x)
        if x.ndim == 2:
            return xp.stack([x, x, x], axis=1), None
        a = xp.abs(x)
        # First over H: rows of W C numbers make long inner loops, and sums in two steps lose fewer digits.
        largest, mean = a.max(axis=1).max(axis=1), a.mean(axis=1).mean(axis=1)
        a *= a
        return xp.stack([largest, xp.sqrt(a.sum(axis=1).sum(axis=1)), mean], axis=1), None

    def infer_tile(self, x: Array, folded: None, scratch: Any) -> Array:
        """y of some images: the threads of the fused engine take the images of a batch a few at a time."""
        return self.forward(x, INFER)[0]


@dataclass
class Piece:
    """Some layers of the network, one after the other, and the layers whose maps are measured after them."""

    links: dict[str, Layer] = field(default_factory=dict)  # by name
    outputs: dict[str, slice] = field(default_factory=dict)  # a layer's channels in the output of the links
    inside: dict[str, Layer] = field(default_factory=dict)  # chains that lead from that output to a layer

    @property
    def looked_at(self) -> bool:
        return bool(self.outputs or self.inside)


class Taps:
    """Called with images x (n, H, W, C), yields (layer, MapNorms (n, 3, units)) for each of the `layers` of `model`.

    Layers after the last of them are not run. `shapes` has the shapes of their maps for one image, (H, W, C) or (K,).
    Raises UsageError for an unknown layer, as `truncate`, and for a layer with maps of another form.
    """

    def __init__(
        self, model: Layer, layers: Sequence[str], image_shape: Shape, engine: str = "fused", threads: int = 0
    ) -> None:
        self.shapes = {name: truncate(model, name).out_shape((1, *image_shape))[1:] for name in layers}
        for name, shape in self.shapes.items():
            if len(shape) not in (1, 3):
                raise UsageError(f"{name}: its output for an image has the shape {shape}, not (H, W, C) or (K,)")

        def ready(chain: Layer) -> Layer:
            return prepare(chain, threads) if engine == "fused" else chain

        self._pieces = [
            (ready(Sequential(piece.links)), piece.outputs, {name: ready(c) for name, c in piece.inside.items()})
            for piece in _cut(model, self.shapes, (1, *image_shape))
        ]
        self._norms = ready(Sequential([MapNorms()]))

    def __call__(self, x: Array) -> Iterator[tuple[str, Array]]:
        for chain, outputs, inside in self._pieces:
            x, _ = chain.forward(x, INFER)
            if outputs:
                norms = self._norms.forward(x, INFER)[0]
                yield from ((name, norms[..., channels]) for name, channels in outputs.items())
            for name, rest in inside.items():
                yield name, self._norms.forward(rest.forward(x, INFER)[0], INFER)[0]


def _cut(model: Layer, names: Sequence[str], shape: Shape) -> list[Piece]:
    """The pieces of `model` up to the last of the layers `names`, for images of `shape` (1, H, W, C)."""
    pieces, left = [Piece()], dict.fromkeys(names)
    for link in links(model, "", [""]):
        if not left:
            break
        outputs = {name: channels for name, channels in outputs_of(link, shape).items() if name in left}
        below = {join(link.path, place.name): (link.layer, place.name) for place in walk(link.layer)}
        inside = [name for name in left if name not in outputs and name in below]
        pieces[-1].inside = {name: truncate(*below[name]) for name in inside}
        if pieces[-1].looked_at:
            pieces.append(Piece())
        pieces[-1].links[link.ends[0] or "model"] = link.layer  # a model of one link has no name
        pieces[-1].outputs = outputs
        left = {name: None for name in left if name not in outputs and name not in inside}
        shape = link.layer.out_shape(shape)
    return pieces if pieces[-1].looked_at else pieces[:-1]


class Link(NamedTuple):
    """A layer in a chain of nested chains."""

    layer: Layer
    path: str  # with which the names of what is in it begin
    ends: list[str]  # the names of all layers that end with it, its own first


def links(layer: Layer, path: str, ends: Sequence[str]) -> Iterator[Link]:
    """The layers that `layer` and the chains in it run one after the other."""
    children, names = layer.children(), spine(layer)
    if not names:
        yield Link(layer, path, list(ends))
        return
    for key in names:
        also = ends if key == names[-1] else []
        yield from links(children[key], join(path, layer.level(key)), [join(path, key), *also])


def outputs_of(link: Link, shape: Shape) -> dict[str, slice]:
    """The layers whose output is that of the link, or some of its channels, for an input of `shape`."""
    found, layer = {name: slice(None) for name in link.ends}, link.layer
    for key, channels in layer.outputs(shape).items():
        *_, last = links(layer.children()[key], join(link.path, layer.level(key)), [join(link.path, key)])
        found |= {name: channels for name in last.ends}
    return found
