"""The layers of a model and their cost, computed from integers: no array is allocated, no layer is run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from minidl.backend.arrays import Array
from minidl.diagnostics.cost import TrainingMemory, input_shapes, training_memory
from minidl.errors import UsageError
from minidl.layers.base import Layer, Shape
from minidl.layers.context import join
from minidl.layers.conv import Conv2D
from minidl.layers.general_conv import GeneralConv2D
from minidl.layers.linear import Linear
from minidl.text.columns import align
from minidl.text.html import html_table


@dataclass(frozen=True)
class Row:
    """One layer or block; `out_shape` and `multiply_adds` are those of one image."""

    path: str
    layer: str
    depth: int
    is_leaf: bool
    out_shape: Shape
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Summary:
    """The rows of the model, its blocks and its layers, each before its own children; `str()` is the table."""

    rows: tuple[Row, ...]
    depth: int | None
    batch_size: int
    memory: TrainingMemory

    @property
    def parameters(self) -> int:
        return self.rows[0].parameters

    @property
    def multiply_adds(self) -> int:
        return self.rows[0].multiply_adds

    def __str__(self) -> str:
        return f"{align(self._table(), left=2)}\n{self._memory}"

    __repr__ = __str__  # at a prompt, show the table

    def _repr_html_(self) -> str:
        return html_table(self._table(), left=2, caption=self._memory)

    @property
    def _memory(self) -> str:
        return f"training memory at batch {self.batch_size}: {self.memory}"

    def _table(self) -> list[tuple[str, ...]]:
        depth = math.inf if self.depth is None else self.depth
        table = [("path", "layer", "output", "parameters", "multiply-adds")]
        for r in self.rows:
            if r.depth == depth or (r.is_leaf and r.depth < depth):
                size = "x".join(map(str, r.out_shape))
                table.append((r.path, r.layer, size, f"{r.parameters:,}", f"{r.multiply_adds:,}"))
        table.append(("total", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}"))
        return table


def summary(model: Layer, input_shape: Shape | Array, depth: int | None = None) -> Summary:
    """The layers of `model`, their output sizes, parameters and multiply-adds, and the memory of a training step.

    input_shape: (N, H, W, C), or (H, W, C) for a batch of one; or an array of that shape. depth=1 shows the model's
    blocks, depth=2 also the blocks inside them, and None the leaf layers. The multiply-adds are those of the
    convolutions and linear layers in a forward pass of one image. `TrainingMemory` says what `memory` counts. Raises
    ShapeError if the input doesn't fit, UsageError for a shape that is no row of whole numbers.
    """
    shape = getattr(input_shape, "shape", input_shape)
    if not isinstance(shape, tuple | list) or not all(hasattr(size, "__index__") for size in shape):
        raise UsageError(f"summary: input_shape is {shape!r:.60}, must be whole numbers (N, H, W, C) or (H, W, C)")
    shape = tuple(shape)
    if len(shape) == 3:
        shape = (1, *shape)
    return Summary(tuple(_rows(model, "", "", shape, 0)), depth, shape[0], training_memory(model, shape))


def _rows(layer: Layer, name: str, path: str, in_shape: Shape, depth: int, row: bool = True) -> Iterator[Row]:
    """The row of the layer `name` and the rows of all layers below it, whose names begin with `path`."""
    out, shapes, below = layer.out_shape(in_shape), input_shapes(layer, in_shape), []
    for key, child in layer.children().items():
        if key in shapes:
            named = key not in layer.unnamed  # a branch of a Concat has no row of its own
            below += _rows(child, join(path, key), join(path, layer.level(key)), shapes[key], depth + row, named)
    if not row:
        yield from below
        return
    parameters = sum(p.size for p in layer.named_parameters().values())
    multiply_adds = sum(r.multiply_adds for r in below if r.depth == depth + 1)
    if isinstance(layer, Conv2D | GeneralConv2D | Linear):
        # each of the output's pixels (a linear layer has one) uses each weight
        multiply_adds = math.prod(out[1:-1]) * layer.params["weight"].size
    yield Row(name, repr(layer), depth, not below, out[1:], parameters, multiply_adds)
    yield from below
