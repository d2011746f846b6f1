"""An ONNX graph as a file, checked by the `onnx` package before it appears."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minidl.errors import UsageError
from minidl.exchange.onnx_graph import LOGITS, Graph
from minidl.version import __version__

OPSET = 17
IR_VERSION = 8  # the one that opset 17 came with: every runtime that knows the opset reads it
BATCH = "batch"  # the name of the axis that may have any length


def import_onnx() -> Any:
    """The package `onnx`. Raises UsageError with the command that installs it."""
    try:
        import onnx
    except ImportError:
        raise UsageError("ONNX needs the package onnx: pip install 'minidl[onnx]'") from None
    return onnx


def write_onnx(path: Path, graph: Graph, name: str, metadata: Mapping[str, str]) -> None:
    """Writes `graph`, called `name`, to the new file `path`: the same bytes each time.

    onnx.checker reads all of it before but the weights, of which it sees the shapes (half a gigabyte would take it
    ten seconds and two gigabytes more). What it objects to is a mistake of minidl.
    """
    onnx = import_onnx()
    onnx.checker.check_model(_model(onnx, graph, name, metadata, weights=False), full_check=True)
    path.write_bytes(_model(onnx, graph, name, metadata).SerializeToString(deterministic=True))


def _model(onnx: Any, graph: Graph, name: str, metadata: Mapping[str, str], weights: bool = True) -> Any:
    """The model as a protobuf. Without `weights`, arrays of floats are inputs of the same shape."""
    helper = onnx.helper
    inputs = {graph.input: [BATCH, *graph.in_shape]}
    arrays = dict(graph.arrays)
    if not weights:
        inputs |= {key: arrays.pop(key).shape for key, a in graph.arrays.items() if a.dtype.kind == "f"}
    nodes = [helper.make_node(n.op, n.inputs, [n.output], name=n.output, **n.options) for n in graph.nodes]
    values = [
        [helper.make_tensor_value_info(key, onnx.TensorProto.FLOAT, shape) for key, shape in shapes.items()]
        for shapes in (inputs, {LOGITS: [BATCH, *graph.out_shape]})
    ]
    model = helper.make_model(
        helper.make_graph(nodes, name, *values),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="minidl",
        producer_version=__version__,
    )
    for key, a in arrays.items():  # in place: `make_graph` and `make_model` would each copy half a gigabyte
        kind = helper.np_dtype_to_tensor_dtype(a.dtype)
        model.graph.initializer.add(
            name=key, data_type=kind, dims=a.shape, raw_data=a.astype(a.dtype.newbyteorder("<"), copy=False).tobytes()
        )
    helper.set_model_props(model, dict(sorted(metadata.items())))
    return model
