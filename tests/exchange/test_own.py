"""What `save_onnx` says of arguments that don't fit."""

import numpy as np
import pytest

import minidl as md
from minidl.errors import UsageError
from minidl.exchange.onnx_walk import onnx_graph
from minidl.layers import Flatten, Linear, Sequential


@pytest.mark.parametrize(
    ("shape", "given", "line"),
    [
        (64, {}, "image_shape is 64: give"),
        ((4, 4.0, 3), {}, "image_shape is"),
        ((4, 4, 3), {"mean": [0.5] * 3, "std": [0] * 3}, r"std is \[0.0, 0.0, 0.0\]: each must be above 0"),
        ((4, 4, 3), {"mean": [0.5] * 3, "std": [1, 1]}, r"std has the shape \(2,\), and the images have 3 channels"),
        ((4, 4, 3), {"mean": "abc", "std": [1]}, "mean is 'abc'"),
        ((4, 4, 3), {"mean": 125, "std": 62}, r"mean is 125.0: of uint8 pixels it is in units of 255, from 0 to 1"),
        ((4,), {"mean": 0.5, "std": 1}, "mean and std are of the channels of images"),
        ((4, 4, 3), {"classes": ["a"]}, "1 names of classes, and the model has 3 outputs"),
        ((4, 4, 3), {"classes": "abc"}, "classes is 'abc': give a list of names"),
        ((4, 4, 3), {"classes": 3}, "classes is 3: give a list of names"),
        ((4, 4, 3), {"classes": [1, 2, 3]}, "classes must be names"),
    ],
)
def test_arguments_of_save_onnx_that_do_not_fit_are_named(shape, given, line, tmp_path):
    with pytest.raises(UsageError, match=f"save_onnx: {line}"):
        md.save_onnx(tmp_path / "net.onnx", md.ReLU(), shape, **given)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("axes", [2, 3, 4, 5])
def test_a_flatten_of_any_number_of_axes_keeps_the_order_of_minidl(axes):
    shape = (2, 3, 4, 5)[: axes - 1]
    graph = onnx_graph(Sequential(Flatten(), Linear(int(np.prod(shape)), 2, rng=0)), shape)
    turns = [node.options["perm"] for node in graph.nodes if node.op == "Transpose"]
    assert turns == ([(0, *range(2, axes), 1)] if axes > 2 else [])
