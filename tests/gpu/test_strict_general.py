"""The layers of general windows on the strict stand-in for CuPy: NumPy's numbers, nothing converted silently."""

import numpy as np
import pytest

from minidl.backend.arrays import to_device, to_host
from minidl.layers import INFER, PROBE, TRAIN, Rule
from minidl.layers.convert import convert
from tests.cuda_standin import KERNEL_SETS, RECORD, install
from tests.engine.test_general_layers import company

RNG = np.random.default_rng(0)


@pytest.fixture(params=KERNEL_SETS)
def xp(request, monkeypatch):
    yield install(monkeypatch, request.param)
    assert not RECORD.refusals


def assert_close(found, expected):
    np.testing.assert_allclose(to_host(found), expected, rtol=1e-10, atol=1e-10)


def test_a_step_an_inference_and_a_projection_are_those_of_numpy(xp):
    x, dy, host = RNG.normal(size=(3, 13, 12, 3)), RNG.normal(size=(3, 5)), company()
    there = convert(host, xp=xp)
    x_there, dy_there = to_device(x, xp), to_device(dy, xp)
    for ctx in (INFER, PROBE, TRAIN.at_step(0)):
        (y, cache), (y_there, cache_there) = host.forward(x, ctx), there.forward(x_there, ctx)
        if ctx is PROBE:
            for rule in (Rule(), Rule("guided"), Rule("deconv", unpool="max")):
                found = there.project(dy_there, cache_there, rule)
                assert_close(found, host.project(dy, cache, rule))
        if ctx is not INFER:
            dx, dx_there = host.backward(dy, cache), there.backward(dy_there, cache_there)
            assert_close(dx_there, dx)
        assert_close(y_there, y)
    for name, p in host.named_parameters().items():
        assert_close(there.named_parameters()[name].grad, p.grad)
    assert_close(there["grouped"].full_weight(), host["grouped"].full_weight())
