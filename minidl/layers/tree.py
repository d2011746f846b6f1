"""A model as a tree: the same model with other layers, and a printed tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from minidl.errors import UsageError
from minidl.layers.base import Layer


def rebuilt(layer: Layer, children: Mapping[str, Layer]) -> Layer:
    """`layer.with_children(children)`, with the same parameters and buffers of its own.

    Raises UsageError if `with_children` doesn't do what it should.
    """
    new = layer.with_children(children)
    found = list(new.children().values()) if isinstance(new, Layer) and new is not layer else None
    if found is None or list(map(id, found)) != list(map(id, children.values())):
        raise UsageError(
            f"{layer.label}: with_children must return a new container with exactly the children that it is given"
        )
    new.params, new.buffers = dict(layer.params), dict(layer.buffers)
    return new


def map_leaves(model: Layer, change: Callable[[Layer], Layer]) -> Layer:
    """A copy of the tree `model` in which every leaf is replaced by `change(leaf)`."""
    children = model.children()
    if not children:
        return change(model)
    return rebuilt(model, {name: map_leaves(child, change) for name, child in children.items()})


HEAD = ("layer", "shapes", "parameters")  # of the columns of `rows`


def tree(model: Layer) -> str:
    """A line for each layer: its name in the container, class, shapes of its parameters, and how many there are."""
    table = list(rows(model))
    widths = [max(len(row[i]) for row in table) for i in range(3)]
    return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}".rstrip() for a, b, c in table)


def rows(layer: Layer, name: str = "", depth: int = 0) -> Iterator[tuple[str, str, str]]:
    """(layer, shapes of its own parameters, number of all parameters in it and below it)"""
    children = layer.children()
    kind = type(layer).__name__ if children else repr(layer)
    shapes = ", ".join(f"{key} {'x'.join(map(str, p.shape))}" for key, p in layer.params.items())
    count = sum(p.size for p in layer.named_parameters().values())
    yield "  " * depth + (f"{name}: {kind}" if name else kind), shapes, f"{count:,}" if count else ""
    for key, child in children.items():
        # A layer that adds no level to the names has no name itself: the branches of a Concat.
        yield from rows(child, "" if key in layer.unnamed and "+" not in key else key, depth + 1)
