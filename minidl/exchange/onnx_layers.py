"""What each layer becomes in an ONNX graph. Convolutions and pools stand in `onnx_windows`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minidl.exchange import onnx_windows as windows
from minidl.exchange.onnx_graph import Graph, Value
from minidl.layers import (
    AdaptiveAvgPool2D,
    AvgPool2D,
    BatchNorm2D,
    Conv2D,
    Dropout,
    Flatten,
    GeneralAvgPool2D,
    GeneralConv2D,
    GeneralMaxPool2D,
    GlobalAvgPool,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2D,
    ReLU,
    Sigmoid,
    SiLU,
    Tanh,
)
from minidl.layers.context import join

Emit = Callable[[Graph, Any, str, Value], str]  # (graph, layer, its full name, x) -> the name of y


def _linear(graph: Graph, layer: Linear, name: str, x: Value) -> str:
    weight = graph.learned(layer.params["weight"].value, join(name, "weight"), (1, 0))  # (in, out) -> (out, in)
    return graph.add("Gemm", [x.name, weight, *windows.bias(graph, layer, name)], name, transB=1)


def _flatten(graph: Graph, layer: Flatten, name: str, x: Value) -> str:
    """minidl flattens (H, W, C) by default, ONNX (C, H, W), and other numbers of axes alike."""
    value, axes = x.name, len(x.shape)
    if axes > 2 and not layer.channels_first and set(x.shape[1:-1]) != {1}:
        value = graph.add("Transpose", [value], join(name, "channels_last"), perm=(0, *range(2, axes), 1))
    return graph.add("Flatten", [value], name, axis=1)


def _batch_norm(graph: Graph, layer: BatchNorm2D, name: str, x: Value) -> str:
    arrays = {"weight": layer.params["gamma"].value, "bias": layer.params["beta"].value, **layer.buffers}
    inputs = [graph.learned(a, join(name, key)) for key, a in arrays.items()]
    return graph.add("BatchNormalization", [x.name, *inputs], name, epsilon=float(layer.eps))


def _op(op: str) -> Emit:
    """A layer that is one node without options."""
    return lambda graph, layer, name, x: graph.add(op, [x.name], name)


def _leaky_relu(graph: Graph, layer: LeakyReLU, name: str, x: Value) -> str:
    return graph.add("LeakyRelu", [x.name], name, alpha=layer.negative_slope)


def _silu(graph: Graph, layer: SiLU, name: str, x: Value) -> str:
    return graph.add("Mul", [x.name, graph.add("Sigmoid", [x.name], join(name, "sigmoid"))], name)


def _nothing(graph: Graph, layer: Layer, name: str, x: Value) -> str:
    return x.name


# By forward pass, not by class: a class of somebody's own that derives from one of these may compute something else.
LAYERS: Mapping[Any, Emit] = {
    Conv2D.forward: windows.conv2d,
    GeneralConv2D.forward: windows.general_conv2d,
    MaxPool2D.forward: windows.max_pool,
    GeneralMaxPool2D.forward: windows.max_pool,
    AvgPool2D.forward: windows.avg_pool,
    GeneralAvgPool2D.forward: windows.general_avg_pool,
    AdaptiveAvgPool2D.forward: windows.adaptive_avg_pool,
    GlobalAvgPool.forward: windows.global_avg_pool,
    Linear.forward: _linear,
    Flatten.forward: _flatten,
    BatchNorm2D.forward: _batch_norm,
    ReLU.forward: _op("Relu"),
    LeakyReLU.forward: _leaky_relu,
    SiLU.forward: _silu,
    Sigmoid.forward: _op("Sigmoid"),
    Tanh.forward: _op("Tanh"),
    Dropout.forward: _nothing,
}
