"""Turns a model of plain layers into the same model with fast composites."""

from __future__ import annotations

import numpy as np

from minidl.engine.blocks.conv import ConvBlock
from minidl.engine.blocks.fused import Fused
from minidl.engine.blocks.inception import InceptionBlock
from minidl.engine.blocks.maxpool import FusedMaxPool
from minidl.engine.blocks.residual import ResidualBlock
from minidl.engine.chain import FusedSequential
from minidl.engine.stem.block import FusedStem
from minidl.engine.tiles.runner import TileRunner
from minidl.layers import Layer, Sequential
from minidl.layers.containers import require_layer
from minidl.layers.tree import rebuilt

# For a chain of layers, the first one that matches takes its first layers.
COMPOSITES: list[type[Fused]] = [FusedStem, ResidualBlock, InceptionBlock, ConvBlock, FusedMaxPool]


def register(composite: type[Fused]) -> type[Fused]:
    """From now on `fuse` tries this composite before all others. May stand above its class as a decorator."""
    COMPOSITES.insert(0, composite)
    return composite


def fuse(model: Layer, threads: int = 0, runner: TileRunner | None = None) -> Layer:
    """`model` with composites in place of several plain layers, which are faster, on `threads` threads (0: all
    cores), or on those of a `runner`.

    The result is a new tree with the same Parameters, buffers and names, in the same order. It can be trained, saved
    and loaded in place of `model`, and both may be used alternately. These layers become composites, in any
    Sequential or branch of a Concat: convolution + BN + ReLU and inception modules, with a 2x2 max pool after them if
    there is one; other max pools; and at the very beginning convolution + BN + ReLU + 4x4 max pool. All other layers,
    also a user's own, are used as they are. This is for NumPy models only: a model with other arrays is returned
    unchanged.
    """
    require_layer("fuse: the model", model)
    if not all(isinstance(p.value, np.ndarray) for p in model.named_parameters().values()):
        return model
    return _fused(model, runner or TileRunner(threads), first=True)


def unfuse(model: Layer) -> Layer:
    """The plain layers from which `model` was fused, with all maps and names; a plain model itself."""
    if isinstance(model, Fused):
        return model.plain
    plain: dict[str, Layer] = {}
    for name, child in model.children().items():
        run = isinstance(child, Fused) and name in model.unnamed  # it stands for several layers of the chain
        plain |= child.plain.children() if run else {name: unfuse(child)}
    if isinstance(model, FusedSequential):
        chain = Sequential(plain)
        chain.unnamed, chain.params, chain.buffers = model.unnamed & plain.keys(), model.params, model.buffers
        vars(chain).update(model.attributes)
        return chain
    return model if list(plain.values()) == list(model) else rebuilt(model, plain)


def _fused(layer: Layer, runner: TileRunner, first: bool) -> Layer:
    """`first`: whether the layer is the network's first one."""
    if isinstance(layer, Fused | FusedSequential):
        return layer
    if isinstance(layer, Sequential) and layer.wiring == "chain":
        return _chain(layer, runner, first)
    if (found := _composite([layer], first))[0]:
        return found[1](layer, runner)
    children = layer.children()
    first = first and len(children) == 1
    fused = {name: _fused(child, runner, first) for name, child in children.items()}
    changed = any(fused[name] is not child for name, child in children.items())
    return rebuilt(layer, fused) if changed else layer


def _chain(chain: Sequential, runner: TileRunner, first: bool) -> FusedSequential:
    """A Sequential with composites in it; the name of a composite joins the names of its layers."""
    layers, names, unnamed = chain.children(), list(chain.children()), set(chain.unnamed)
    fused: dict[str, Layer] = {}
    while names:
        length, kind = _composite([layers[name] for name in names], first)
        run, names = names[: max(1, length)], names[max(1, length) :]
        if length > 1:
            key = "+".join(run)
            fused[key] = kind(Sequential({name: layers[name] for name in run}), runner)
            unnamed.add(key)
        else:
            layer = layers[run[0]]
            fused[run[0]] = kind(layer, runner) if kind else _fused(layer, runner, first)
        first = False
    new = FusedSequential(fused, runner, frozenset(unnamed))
    new.params, new.buffers = chain.params, chain.buffers
    new.attributes = {name: value for name, value in vars(chain).items() if name not in vars(new)}
    vars(new).update(new.attributes)
    return new


def _composite(layers: list[Layer], first: bool) -> tuple[int, type[Fused] | None]:
    """How many of the first layers form a composite, and which one; (0, None) if they form none."""
    for kind in COMPOSITES:
        if (length := kind.match(layers, first)) and _once(layers[:length]):
            return length, kind
    return 0, None


def _once(layers: list[Layer]) -> bool:
    """Whether each Parameter is in these layers once. A composite takes its layers side by side, so of one that is
    there twice two threads would write to the same gradients and running statistics.
    """
    used = [p for layer in layers for leaf in layer.leaves() for p in leaf.params.values()]
    return len(set(used)) == len(used)
