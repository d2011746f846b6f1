"""Finds the layers of the stages: the convolution that makes a unit, and what lies before and after it."""

from __future__ import annotations

from collections.abc import Iterator

from minidl.errors import UsageError
from minidl.explain.watch import Seen
from minidl.layers import AvgPool2D, BatchNorm2D, Conv2D, Layer, MaxPool2D, ReLU
from minidl.layers.base import Shape
from minidl.visual.truncate import Keys, Place, layer_table, walk

Passed = dict[Keys, Seen]


def convolution(seen: Passed, layer: str, unit: int) -> tuple[Seen, int]:
    """(the convolution that makes a unit, its filter), in a pass through the model up to `layer`, which has the unit.

    Raises UsageError if none is found.
    """
    for leaf, filter_ in _back(seen, (), unit):
        if isinstance(leaf.layer, Conv2D):
            return leaf, filter_
        if leaf.x.shape[-1] != leaf.y.shape[-1]:
            break
    raise UsageError(f"{layer}: no convolution is found that makes unit {unit}: name a convolution, or what follows it")


def _back(seen: Passed, keys: Keys, unit: int) -> Iterator[tuple[Seen, int]]:
    """The leaves from the end of a layer to its input that lead to a unit."""
    here = seen[keys]
    children = here.layer.children()
    if not children:
        yield here, unit
    elif here.layer.wiring == "chain":
        for key in reversed(children):
            yield from _back(seen, (*keys, key), unit)
    elif here.layer.wiring == "parallel":
        outputs = here.layer.outputs(here.x.shape) or {next(iter(children)): slice(0, None)}  # a sum: its body
        for key, channels in outputs.items():
            if channels.start <= unit and (channels.stop is None or unit < channels.stop):
                yield from _back(seen, (*keys, key), unit - channels.start)


def next_of(kind: type[Layer], seen: Passed, conv: Seen) -> Seen | None:
    """The first layer of this kind after the convolution and before the next one."""
    order = [s for s in seen.values() if not s.layer.children()]
    for s in order[[s.keys for s in order].index(conv.keys) + 1 :]:
        if isinstance(s.layer, kind):
            return s if s.x.shape == conv.y.shape else None
        if not isinstance(s.layer, BatchNorm2D | ReLU):
            return None
    return None


def pool(seen: Passed, before: set[Keys], conv: Seen) -> Seen | None:
    """The nearest pool on the way to the convolution, or the first one after it.

    A pool with windows that overlap goes before others, and a max pool before an average pool.
    """
    found = [s for s in seen.values() if isinstance(s.layer, MaxPool2D | AvgPool2D) and s.dx is not None]
    order = list(seen)
    start = order.index(conv.keys)
    ahead = [s for s in reversed(found) if s.keys in before and order.index(s.keys) < start]
    later = [s for s in found if s.keys not in before and order.index(s.keys) > _end(order, conv.keys)]
    return min([*ahead, *later], key=_rank, default=None)


def _rank(pool: Seen) -> tuple[bool, bool]:
    return pool.layer.stride >= pool.layer.kernel, not isinstance(pool.layer, MaxPool2D)


def join(seen: Passed, before: set[Keys], keys: Keys) -> Seen | None:
    """The module of branches around the layer at `keys`, or the nearest one before it, or the first one after it."""
    found = [s for s in seen.values() if s.layer.wiring == "parallel" and s.layer.children() and s.dx is not None]
    around = [s for s in found if s.keys == keys[: len(s.keys)]]
    ahead = [s for s in reversed(found) if s.keys in before]
    return next(iter([*around, *ahead, *found]), None)


def _end(order: list[Keys], keys: Keys) -> int:
    """The place in `order` of the part at the top of the model in which the layer is."""
    return order.index(keys[:1])


def place_of_layer(model: Layer, name: str) -> Place:
    """The place with this name; the last one, as `truncate` takes it."""
    return {place.name: place for place in walk(model)}[name]


def middle(model: Layer, image_shape: Shape) -> str:
    """A layer in the middle that ends with a convolution whose filters are larger than 1x1, if there is one."""
    shown, found = {row.name for row in layer_table(model, image_shape)}, {}
    for place in walk(model):
        if isinstance(place.layer, Conv2D):
            block = place.name.rpartition(".")[0]
            name = block if block in shown and not place.parent.wiring == "parallel" else place.name
            found[name] = place.layer.params["weight"].value.shape[0]
    larger = [name for name, kernel in found.items() if kernel > 1] or list(found)
    if not larger:
        raise UsageError("this network has no convolution, so there is no page to make")
    return larger[(len(larger) - 1) // 2]
