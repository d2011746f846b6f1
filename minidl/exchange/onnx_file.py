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

    onnx.checker then reads the file, with the shapes of all values; what it objects to is a mistake of minidl.
    """
    onnx = import_onnx()
    path.write_bytes(_model(onnx, graph, name, metadata).SerializeToString(deterministic=True))
    onnx.checker.check_model(str(path), full_check=True)


def _model(onnx: Any, graph: Graph, name: str, metadata: Mapping[str, str]) -> Any:
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    content = helper.make_graph(
        [helper.make_node(n.op, n.inputs, [n.output], name=n.output, **n.options) for n in graph.nodes],
        name,
        [helper.make_tensor_value_info(graph.input, float32, [BATCH, *graph.in_shape])],
        [helper.make_tensor_value_info(LOGITS, float32, [BATCH, *graph.out_shape])],
        [onnx.numpy_helper.from_array(a, key) for key, a in graph.arrays.items()],
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(
        content, opset_imports=opset, ir_version=IR_VERSION, producer_name="minidl", producer_version=__version__
    )
    helper.set_model_props(model, dict(sorted(metadata.items())))
    return model
