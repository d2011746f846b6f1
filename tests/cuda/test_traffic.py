"""Kernels are bound by memory: each loads its inputs and stores its outputs about once, in whole sectors."""

import numpy as np
import pytest

from minidl.kernels import cuda, launch
from minidl.kernels.general import cuda as general
from minidl.kernels.general.window import Window
from tests.cuda.host import signatures
from tests.cuda.traffic import counted, refined_layers

pytestmark = pytest.mark.compiler


def test_no_kernel_moves_twice_what_it_must():
    code = launch.source("float")
    with counted(code) as launches:
        for _, call in refined_layers(images=1):
            call()
        x = np.random.default_rng(0).normal(size=(1, 16, 16, 64)).astype(np.float32)  # activations of other nets
        _, mask = cuda.leaky_relu(x, 0.1)
        cuda.leaky_relu_dx(x, mask, 0.1)
        cuda.silu(x)
        cuda.silu_dx(x, x)
        cuda.sigmoid_dx(cuda.sigmoid(x), x)
        cuda.tanh_dx(cuda.tanh(x), x)
        window = Window((3, 3), (1, 1), ((1, 1), (1, 1)))  # other windows: two groups, and bins that share lines
        general.conv2d(x, np.ones((3, 3, 32, 64), np.float32), window)
        general.conv2d_dx(x, np.ones((3, 3, 32, 64), np.float32), x.shape, window)
        general.adaptive_avg_pool_dx(general.adaptive_avg_pool(x, (7, 7)), x.shape)
    assert {t.kernel for t in launches} == set(signatures(code))
    for t in launches:
        assert t.excess <= 1.25, t
        assert t.waste <= 1.9, t  # the stem's patches have 27 numbers, no whole number of sectors


@pytest.mark.parametrize(
    ("measure", "old", "new"),
    [
        ("excess", "real value = x[i];", "real value = x[i] + 0 * x[i * 7919LL % threads];"),  # a scattered load
        ("waste", "thread_index();", "thread_index() % 62 * (threads / 62) + thread_index() / 62;"),  # far neighbours
    ],
)
def test_a_planted_waste_is_seen(measure, old, new):
    code = launch.source("float")
    assert old in code
    x = np.ones((62, 62, 128), np.float32)
    with counted(code.replace(old, new)) as launches:
        cuda.relu(x)
    assert getattr(launches[0], measure) > 2
