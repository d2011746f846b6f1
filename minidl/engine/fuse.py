"""From a model of plain layers to the same model on fast composites."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minidl.engine.blocks.branches import is_inception
from minidl.engine.blocks.conv_bn_relu import FusedConvBNReLU
from minidl.engine.blocks.inception import FusedInception
from minidl.engine.blocks.maxpool import FusedMaxPool, PairPool
from minidl.engine.prepare import FusedSequential
from minidl.engine.stem.block import FusedStem
from minidl.engine.tiles.runner import TileRunner
from minidl.layers import BatchNorm2D, Concat, Conv2D, Frozen, Layer, MaxPool2D, ReLU, Sequential

CONV_BN_RELU = [Conv2D, BatchNorm2D, ReLU]


def fuse(model: Layer, threads: int = 0) -> Layer:
    """`model` with runs of plain layers replaced by composites that do their work faster, on `threads` threads
    (0: all cores).

    A new tree over the same Parameters and buffers, with the same names in the same order: it can be trained, saved
    and loaded in the given model's place, and both may be used by turns. Recognised are, in any Sequential or branch
    of a Concat: convolution + BN + ReLU and inception modules, with a 2x2 max pool after them if there is one; other
    max pools; and at the very start convolution + BN + ReLU + 4x4 max pool. All other layers, a user's own among
    them, take part as they are. NumPy models only: one with arrays of another kind is returned unchanged.
    """
    if not all(isinstance(p.value, np.ndarray) for p in model.named_parameters().values()):
        return model
    fused = _fused(model, TileRunner(threads), first=True)
    fused.set_path(model.path)
    return fused


def unfuse(model: Layer) -> Layer:
    """The plain layers that `model` was fused from, with all maps and names; a plain model itself."""
    plain = getattr(model, "plain", None)
    return model if plain is None else plain


def _fused(layer: Layer, runner: TileRunner, first: bool) -> Layer:
    if _is_chain(layer):
        return FusedSequential(dict(_chain(layer.layers, layer.path, runner, first)), runner, layer)
    if is_inception(layer):
        return FusedInception(layer, runner)
    if type(layer) is Frozen:
        return Frozen(_fused(layer.inner, runner, first))
    if type(layer) is Concat:
        return Concat([dict(_chain(branch.layers, layer.path, runner, False)) for branch in layer.branches])
    if type(layer) is MaxPool2D:
        return FusedMaxPool(layer, runner)
    return layer


def _chain(layers: dict[str, Layer], path: str, runner: TileRunner, first: bool) -> Iterator[tuple[str, Layer]]:
    """The layers of a Sequential at `path`, its runs replaced; a composite is named after all it stands for."""
    names = list(layers)
    while names:
        length, kind = _run([layers[name] for name in names], first)
        run, names = names[:length], names[length:]
        if length > 1:
            plain = Sequential({name: layers[name] for name in run})
            plain.set_path(path)
            yield "+".join(run), kind(plain, runner)
        else:
            layer = layers[run[0]]
            yield run[0], kind(layer, runner) if kind else _fused(layer, runner, first)
        first = False


def _run(layers: list[Layer], first: bool) -> tuple[int, type[Layer] | None]:
    """How many of the first layers make a composite, and which; (1, None) if none of those with many layers fits."""
    if is_inception(layers[0]):
        length, kind = 1, FusedInception
    elif [type(layer) for layer in layers[:3]] == CONV_BN_RELU:
        length, kind = 3, FusedConvBNReLU
    elif _is_chain(layers[0]) and [type(layer) for layer in layers[0].layers.values()] == CONV_BN_RELU:
        length, kind = 1, FusedConvBNReLU
    else:
        return 1, None
    pool = layers[length] if len(layers) > length else None
    if type(pool) is not MaxPool2D:
        return length, kind
    if first and FusedStem.matches([leaf for layer in layers[: length + 1] for leaf in layer.leaves()]):
        return length + 1, FusedStem
    return (length + 1, kind) if PairPool.matches(pool) else (length, kind)


def _is_chain(layer: Layer) -> bool:
    """Whether the layer does what a Sequential does; a user's subclass may only have a constructor of its own."""
    own = ("forward", "backward", "input_grad", "project", "out_shape", "children")
    return isinstance(layer, Sequential) and all(getattr(type(layer), f) is getattr(Sequential, f) for f in own)
