"""How many launches a training step makes, what bounds it, and that the page on it says so."""

from collections import Counter

import numpy as np
import pytest

import models
from benchmarks import gpu_floor
from benchmarks.cli import RESULTS
from benchmarks.gpu_floor import Floor, Step
from minidl.backend.arrays import to_device
from minidl.kernels import launch
from minidl.layers import Conv2D, Flatten, Linear, ReLU, Sequential
from tests.cuda.host import signatures
from tests.cuda.launches import KERNEL, Work, count_only, training_step
from tests.cuda.traffic import Traffic
from tests.cuda_standin import RECORD, install
from tests.gpu.test_strict_cupy import trainer


@pytest.fixture(scope="module")
def refined():
    return gpu_floor.step("refined", 2, side=32)


COUNTED = {
    "a sum of arrays": (lambda x, xp: x + x, {"add": 1}, 3),
    "a number first": (lambda x, xp: 2 - x, {"sub": 1}, 2),
    "in place": (lambda x, xp: x.__iadd__(1), {"add": 1}, 2),
    "a sign": (lambda x, xp: -x, {"neg": 1}, 2),
    "a function with out": (lambda x, xp: xp.sqrt(x, out=x), {"sqrt": 1}, 2),
    "a product": (lambda x, xp: x @ x.T, {"matmul": 1}, 3),
    "an assignment": (lambda x, xp: x.__setitem__(slice(None), x), {"assignment": 1}, 2),
    "a copy that a view can't be": (lambda x, xp: x.T.reshape(-1), {"reshape": 1}, 2),
    "views": (lambda x, xp: (x.T, x[:, 1], x.reshape(-1), xp.ascontiguousarray(x)), {}, 0),
    "memory that nobody has written": (lambda x, xp: xp.empty((4, 4)), {}, 0),
}


@pytest.mark.parametrize("what", COUNTED)
def test_a_launch_and_the_arrays_it_touches_are_counted(what, monkeypatch):
    act, launches, arrays = COUNTED[what]
    xp = install(monkeypatch)
    x = xp.asarray(np.ones((4, 4)))
    RECORD.clear()
    act(x, xp)
    assert RECORD.launches == launches
    assert RECORD.bytes.total() == arrays * x.nbytes


def test_the_parts_are_the_trainers_step(refined, monkeypatch):
    t = trainer(np.float32, install(monkeypatch, count_only))
    x, y = (to_device(a, t.xp) for a in next(iter(t.train.epoch(0))))
    RECORD.clear()
    t.train_step(x, y)
    assert refined.whole.launches == RECORD.launches


def test_every_kernel_has_its_place_in_a_step(refined):
    kernels = {name.removeprefix(KERNEL) for name in refined.whole.launches if name.startswith(KERNEL)}
    others = {"leaky_relu", "leaky_relu_dx", "silu", "silu_dx"}  # activations that the refined net doesn't use
    others |= {"sigmoid", "sigmoid_dx", "tanh_forward", "tanh_dx"}
    others |= {"general_im2col", "general_col2im", "adaptive_avg_pool", "adaptive_avg_pool_dx"}  # and other windows
    assert kernels == set(signatures(launch.source("float"))) - others


def test_launches_grow_with_the_batch_only_by_blocks_of_columns(refined, monkeypatch):
    monkeypatch.setattr("minidl.kernels.cuda.PATCH_BYTES", 1)
    parts = training_step(models.build("refined", 5, dropout=0.3), (2, 32, 32, 3))
    more = sum((work.launches for work in parts.values()), Counter()) - refined.whole.launches
    assert more.keys() == {KERNEL + "im2col", KERNEL + "col2im", "matmul", "add"}  # add: dw of another block


def test_the_page_says_what_is_counted(refined):
    text = (RESULTS / "gpu_floor.md").read_text(encoding="utf-8")
    assert gpu_floor.launch_table(refined) in text
    assert "Computed, not measured on a GPU" in text


def test_adam_reads_and_writes_three_arrays_and_reads_the_gradient():
    model = Sequential([Linear(3, 5, bias=False)])
    assert training_step(model, (2, 3))["Adam"] == Work(
        Counter({KERNEL + "adam": 1}), Counter({KERNEL + "adam": 420})
    )


def test_the_arithmetic_is_that_of_the_products_without_the_first_dx():
    model = Sequential([Conv2D(2, 3, 3, padding=1), ReLU(), Flatten(), Linear(48, 7)])
    convolution, linear = 16 * 3 * 3 * 2 * 3, 48 * 7  # multiply-adds per image
    assert gpu_floor.flops(model, (5, 4, 4, 2)) == 5 * 2 * (2 * convolution + 3 * linear)


WORK = Work(Counter({"matmul": 2, KERNEL + "relu": 1, "add": 1}), Counter({KERNEL + "relu": 3 * 10**9}))


def test_the_largest_of_three_is_the_floor():
    floor = gpu_floor.floor(Step("refined", 128, 10**12, {"all": WORK}), 10e12, 3e12, 5e-6)
    assert floor == pytest.approx(Floor(arithmetic=0.1, memory=1e-3, launches=2e-5))
    assert floor.largest == "arithmetic"


def test_the_page_of_a_step():
    seen = [("layer", [Traffic("relu", 100, 110, 60, 50), Traffic("relu", 100, 105, 40, 20)])]
    text = gpu_floor.page([Step("refined", 128, 10**12, {"Adam": WORK})], seen)
    assert "| Adam | 1 | 2 | 1 | 4 |" in text
    assert "| `relu` | 1 | 3,000.0 | 1.10 | 2.00 |" in text
    assert "| RTX 4060 | refined | 128 | FP32 | 66.18 | 11.03 | 0.01 to 0.02 | arithmetic | 1,934 |" in text
    assert max(len(line) for line in text.splitlines() if line[:1] not in "|") <= 118
