"""What happens inside a model on its way forward and back. Look here first if a model doesn't learn."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from minidl.backend.arrays import Array, array_module, to_device
from minidl.diagnostics.contract import require_out_shape
from minidl.layers.base import TRAIN, Context, Layer, Parameter, Shape
from minidl.layers.context import join
from minidl.layers.heads import has_side_heads
from minidl.layers.tree import rebuilt
from minidl.losses import SideHeads, softmax_cross_entropy
from minidl.text.columns import align
from minidl.text.html import html_table


@dataclass(frozen=True)
class Statistics:
    """Statistics of all entries of one array."""

    mean: float
    std: float
    zeros: float  # the share of entries that are exactly 0


@dataclass
class TraceRow:
    """One leaf layer: its output y, and the gradient dL/dy that came back to it, of the same shape."""

    path: str
    layer: str
    shape: Shape
    output: Statistics | None  # None where nothing came by
    gradient: Statistics | None


class Trace(tuple[TraceRow, ...]):
    """The rows of the leaf layers in forward order; `str()` is their table."""

    def __str__(self) -> str:
        return align(self._table(), left=2)

    __repr__ = __str__  # at a prompt, show the table

    def _repr_html_(self) -> str:
        return html_table(self._table(), left=2)

    def _table(self) -> list[tuple[str, ...]]:
        table = [("path", "layer", "shape", *("mean y", "std y", "zeros y"), *("mean dy", "std dy", "zeros dy"))]
        for row in self:
            numbers = [
                text
                for s in (row.output, row.gradient)
                for text in ((f"{s.mean:.2e}", f"{s.std:.2e}", f"{100 * s.zeros:.1f}%") if s else "---")
            ]
            table.append((row.path, row.layer, "x".join(map(str, row.shape)), *numbers))
        return table


class _Recorder(Layer):
    """Takes the place of a leaf, and records what the leaf passes on in both directions.

    It goes back by `input_grad`, so it changes no gradient.
    """

    def __init__(self, name: str, leaf: Layer) -> None:
        self.inner = _aside(leaf)
        self.row = TraceRow(name, repr(leaf), (), None, None)

    def children(self) -> dict[str, Layer]:
        return {}

    def out_shape(self, in_shape: Shape) -> Shape:
        return self.inner.out_shape(in_shape)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Any]:
        y, cache = ctx.run("", self.inner, x)
        require_out_shape(self.inner, x.shape, y)
        self.row.shape, self.row.output = y.shape, _statistics(y)
        return y, cache

    def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> Array | None:
        self.row.gradient = _statistics(dy)
        return self.inner.input_grad(dy, cache) if need_dx else None

    def input_grad(self, dy: Array, cache: Any) -> Array:
        return self.backward(dy, cache)


def _recording(layer: Layer, name: str, path: str, rows: list[TraceRow]) -> Layer:
    """The layer `name` with recorders in place of its leaves; their rows are in forward order."""
    children = layer.children()
    if not children:
        recorder = _Recorder(name, layer)
        rows.append(recorder.row)
        return recorder
    shadow = {
        key: _recording(child, name if key in layer.unnamed else join(path, key), join(path, layer.level(key)), rows)
        for key, child in children.items()
    }
    return _aside(rebuilt(layer, shadow))


def _aside(layer: Layer) -> Layer:
    """A copy of the layer that computes with the same values, but has its own buffers and gradients."""
    new = copy.copy(layer)
    new.params = {name: Parameter(p.value, p.tags) for name, p in layer.params.items()}
    new.buffers = {name: b.copy() for name, b in layer.buffers.items()}
    return new


def trace(model: Layer, x: Array, labels: Array | None = None) -> Trace:
    """Mean, standard deviation and share of zeros of every leaf layer's output, and of the gradient that comes back
    to it.

    It does one forward and backward pass in TRAIN mode (batch statistics, dropout on). The model, its running
    statistics and its gradients don't change. x (N, H, W, C). With labels (N,) the gradients are those of the mean
    softmax cross-entropy of the model's output (N, K); with side heads those of `SideHeads`, which adds up all heads.
    Without labels the output may have any shape, and standard normal numbers are sent back from it: then the column
    `std dy` shows how much the gradient shrinks or grows on its way.

    What to look for: a std that falls or rises from row to row; outputs that are nearly all zero (dead ReLUs; about
    half zeros is normal); gradients that vanish on their way back to the first rows. No gradient reaches a frozen
    layer. Raises ShapeError if x or the labels don't fit, UsageError for a leaf whose output hasn't the shape of its
    out_shape.
    """
    rows: list[TraceRow] = []
    shadow, ctx = _recording(model, "", "", rows), TRAIN.at_step(0)
    y, cache = shadow.forward(x, ctx)
    if labels is None:
        dy = to_device(ctx.at("trace").rng().standard_normal(y.shape).astype(y.dtype), array_module(y))
    else:
        dy = (SideHeads() if has_side_heads(model) else softmax_cross_entropy)(y, labels)[1]
    shadow.backward(dy, cache, need_dx=False)
    return Trace(rows)


def _statistics(a: Array) -> Statistics:
    return Statistics(float(a.mean()), float(a.std()), float((a == 0).mean()))
