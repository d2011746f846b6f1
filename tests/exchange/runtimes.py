"""What ONNX Runtime and the reference implementation of ONNX make of an exported model."""

import tempfile
from pathlib import Path

import numpy as np
import onnx.reference
import onnxruntime

from minidl.exchange.onnx_file import write_onnx
from minidl.exchange.onnx_fold import fold_batch_norms
from minidl.exchange.onnx_walk import onnx_graph


def onnxruntime_answer(content, feed):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: feed})[0]


def reference_answer(content, feed):
    evaluator = onnx.reference.ReferenceEvaluator(content)
    return evaluator.run(None, {evaluator.input_names[0]: feed})[0]


RUNTIMES = (onnxruntime_answer, reference_answer)


def exported(model, in_shape, fold=False, pixels=None):
    """The file's content."""
    graph = onnx_graph(model, in_shape, pixels)
    if fold:
        fold_batch_norms(graph)
    with tempfile.TemporaryDirectory() as folder:
        write_onnx(path := Path(folder) / "net.onnx", graph, "net", {})
        return path.read_bytes()


def to_first(x):
    """(N, H, W, C) -> (N, C, H, W), which ONNX has; of other arrays the same."""
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if x.ndim == 4 else x


def error(model, x, fold=False, pixels=None, runtimes=RUNTIMES, y=None):
    """The largest difference from minidl's answer, of the first image and of all, by the largest number."""
    content = exported(model, x.shape[1:], fold, pixels)
    y = to_first(model(x) if y is None else y)
    worst = max(abs(run(content, to_first(x[:n])) - y[:n]).max() for run in runtimes for n in (1, len(x)))
    return worst / (abs(y).max() or 1)
