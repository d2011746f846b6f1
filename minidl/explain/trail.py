"""Finds the layers of the stages: the convolution that makes a unit, and what lies before and after it."""

from __future__ import annotations

from collections.abc import Iterator

from minidl.errors import UsageError
from minidl.explain.watch import Seen
from minidl.layers import AvgPool2D, BatchNorm2D, Conv2D, Dropout, GeneralConv2D, Layer, MaxPool2D, ReLU
from minidl.layers.base import Shape
from minidl.layers.heads import spine
from minidl.visual.truncate import Keys, Place, layer_table, walk

Passed = dict[Keys, Seen]


def convolution(seen: Passed, name: str, keys: Keys, unit: int) -> tuple[Seen, int]:
    """(the convolution that makes a unit, its filter), in a pass through the model up to the layer that has the unit.

    Raises UsageError if none is found.
    """
    for end in (keys, ()):  # in the layer itself, then in what leads to it
        for leaf, filter_ in _back(seen, end, unit):
            if computes_as(leaf.layer, Conv2D):
                return leaf, filter_
            if isinstance(leaf.layer, Conv2D | GeneralConv2D):
                raise UsageError(
                    f"{name}: unit {unit} is made by a {leaf.layer.label}, and the pages show windows of Conv2D "
                    "only: name a layer with one"
                )
            if leaf.x.shape[-1] != leaf.y.shape[-1]:
                break
    raise UsageError(f"{name}: no convolution is found that makes unit {unit}: name one, or what follows one")


def computes_as(layer: Layer, *kinds: type[Layer]) -> bool:
    """Whether it does what one of these does: a subclass may compute something else."""
    return any(type(layer).forward is kind.forward and type(layer).input_grad is kind.input_grad for kind in kinds)


def _back(seen: Passed, keys: Keys, unit: int) -> Iterator[tuple[Seen, int]]:
    """The leaves from the end of a layer to its input that lead to a unit."""
    here = seen[keys]
    children = here.layer.children()
    if not children:
        yield here, unit
    elif names := spine(here.layer):
        for key in reversed(names):
            yield from _back(seen, (*keys, key), unit)
    elif here.layer.wiring == "parallel":
        outputs = here.layer.outputs(here.x.shape) or {next(iter(children)): slice(0, None)}  # a sum: its body
        for key, channels in outputs.items():
            if channels.start <= unit and (channels.stop is None or unit < channels.stop):
                yield from _back(seen, (*keys, key), unit - channels.start)


def next_of(kind: type[Layer], seen: Passed, conv: Seen) -> Seen | None:
    """The first layer of this kind that the output of the convolution goes through, place by place."""
    y = conv.y
    for s in seen.values():
        if s.x is y and computes_as(s.layer, BatchNorm2D, ReLU, Dropout):
            if computes_as(s.layer, kind):
                return s
            y = s.y
    return None


def pool(seen: Passed, conv: Seen) -> Seen | None:
    """The nearest pool on the way to the convolution, or the first one after it.

    A pool with windows that overlap goes before others, and a max pool before an average pool.
    """
    found = [s for s in seen.values() if computes_as(s.layer, MaxPool2D, AvgPool2D)]
    return min(_in_line(seen, found, conv), key=_rank, default=None)


def _rank(pool: Seen) -> tuple[bool, bool]:
    return pool.layer.stride >= pool.layer.kernel, not isinstance(pool.layer, MaxPool2D)


def join(seen: Passed, conv: Seen) -> Seen | None:
    """The module of branches around the convolution, or the nearest one before it, or the first one after it.

    Its input and output are maps: after a global average there are none.
    """
    found = [s for s in seen.values() if s.layer.wiring == "parallel" and s.layer.children() and not spine(s.layer)]
    found = [s for s in found if s.x.ndim == s.y.ndim == 4]
    around = [s for s in found if s.keys == conv.keys[: len(s.keys)]]
    return next(iter([*around, *_in_line(seen, found, conv)]), None)


def _in_line(seen: Passed, found: list[Seen], conv: Seen) -> list[Seen]:
    """Those through which the way back came: the ones before the convolution, nearest first, then those after it.

    What stands in another branch of a module than the convolution is left out.
    """
    order = list(seen)
    start = order.index(conv.keys)

    def beside(s: Seen) -> bool:
        shared = next((i for i, pair in enumerate(zip(s.keys, conv.keys, strict=False)) if pair[0] != pair[1]), None)
        return shared is None or seen[s.keys[:shared]].layer.wiring == "parallel"

    reached = [s for s in found if s.dx is not None and not beside(s)]
    before = [s for s in reached if order.index(s.keys) < start]
    return [*reversed(before), *(s for s in reached if order.index(s.keys) > start)]


def place_of_layer(model: Layer, name: str) -> Place:
    """The place with this name; the last one, as `truncate` takes it."""
    return {place.name: place for place in walk(model)}[name]


def middle(model: Layer, image_shape: Shape) -> str:
    """A layer in the middle that ends with a convolution whose filters are larger than 1x1, if there is one."""
    convolutions = [place for place in walk(model) if computes_as(place.layer, Conv2D) and not place.helps]
    if not convolutions:
        raise UsageError("no layer of this network is a convolution, so there is no page to make")
    larger = [place for place in convolutions if place.layer.params["weight"].shape[0] > 1] or convolutions
    place = larger[(len(larger) - 1) // 2]
    block = place.name.rpartition(".")[0]
    return block if block in {row.name for row in layer_table(model, image_shape)} else place.name
