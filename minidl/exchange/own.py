"""ONNX files of networks of one's own, in Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from minidl.errors import UsageError
from minidl.exchange.onnx_file import import_onnx, write_onnx
from minidl.exchange.onnx_fold import fold_batch_norms
from minidl.exchange.onnx_walk import onnx_graph
from minidl.layers import Layer
from minidl.storage.files import atomic
from minidl.storage.metadata import to_json


def save_onnx(
    path: str | Path,
    model: Layer,
    image_shape: tuple[int, ...],
    *,
    fold_bn: bool = False,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    classes: Sequence[str] | None = None,
) -> None:
    """Writes `model` as it infers to an ONNX file (opset 17), atomically. It needs the package onnx.

    image_shape   (H, W, C) of one image; the file takes any number of them, as float32 (N, C, H, W), called "images",
                  and answers with "logits"
    fold_bn       batch normalization is multiplied into the convolutions before it
    mean, std     of each channel, from 0 to 1: the input is then "pixels" from 0 to 255, which the file normalises
    classes       names of the outputs, kept in the file's metadata as JSON

    Raises UsageError for layers that aren't minidl's own, ShapeError if the images don't fit, DataError if the file
    can't be written.
    """
    if not isinstance(model, Layer):
        raise UsageError(f"save_onnx(path, model, image_shape): got {type(model).__name__} for the model")
    if (mean is None) != (std is None):
        raise UsageError("mean and std go together: give both, or normalise the images before")
    import_onnx()
    graph = onnx_graph(model, tuple(image_shape), None if mean is None else (mean, std))
    if fold_bn:
        fold_batch_norms(graph)
    with atomic(path) as temporary:
        write_onnx(temporary, graph, "model", {} if classes is None else {"classes": to_json([*classes])})
