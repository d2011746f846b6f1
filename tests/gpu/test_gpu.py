"""minidl on a real GPU: every kernel, training and the visualizations give NumPy's results. `pytest -m gpu` runs it.

Without a GPU each test is skipped with the line that `train.py doctor` has for it. The bodies are those that run on
the host and on the stand-in; only the first tests run on the stand-in too, which shows that they can.
"""

import sys
from functools import cache, partial

import numpy as np
import pytest

from minidl.backend.doctor import cupy_problem
from tests.cuda import test_cuda_general as general_on_host
from tests.cuda import test_cuda_kernels as on_host
from tests.cuda.device import OnDevice, largest_difference
from tests.cuda_standin import RECORD, install, run_on_the_host
from tests.gpu import test_strict_cupy as strict
from tests.kernels.test_general import GENERAL_KERNELS
from tests.kernels.test_kernels import KERNELS, assert_close

FLOATS = (np.float32, np.float64)
no_gpu = cache(cupy_problem)


@pytest.fixture
def xp():
    """The real CuPy."""
    if reason := no_gpu():
        pytest.skip(reason)
    return sys.modules["cupy"]


STAND_IN = pytest.param("stand-in", marks=pytest.mark.compiler)
DEVICE = pytest.param("device", marks=pytest.mark.gpu)


@pytest.fixture(params=[STAND_IN, DEVICE])
def any_xp(request, monkeypatch):
    """The real CuPy, and what stands in for it."""
    if request.param == "device":
        yield request.getfixturevalue("xp")
        return
    yield install(monkeypatch, run_on_the_host)
    assert not RECORD.refusals


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", sorted(KERNELS))
def test_every_kernel_is_the_references(name, dtype, any_xp):
    assert largest_difference(name, dtype, any_xp) <= (1e-12 if dtype == np.float64 else 1e-5)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", sorted(GENERAL_KERNELS))
def test_every_kernel_of_general_windows_is_the_references(name, dtype, any_xp):
    assert largest_difference(name, dtype, any_xp, general=True) <= (1e-12 if dtype == np.float64 else 1e-5)


def about_the_same(a, b):
    """In the place of bit for bit: a GPU multiplies and adds in one rounding."""
    for x, y in zip(a, b, strict=True) if isinstance(a, tuple) else [(a, b)]:
        assert_close(x, y, y.dtype)


def ask_the_device(xp, monkeypatch):
    monkeypatch.setattr(on_host, "cuda", OnDevice(xp))
    for tests, name in ((on_host, "general"), (general_on_host, "cuda")):
        monkeypatch.setattr(tests, name, OnDevice(xp, general=True))
    for tests in (on_host, general_on_host):
        monkeypatch.setattr(tests, "assert_same", about_the_same)


@pytest.fixture
def kernels_there(any_xp, monkeypatch):
    """The host's tests of kernels ask the device."""
    ask_the_device(any_xp, monkeypatch)


def test_the_cases_that_show_planted_bugs_agree(kernels_there):
    on_host.everything_agrees()


# ------------------------------------------------------------- on the device alone

BODIES = {
    "max pool": on_host.test_max_pool_is_the_references_with_ties_nans_and_padding,
    "im2col, col2im": on_host.test_im2col_and_col2im_are_the_references,
    "relu": on_host.test_relu_is_the_references,
    "leaky relu": on_host.test_leaky_relu_is_the_references,
    "silu": on_host.test_silu_is_the_references,
    "sigmoid, tanh": on_host.test_sigmoid_and_tanh_are_the_references,
    "general im2col, col2im": general_on_host.test_im2col_and_col2im_are_the_references,
    "general convolution": general_on_host.test_convolution_is_the_references_in_blocks_of_any_size,
    "general max pool": general_on_host.test_max_pool_is_the_references_with_ties_nans_and_padding,
    "general average pool": general_on_host.test_average_pooling_is_the_references,
    "adaptive average pool": general_on_host.test_adaptive_pooling_is_the_references,
    **{
        f"unpooling, {overlap}": partial(on_host.test_unpooling_is_the_references, overlap)
        for overlap in ("sum", "last", "max")
    },
    **{f"channels, {n}": partial(on_host.test_any_number_of_channels_is_summed_over_lanes, n) for n in (1, 33, 257)},
}
ON_XP = {
    f"{name}, {dtype.__name__}": partial(body, dtype)
    for dtype in FLOATS
    for name, body in {
        "a training step": strict.test_a_training_step_changes_every_weight_as_on_numpy,
        "an evaluation": strict.test_an_evaluation_is_that_of_numpy,
        "a probe": strict.test_a_probe_finds_what_it_finds_on_numpy,
        "occlusion": strict.test_occlusion_is_that_of_numpy,
        "Grad-CAM": strict.test_grad_cam_is_that_of_numpy,
        "features": strict.test_features_are_those_of_numpy,
    }.items()
} | {
    "twenty steps": strict.test_twenty_steps_have_numpys_losses,
    "predictions": strict.test_predictions_are_those_of_numpy,
    "a trace": strict.test_a_trace_is_that_of_numpy,
    "a frozen start": strict.test_a_frozen_start_and_its_training_are_those_of_numpy,
    **{
        f"{rule.name}, {rule.bn}, {rule.unpool}": partial(
            strict.test_projections_are_those_of_numpy, rule, np.float64
        )
        for rule in strict.RULES
    },
}


@pytest.mark.gpu
@pytest.mark.parametrize("what", BODIES)
def test_a_kernel_is_the_references_over_random_geometry(what, xp, monkeypatch):
    ask_the_device(xp, monkeypatch)
    BODIES[what]()


@pytest.mark.gpu
@pytest.mark.parametrize("what", ON_XP)
def test_minidl_on_the_device_is_minidl_on_numpy(what, xp):
    ON_XP[what](xp)


@pytest.mark.gpu
def test_a_training_step_gives_the_same_bits_again(xp):
    runs = []
    for _ in range(2):
        t = strict.trainer(np.float32, xp)
        x, y = (xp.asarray(a) for a in next(iter(t.train.epoch(0))))
        t.train_step(x, y)
        runs.append({name: p.value.get() for name, p in t.model.named_parameters().items()})
    for name, value in runs[0].items():
        np.testing.assert_array_equal(value, runs[1][name])
