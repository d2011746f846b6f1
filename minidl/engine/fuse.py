"""Turns a model of plain layers into the same model with fast composites."""

from __future__ import annotations

import numpy as np

from minidl.engine.blocks.block import Fused
from minidl.engine.blocks.branches import is_inception
from minidl.engine.blocks.conv_bn_relu import FusedConvBNReLU
from minidl.engine.blocks.inception import FusedInception
from minidl.engine.blocks.maxpool import FusedMaxPool, PairPool
from minidl.engine.chain import FusedSequential
from minidl.engine.stem.block import FusedStem
from minidl.engine.tiles.runner import TileRunner
from minidl.layers import BatchNorm2D, Conv2D, Layer, MaxPool2D, ReLU, Sequential
from minidl.layers.containers import require_layer
from minidl.layers.tree import rebuilt

CONV_BN_RELU = [Conv2D, BatchNorm2D, ReLU]


def fuse(model: Layer, threads: int = 0) -> Layer:
    """`model` with composites in place of several plain layers, which are faster, on `threads` threads (0: all
    cores).

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
    return _fused(model, TileRunner(threads), first=True)


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
        return chain
    return model if list(plain.values()) == list(model) else rebuilt(model, plain)


def _fused(layer: Layer, runner: TileRunner, first: bool) -> Layer:
    if isinstance(layer, Fused | FusedSequential):
        return layer
    if is_inception(layer):
        return FusedInception(layer, runner)
    if type(layer) is MaxPool2D:
        return FusedMaxPool(layer, runner)
    if layer.wiring == "chain" and isinstance(layer, Sequential):
        return _chain(layer, runner, first)
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
        length, kind = _run([layers[name] for name in names], first)
        run, names = names[:length], names[length:]
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
    return new


def _run(layers: list[Layer], first: bool) -> tuple[int, type[Layer] | None]:
    """How many of the first layers form a composite, and the composite; (1, None) if they form none."""
    if is_inception(layers[0]):
        length, kind = 1, FusedInception
    elif [type(layer) for layer in layers[:3]] == CONV_BN_RELU:
        length, kind = 3, FusedConvBNReLU
    elif _is_block(layers[0]):
        length, kind = 1, FusedConvBNReLU
    else:
        return 1, None
    pool = layers[length] if len(layers) > length else None
    if type(pool) is not MaxPool2D:
        return length, kind
    if first and FusedStem.matches([leaf for layer in layers[: length + 1] for leaf in layer.leaves()]):
        return length + 1, FusedStem
    return (length + 1, kind) if PairPool.matches(pool) else (length, kind)


def _is_block(layer: Layer) -> bool:
    """Whether the layer is a chain of convolution, BN and ReLU."""
    return layer.wiring == "chain" and [type(child) for child in layer] == CONV_BN_RELU
