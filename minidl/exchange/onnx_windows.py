"""What convolutions and pools become in an ONNX graph.

Runtimes disagree where a pool meets the border of a map: whether padding counts in a mean, and how many windows there
are with `ceil_mode`. So an average pool gets its padding from a node of its own, and no node has a ceil_mode. What
depends on the size of the map (the last windows, "same", the bins of an adaptive pool) is worked out here: H and W
are fixed in the file, the batch is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.exchange.onnx_graph import Graph, Value
from minidl.kernels.general.reference import bins, shares
from minidl.kernels.general.window import Window, square
from minidl.layers import (
    AdaptiveAvgPool2D,
    AvgPool2D,
    Conv2D,
    GeneralAvgPool2D,
    GeneralConv2D,
    GeneralMaxPool2D,
    GlobalAvgPool,
    Layer,
    MaxPool2D,
)
from minidl.layers.context import join


def _pads(window: Window) -> tuple[int, int, int, int]:
    """The padding as ONNX has it: top, left, bottom, right."""
    (top, bottom), (left, right) = window.padding
    return top, left, bottom, right


# ----------------------------------------------------------------------- convolutions


def conv2d(graph: Graph, layer: Conv2D, name: str, x: Value) -> str:
    window = square(layer.params["weight"].shape[0], layer.stride, layer.padding)
    return _convolution(graph, layer, name, x, window)


def general_conv2d(graph: Graph, layer: GeneralConv2D, name: str, x: Value) -> str:
    window = layer.window(x.shape)
    return _convolution(graph, layer, name, x, window, dilations=window.dilation, group=layer.groups)


def _convolution(graph: Graph, layer: Layer, name: str, x: Value, window: Window, **more: Any) -> str:
    weight = graph.learned(layer.params["weight"].value, join(name, "weight"), (3, 2, 0, 1))  # -> (F, C, KH, KW)
    inputs = [x.name, weight, *bias(graph, layer, name)]
    sizes = {"kernel_shape": window.kernel, "strides": window.stride, "pads": _pads(window)}
    return graph.add("Conv", inputs, name, **sizes, **more)


def bias(graph: Graph, layer: Layer, name: str) -> list[str]:
    """The name of the layer's bias as the last input of a node, if it has one."""
    return [graph.learned(layer.params["bias"].value, join(name, "bias"))] if "bias" in layer.params else []


# ------------------------------------------------------------------------------ pools


def max_pool(graph: Graph, layer: MaxPool2D | GeneralMaxPool2D, name: str, x: Value) -> str:
    """ONNX pads with -inf too."""
    window = layer.window(x.shape)
    return graph.add("MaxPool", [x.name], name, kernel_shape=window.kernel, strides=window.stride, pads=_pads(window))


def avg_pool(graph: Graph, layer: AvgPool2D, name: str, x: Value) -> str:
    return _avg_pool(graph, name, x, layer.window(x.shape), (layer.padding, layer.padding))


def general_avg_pool(graph: Graph, layer: GeneralAvgPool2D, name: str, x: Value) -> str:
    counted = layer.padding if layer.count_include_pad else (0, 0)
    return _avg_pool(graph, name, x, layer.window(x.shape), counted)


def _avg_pool(graph: Graph, name: str, x: Value, window: Window, counted: tuple[int, int]) -> str:
    """The mean over the padded map, times KH KW / (the pixels that count) where that isn't 1 everywhere."""
    padded, (kh, kw) = x.name, window.kernel
    if any(pads := _pads(window)):
        top, left, bottom, right = pads
        around = graph.constant(np.array([0, 0, top, left, 0, 0, bottom, right], np.int64), join(name, "padding"))
        padded = graph.add("Pad", [padded, around], join(name, "padded"), mode="constant")
    more = shares(np.zeros(1), x.shape, window, counted)[..., 0] * (kh * kw)  # (OH, OW)
    options = {"kernel_shape": window.kernel, "strides": window.stride}
    if (more == 1).all():
        return graph.add("AveragePool", [padded], name, **options)
    mean = graph.add("AveragePool", [padded], join(name, "mean"), **options)
    return graph.add("Mul", [mean, graph.constant(more, join(name, "counted"))], name)


def adaptive_avg_pool(graph: Graph, layer: AdaptiveAvgPool2D, name: str, x: Value) -> str:
    """Bins of one size are a pool. Others are products: y = rows @ x @ columns, with 1/m or 0 in both matrices."""
    sides, out = x.shape[1:3], layer.size
    if not any(side % count for side, count in zip(sides, out, strict=True)):
        kernel = tuple(side // count for side, count in zip(sides, out, strict=True))
        return graph.add("AveragePool", [x.name], name, kernel_shape=kernel, strides=kernel)
    rows, columns = (_means(side, count) for side, count in zip(sides, out, strict=True))
    below = graph.add("MatMul", [graph.constant(rows, join(name, "rows")), x.name], join(name, "of_rows"))
    return graph.add("MatMul", [below, graph.constant(columns.T, join(name, "columns"))], name)


def _means(size: int, count: int) -> np.ndarray:
    """The matrix (count, size) that takes the mean of each bin along an axis."""
    matrix = np.zeros((count, size))
    for row, part in zip(matrix, bins(size, count), strict=True):
        row[part] = 1 / (part.stop - part.start)
    return matrix


def global_avg_pool(graph: Graph, layer: GlobalAvgPool, name: str, x: Value) -> str:
    return graph.add("Flatten", [graph.add("GlobalAveragePool", [x.name], join(name, "mean"))], name, axis=1)
