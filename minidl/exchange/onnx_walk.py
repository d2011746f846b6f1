"""From a model to its ONNX graph: a walk through its containers, as `wiring` and `outputs` describe them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minidl.engine.tile_layer import TileLayer
from minidl.errors import UsageError, within
from minidl.exchange.onnx_graph import Graph, Value, channels_first
from minidl.exchange.onnx_layers import LAYERS
from minidl.layers import Layer, Residual
from minidl.layers.context import join
from minidl.layers.heads import always_run


def onnx_graph(model: Layer, in_shape: tuple[int, ...], pixels: tuple[Any, Any] | None = None) -> Graph:
    """The graph of `model` in INFER mode, for inputs of the shape `in_shape`, (H, W, C) or (D,).

    pixels    (mean, std): the input is pixels from 0 to 255, and the graph begins with (x / 255 - mean) / std

    Raises UsageError for a layer that can't be exported, ShapeError if `in_shape` doesn't fit.
    """
    name = "pixels" if pixels else "images" if len(in_shape) == 3 else "x"
    value = Value(name, (1, *in_shape))
    model.out_shape(value.shape)
    graph = Graph(name, channels_first(in_shape))
    if pixels:
        mean, std = (np.asarray(v, np.float64).reshape(-1, 1, 1) for v in pixels)  # (C, 1, 1)
        scale, shift = graph.constant(1 / (255 * std), "scale"), graph.constant(-mean / std, "shift")
        scaled = graph.add("Mul", [name, scale], "scaled")
        value = value._replace(name=graph.add("Add", [scaled, shift], "images"))
    graph.finish(_emit(graph, model, "", value))
    return graph


def _emit(graph: Graph, layer: Layer, path: str, x: Value) -> Value:
    """Adds the nodes of `layer`, whose full name is `path`, and returns its output."""
    forward, children = type(layer).forward, layer.children()
    if forward in LAYERS:
        return Value(LAYERS[forward](graph, layer, path, x), layer.out_shape(x.shape))
    if forward in _CONTAINERS:
        return _CONTAINERS[forward](graph, layer, path, x)
    if children and layer.wiring == "chain":
        for name in children:
            x = _child(graph, layer, path, name, x)
        return x
    used = list(always_run(layer))
    if used and layer.wiring == "parallel" and [*layer.outputs(x.shape)] == used:
        ways = [_child(graph, layer, path, name, x) for name in used]
        if len(ways) == 1:
            return ways[0]
        return Value(graph.add("Concat", [way.name for way in ways], path, axis=1), layer.out_shape(x.shape))
    if isinstance(layer, TileLayer):
        raise UsageError(f"{layer.label}: part of the fused engine: export the model that it was made of")
    raise UsageError(f"{layer.label}: not a layer of minidl's own: ONNX can't be told what it computes")


def _child(graph: Graph, layer: Layer, path: str, name: str, x: Value) -> Value:
    level = layer.level(name)
    with within(level):
        return _emit(graph, layer.children()[name], join(path, level), x)


def _residual(graph: Graph, layer: Residual, path: str, x: Value) -> Value:
    ways = [_child(graph, layer, path, name, x).name for name in layer.children()]
    return Value(graph.add("Add", [*ways, x.name][:2], path), layer.out_shape(x.shape))


# What `wiring` doesn't say: branches that are added up
_CONTAINERS: Mapping[Any, Callable[[Graph, Any, str, Value], Value]] = {Residual.forward: _residual}
