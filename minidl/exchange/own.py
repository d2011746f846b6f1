"""ONNX files of networks of one's own, in Python."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index
from pathlib import Path
from typing import Any

import numpy as np

from minidl.data.loader import each_channel
from minidl.errors import ShapeError, UsageError
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

    Raises UsageError for an argument that doesn't fit and for layers that aren't minidl's own, ShapeError if the
    images don't fit, DataError if the file can't be written.
    """
    if not isinstance(model, Layer):
        raise UsageError(f"save_onnx(path, model, image_shape): got {type(model).__name__} for the model")
    if (mean is None) != (std is None):
        raise UsageError("mean and std go together: give both, or normalise the images before")
    shape = _image_shape(image_shape)
    pixels = None if mean is None else _pixels(mean, std, shape)
    names = None if classes is None else _names(classes, model.out_shape((1, *shape))[-1])
    import_onnx()
    graph = onnx_graph(model, shape, pixels)
    if fold_bn:
        fold_batch_norms(graph)
    with atomic(path) as temporary:
        write_onnx(temporary, graph, "model", {} if names is None else {"classes": to_json(names)})


def _image_shape(value: Any) -> tuple[int, ...]:
    shape = tuple(value) if isinstance(value, tuple | list | np.ndarray) else ()
    if not shape or not all(hasattr(n, "__index__") and n >= 1 for n in shape):
        raise UsageError(f"save_onnx: image_shape is {value!r:.60}: give (H, W, C), such as (64, 64, 3)")
    return tuple(index(n) for n in shape)


def _pixels(mean: Any, std: Any, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(mean, std) of each channel, (C,); one number stands for all channels."""
    if len(shape) != 3:
        raise UsageError(f"save_onnx: mean and std are of the channels of images, and image_shape is {shape}")
    try:
        return each_channel(mean, std, shape[-1], of_pixels=True)
    except (ShapeError, UsageError) as error:
        raise UsageError(f"save_onnx: {error}") from None


def _names(classes: Any, outputs: int) -> list[str]:
    """The names of the classes; UsageError unless there is one for each output."""
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        raise UsageError(f"save_onnx: classes is {classes!r:.60}: give a list of names")
    names = [*classes]
    if not all(isinstance(name, str) for name in names):
        raise UsageError("save_onnx: classes must be names, texts")
    if len(names) != outputs:
        raise UsageError(f"save_onnx: {len(names)} names of classes, and the model has {outputs} outputs")
    return names
