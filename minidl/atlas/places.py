"""Which layers an atlas shows, how they make up groups, and the graph of the network."""

from __future__ import annotations

from collections.abc import Sequence

from minidl.atlas.records import Block, Group
from minidl.errors import MinidlError, UsageError
from minidl.layers import Layer
from minidl.layers.base import Shape
from minidl.layers.context import join
from minidl.layers.heads import always_run, spine
from minidl.layers.naming import no_such_layer
from minidl.visual.connections import unit_layers
from minidl.visual.taps import links, outputs_of
from minidl.visual.truncate import LayerInfo, Place, layer_table, truncate, walk


def choose(model: Layer, image_shape: Shape, names: Sequence[str] = ()) -> tuple[list[LayerInfo], list[Group]]:
    """The layers of `names`, or else all that have units of their own, and the groups that they make up.

    A container that joins the outputs of several layers, as an inception module does, makes them a group. In `names`
    a group stands for its layers.

    Raises UsageError for an unknown name, for one that two layers have, and if no layer is left.
    """
    model.named_layers()  # raises an error if two layers have the same name
    places = {place.name: place for place in walk(model)}
    infos = {row.name: row for row in layer_table(model, image_shape)}
    joined = _joined(model, (1, *image_shape))
    shown = [name for name in unit_layers(model, image_shape) if name not in joined]
    groups = {name: [part for part in parts if part in shown] for name, parts in joined.items()}
    if names:
        for name in names:
            if name not in places:
                raise no_such_layer(name, infos)
        wanted = {part for name in names for part in groups.get(name) or [name]}
        shown = [name for name in places if name in wanted]
        infos = {name: infos.get(name) or _info(model, places[name], image_shape) for name in shown}
    shown = [name for name in shown if len(infos[name].shape) in (1, 3)]
    if not shown:
        raise UsageError("no layer of this network has units to show: its outputs must be (H, W, C) or (K,)")
    return [infos[name] for name in shown], [
        Group(name, [shown.index(part) for part in parts], sum(infos[part].units for part in parts))
        for name, parts in groups.items()
        if parts and set(parts) <= set(shown)
    ]


def _info(model: Layer, place: Place, image_shape: Shape) -> LayerInfo:
    shape = truncate(model, place.name).out_shape((1, *image_shape))[1:]
    return LayerInfo(place.name, repr(place.layer), shape)


def _joined(model: Layer, shape: Shape) -> dict[str, list[str]]:
    """Containers whose output is that of the ends of their branches, side by side: the names of these ends."""
    found = {}
    for link in links(model, "", [""]):
        if link.layer.wiring == "parallel":
            ends = outputs_of(link, shape)
            parts = [name for name in ends if name not in link.ends]
            if parts:
                found[link.ends[0]] = sorted(parts, key=lambda name: ends[name].start)
        shape = link.layer.out_shape(shape)
    return found


def modules(layers: Sequence[LayerInfo], groups: Sequence[Group]) -> list[tuple[str, list[int]]]:
    """Name and layers of each group, and of each layer that is in none, in forward order.

    Layers inside a module that are not part of its output, such as reduce layers, are left out.
    """
    grouped = {i for group in groups for i in group.layers}
    inside = tuple(f"{group.name}." for group in groups)
    alone = [
        (i, info.name, [i])
        for i, info in enumerate(layers)
        if i not in grouped and not (inside and info.name.startswith(inside))
    ]
    return [(name, parts) for _, name, parts in sorted([*alone, *((g.layers[0], g.name, g.layers) for g in groups)])]


def graph(model: Layer, image_shape: Shape, shown: Sequence[str], groups: Sequence[Group]) -> Block:
    """The network as nested blocks."""
    layers = {name: i for i, name in enumerate(shown)}
    grouped = {group.name: i for i, group in enumerate(groups)}
    shapes = {
        place.name: _shape(model, place, image_shape) for place in walk(model) if place.named and not place.helps
    }

    def block(layer: Layer, name: str, path: str) -> Block:
        children = always_run(layer)
        return Block(
            name=name,
            kind=type(layer).__name__ if children else repr(layer),
            shape=shapes.get(name, []) if name else list(model.out_shape((1, *image_shape))[1:]),
            parameters=sum(p.size for p in layer.named_parameters().values()),
            wiring=("chain" if spine(layer) else layer.wiring or "") if children else "",
            layer=layers.get(name, -1) if name else -1,
            group=grouped.get(name, -1) if name else -1,
            children=[
                block(child, "" if key in layer.unnamed else join(path, key), join(path, layer.level(key)))
                for key, child in children.items()
            ],
        )

    return block(model, "", "")


def _shape(model: Layer, place: Place, image_shape: Shape) -> list[int]:
    try:
        return list(truncate(model, place.name).out_shape((1, *image_shape))[1:])
    except MinidlError:  # of a container of which only its own code knows what runs when
        return []
