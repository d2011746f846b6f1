"""Batch normalization multiplied into the convolution before it, in an ONNX graph."""

from __future__ import annotations

from collections import Counter

import numpy as np

from minidl.engine.blocks.batchnorm import fold_batch_norm
from minidl.exchange.onnx_graph import Graph


def fold_batch_norms(graph: Graph) -> None:
    """Multiplies every batch normalization that follows a convolution (or Linear) into its weights, in place.

        y = (x @ w + b) scale + shift  =  x @ (w scale) + (b scale + shift)

    The products are computed in float64 and then rounded once. A normalization after anything else stays.
    """
    makers = {node.output: node for node in graph.nodes}
    readers = Counter(name for node in graph.nodes for name in node.inputs)
    for norm in [node for node in graph.nodes if node.op == "BatchNormalization"]:
        maker = makers.get(norm.inputs[0])
        if maker is None or maker.op not in ("Conv", "Gemm") or readers[maker.output] > 1:
            continue
        gamma, beta, mean, var = (graph.arrays[name].astype(np.float64) for name in norm.inputs[1:])
        scale, shift = fold_batch_norm(gamma, beta, mean, var, norm.options["epsilon"])
        _, weight, *bias = maker.inputs
        w = graph.arrays[weight].astype(np.float64)
        w *= scale.reshape(-1, *[1] * (w.ndim - 1))  # (F,) -> (F, 1, 1, 1)
        b = shift + (graph.arrays[bias[0]] * scale if bias else 0)
        stem = weight.removesuffix(".weight")
        for name in (weight, *bias):
            if readers[name] == 1:  # else a layer in another place needs it as it was
                del graph.arrays[name]
        maker.inputs[1:] = [graph.constant(w, weight), graph.constant(b, f"{stem}.bias")]
        maker.output = norm.output
        graph.nodes.remove(norm)
    used = {name for node in graph.nodes for name in node.inputs}
    graph.arrays = {name: array for name, array in graph.arrays.items() if name in used}
