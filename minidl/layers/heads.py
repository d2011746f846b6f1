"""Where a network ends: its own head, and those beside it that only help in training (`side_head.py`)."""

from __future__ import annotations

from collections.abc import Iterator

from minidl.layers.base import Layer
from minidl.layers.context import join


def has_side_heads(model: Layer) -> bool:
    """Whether a TRAIN pass gives the scores of several heads, (N, J, K) in place of (N, K)."""
    return any(layer.training_only for _, layer in model.places())


def always_run(layer: Layer) -> dict[str, Layer]:
    """The children that every pass runs, not only training."""
    return {key: child for key, child in layer.children().items() if key not in layer.training_only}


def spine(layer: Layer) -> tuple[str, ...]:
    """The children through which a signal goes one after the other from the input to the output, outside of training;
    () if they branch, or if only the layer's own code knows.
    """
    left = tuple(always_run(layer))
    return left if layer.wiring == "chain" or (layer.training_only and len(left) == 1) else ()


def last_leaves(layer: Layer) -> Iterator[Layer]:
    """The leaves whose outputs are those of the network: its last one, and the last one of each side head."""
    children = layer.children()
    if not children:
        yield layer
        return
    for key in ((spine(layer) or tuple(children))[-1], *sorted(layer.training_only)):
        yield from last_leaves(children[key])


def main_line(layer: Layer, path: str = "") -> Iterator[tuple[str, tuple[str, ...], Layer]]:
    """(name, keys, layer) of a chain's own layers; the rest beside a side head goes on with the chain."""
    children = layer.children()
    for key in spine(layer):
        child = children[key]
        if (child.training_only or layer.training_only) and spine(child):
            inner = main_line(child, join(path, layer.level(key)))
            yield from ((name, (key, *keys), below) for name, keys, below in inner)
        else:
            yield join(path, key), (key,), child
