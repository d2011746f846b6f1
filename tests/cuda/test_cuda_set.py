"""The CUDA kernels as a set: the reference's functions, and what is refused before a kernel is launched."""

import inspect
from unittest.mock import patch

import numpy as np
import pytest

from minidl.errors import ShapeError, UsageError
from minidl.kernels import cuda, kernels_for, launch, reference
from tests.kernels.test_kernels import BUILDING_BLOCKS, KERNELS, convolution_by, public_functions


def test_the_set_has_the_references_functions_and_signatures():
    public = public_functions(cuda)
    assert set(public) == KERNELS | {"im2col", "col2im"} <= KERNELS | BUILDING_BLOCKS
    for name, function in public.items():
        assert inspect.signature(function) == inspect.signature(getattr(reference, name)), name


def test_it_serves_cupys_arrays():
    assert kernels_for(type("ndarray", (), {"__module__": "cupy"})()) is cuda


def test_a_1x1_convolution_launches_nothing_but_its_product():
    x, w, dy = np.ones((2, 3, 3, 4)), np.ones((1, 1, 4, 5)), np.ones((2, 3, 3, 5))
    with patch.object(launch, "kernel", None):
        convolution_by(cuda, x, w, dy, 1, 0)


def test_an_array_that_an_int_cannot_index_is_refused():
    most = 2**31 - 256
    huge = np.broadcast_to(np.float32(0), (most + 1,))
    with pytest.raises(ShapeError, match=r"^kernel relu: .* has 2147483393 numbers, .*: choose a smaller batch$"):
        launch.launch("relu", (1,), huge, huge)


def test_other_dtypes_are_refused():
    with pytest.raises(UsageError, match="no GPU kernel computes with int64: choose float32 or float64"):
        cuda.relu(np.arange(3))
