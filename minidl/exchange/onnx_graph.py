"""An ONNX graph as plain records: nodes, and the arrays that they read.

`onnx_walk` makes one of a model, `onnx_file` a file of it. Activations are (N, C, H, W) in a graph, and weights have
torch's names and layout: its arrays are those of `to_torch_state_dict`.

Source: ONNX operator schemas, opset 17 (onnx.ai/onnx/operators).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minidl.backend.arrays import Array, to_host
from minidl.layers.base import Shape

LOGITS = "logits"


class Value(NamedTuple):
    """What flows between two layers."""

    name: str  # in the graph, where it is (N, C, H, W) or (N, D)
    shape: Shape  # in minidl: (1, H, W, C) or (1, D); a batch has any number


def channels_first(shape: Shape) -> Shape:
    """(H, W, C) -> (C, H, W), (D,) -> (D,)."""
    return (shape[-1], *shape[:-1])


@dataclass
class Node:
    """One operation, which makes one value."""

    op: str
    inputs: list[str]
    output: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Graph:
    """Nodes in the order in which they run, and the arrays that they read."""

    input: str
    in_shape: Shape  # of the input, without the batch: (C, H, W) or (D,)
    nodes: list[Node] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    out_shape: Shape = ()  # of the output, without the batch
    _learned: dict[int, tuple[Array, str]] = field(default_factory=dict)  # by id: a layer may stand in two places

    def add(self, op: str, inputs: Sequence[str], name: str, **options: Any) -> str:
        """A node whose value is called `name`, or nearly so if that is taken. Returns its name."""
        output = self._free(name)
        self.nodes.append(Node(op, list(inputs), output, options))
        return output

    def constant(self, array: np.ndarray, name: str) -> str:
        """The name of a new array in the graph; what is float64 becomes float32."""
        name = self._free(name)
        array = np.ascontiguousarray(array)
        self.arrays[name] = array.astype(np.float32) if array.dtype == np.float64 else array
        return name

    def learned(self, array: Array, name: str, axes: tuple[int, ...] | None = None) -> str:
        """The name of a Parameter's value or of a buffer, in the graph once; `axes` is the order that ONNX has."""
        if id(array) not in self._learned:
            host = to_host(array)
            self._learned[id(array)] = array, self.constant(host.transpose(axes) if axes else host, name)
        return self._learned[id(array)][1]

    def finish(self, value: Value) -> None:
        """Makes `value` the output of the graph, and calls it LOGITS."""
        if value.name not in {node.output for node in self.nodes}:  # a model that leaves its input as it is
            value = value._replace(name=self.add("Identity", [value.name], LOGITS))
        self.rename(value.name, LOGITS)
        self.out_shape = channels_first(value.shape[1:])

    def rename(self, old: str, new: str) -> None:
        for node in self.nodes:
            node.inputs = [new if name == old else name for name in node.inputs]
            node.output = new if node.output == old else node.output

    def _free(self, name: str) -> str:
        taken = {self.input, LOGITS, *self.arrays, *(node.output for node in self.nodes)} - {""}
        base, number = name or "model", 1
        while (name or base) in taken:
            number += 1
            name = f"{base}_{number}"
        return name or base
