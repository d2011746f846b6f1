"""The summary is the paper's tables, and its memory what a real training step allocates."""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import minidl
import models
from minidl.diagnostics.cost import training_memory
from minidl.diagnostics.summary import summary
from minidl.errors import ShapeError, UsageError
from minidl.layers import (
    TRAIN,
    AdaptiveAvgPool2D,
    AvgPool2D,
    Concat,
    Conv2D,
    Dropout,
    Flatten,
    GeneralAvgPool2D,
    GeneralConv2D,
    GeneralMaxPool2D,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2D,
    ReLU,
    Sequential,
    Sigmoid,
    SiLU,
    Tanh,
)
from minidl.losses import SideHeads
from minidl.optim import Adam
from minidl.text.columns import align
from tests.examples import leaf_names
from tests.models.narrow import narrow
from tests.models.test_resnet import thin

SMALL = Sequential({"conv": Conv2D(3, 5, 3, stride=2), "flat": Flatten(), "fc": Linear(5 * 3 * 2, 4)})


def train_step(model, batch, size=64):
    """One real step on a batch that was there before; returns nothing that lives on."""
    x = np.zeros((batch, size, size, 3), np.float32)
    optimizer = Adam(model.named_parameters(), 1e-3)
    logits, cache = model.forward(x, TRAIN.at_step(0))
    _, dlogits = SideHeads()(logits, np.zeros(batch, int))
    model.backward(dlogits, cache, need_dx=False)
    optimizer.step()


def peak_resident():
    """Of this process; ru_maxrss would begin with that of the process that started it."""
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(("name", "count"), [("baseline", 472_296), ("refined", 568_000), ("three-module", 523_472)])
def test_the_total_is_the_papers_number_of_parameters(name, count):
    result = summary(models.build(name), (64, 64, 3))
    assert result.parameters == count == sum(row.parameters for row in result.rows if row.is_leaf)
    assert f"{count:,}" in str(result)


def test_the_blocks_are_the_rows_of_the_papers_tables():
    lines = str(summary(models.build("refined"), (64, 64, 3), depth=1)).splitlines()
    assert [line.split()[0] for line in lines[1:-2]] == list(models.build("refined").layers)
    for name, size in {"stem": "62x62x128", "pool1": "30x30x128", "pool2": "16x16x128", "pool3": "8x8x256"}.items():
        assert any(line.startswith(name) and f" {size} " in line for line in lines)


def test_every_leaf_has_a_row_in_forward_order():
    model = models.build("refined", dropout=0.4)
    leaves = [row for row in summary(model, (64, 64, 3)).rows if row.is_leaf]
    assert [row.path for row in leaves] == leaf_names(model)
    table = str(summary(model, (64, 64, 3))).splitlines()
    assert [line.split()[0] for line in table[1:-2]] == leaf_names(model)


def test_multiply_adds_are_outputs_times_weights_that_each_one_sums():
    conv, flat, fc = (row.multiply_adds for row in summary(SMALL, (8, 6, 3)).rows[1:])
    assert (conv, flat, fc) == (3 * 2 * 5 * 3 * 3 * 3, 0, 30 * 4)
    assert summary(SMALL, (7, 8, 6, 3)).multiply_adds == conv + fc  # of one image, whatever the batch


def test_a_filter_of_a_group_sums_the_groups_channels():
    conv = GeneralConv2D(32, 64, (3, 1), groups=8)  # (3, 1, 4, 64) weights, on 6 x 8 pixels
    assert summary(conv, (8, 8, 32)).multiply_adds == 6 * 8 * 64 * (3 * 1 * 4)


def test_the_refined_net_takes_239_million_operations_an_image():
    assert 2 * summary(models.build("refined"), (64, 64, 3)).multiply_adds == pytest.approx(239e6, rel=2e-3)


def test_blocks_add_up_what_is_in_them():
    rows = summary(models.build("refined"), (64, 64, 3)).rows
    by_path = {row.path: row for row in rows}
    for quantity in ("parameters", "multiply_adds"):
        inside = [getattr(row, quantity) for row in rows if row.is_leaf and row.path.startswith("inception1.")]
        assert getattr(by_path["inception1"], quantity) == sum(inside) > 0


def test_an_input_without_a_batch_axis_is_a_batch_of_one():
    assert summary(SMALL, (8, 6, 3)) == summary(SMALL, (1, 8, 6, 3))
    assert summary(SMALL, (8, 6, 3)).batch_size == 1


def test_a_block_of_a_network_can_be_summarized_on_its_own():
    module = models.build("refined").layers["inception2"]
    assert summary(module, (16, 16, 128)).rows[0].out_shape == (16, 16, 128)


def test_an_input_that_does_not_fit_is_refused_by_the_layer_it_does_not_fit():
    with pytest.raises(ShapeError, match=r"fc \(Linear\)"):
        summary(SMALL, (9, 9, 3))


@pytest.mark.parametrize("shape", [64, (None, 64, 64, 3), (64.0, 64, 3), "64x64"])
def test_what_is_no_shape_is_said(shape):
    with pytest.raises(UsageError, match="^summary: input_shape is .*must be whole numbers"):
        summary(SMALL, shape)


def test_an_array_that_several_layers_keep_counts_once():
    model = Concat([{"a": Conv2D(3, 2, 1, bias=False)}, {"b": Conv2D(3, 2, 1, bias=False)}])
    stacked = Sequential([Conv2D(1, 3, 1, bias=False), model])
    assert training_memory(stacked, (2, 4, 4, 1)).caches == 4 * 2 * 4 * 4 * (3 + 4)  # their input, and y


@pytest.mark.parametrize(
    ("layer", "kept"),
    [(ReLU(), 96), (LeakyReLU(), 96), (SiLU(), 4 * 96), (MaxPool2D(2), 24), (Dropout(0.4), 4 * 96), (AvgPool2D(2), 0),
     (Flatten(), 0), (GeneralMaxPool2D(2, 3, ceil_mode=True), 24), (GeneralAvgPool2D(2), 0),
     (AdaptiveAvgPool2D(1), 0), (GeneralConv2D(3, 3, 1, groups=3), 4 * 96), (Sigmoid(), 0), (Tanh(), 0),
     (Flatten(channels_first=True), 0)],
)  # fmt: skip
def test_a_cache_is_a_mask_an_index_its_input_its_output_or_nothing(layer, kept):
    conv = Conv2D(1, 3, 1)  # its output is not kept by the layer after it
    out = 4 * np.prod(Sequential([conv, layer]).out_shape((2, 4, 4, 1)))
    assert training_memory(Sequential([conv, layer]), (2, 4, 4, 1)).caches == kept + out


class OnHalf(Layer):
    """A user's own container: its body works on half of the channels."""

    def __init__(self, body, cut):
        self.body, self.cut = body, cut

    def out_shape(self, in_shape):
        return in_shape

    def forward(self, x, ctx):
        half, other = self.cut(x)
        y, cache = ctx.run("body", self.body, half)
        return np.concatenate([y, other], axis=-1), cache

    def backward(self, dy, cache, need_dx=True):
        dhalf, other = self.cut(dy)
        return np.concatenate([self.body.backward(dhalf, cache), other], axis=-1)


@pytest.mark.parametrize(
    "cut",
    [
        lambda x: (x[..., :4], x[..., 4:]),
        lambda x: np.split(x, 2, axis=-1),
        lambda x: (np.ascontiguousarray(x[..., :4]), x[..., 4:]),
    ],
    ids=["slices", "split", "contiguous"],
)
def test_a_container_may_cut_its_input_as_it_likes(cut):
    model = Sequential({"stem": Conv2D(3, 8, 3), "half": OnHalf(Sequential({"conv": Conv2D(4, 4, 1)}), cut)})
    found = summary(model, (2, 8, 8, 3))
    assert [row.path for row in found.rows] == ["", "stem", "half", "half.body", "half.body.conv"]
    assert found.memory.caches >= 4 * 2 * 6 * 6 * 8  # the output of half, at least


def test_double_precision_takes_twice_the_memory():
    single, double = (training_memory(models.build("convnet", dtype=t), (4, 32, 32, 3)) for t in ("f4", "f8"))
    assert double.state == 2 * single.state
    assert 1.7 < double.caches / single.caches < 2  # masks and indices stay bytes


def test_two_branches_gradients_and_their_sum_are_alive_at_once():
    model = Concat([{"a": Conv2D(8, 1, 1, bias=False)}, {"b": Conv2D(8, 1, 1, bias=False)}])
    memory = training_memory(model, (1, 4, 4, 8))
    pixels, number = 16, 4
    assert memory.state == 4 * (8 + 8) * number
    assert memory.arrays - memory.state == pixels * number * (2 + 3 * 8)  # dy, and dx three times


NETWORKS = {
    "refined": (lambda: models.build("refined", dropout=0.4), 8),
    "convnet": (lambda: models.build("convnet", dropout=0.4), 32),
    "convnet with SiLU": (lambda: models.build("convnet", activation="silu"), 32),
    "a thin resnet18": (lambda: thin(filters=16, dtype=np.float32), 8),
    "a narrow resnext50": (lambda: narrow("resnext50"), 16),
    "a narrow vgg16": (lambda: narrow("vgg16", dropout=0.5), 32),
    "a narrow googlenet": (lambda: narrow("googlenet", dropout=0.4), 64),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_counted_arrays_are_those_a_real_step_allocates(name):
    build, batch = NETWORKS[name]
    model = build()
    parameters = sum(p.value.nbytes + p.grad.nbytes for p in model.named_parameters().values())
    tracemalloc.start()
    try:
        train_step(model, batch)
        peak = tracemalloc.get_traced_memory()[1] + parameters
    finally:
        tracemalloc.stop()
    workspaces = 12e6  # columns of a convolution: at most 8 MB, and small change
    counted = training_memory(model, (batch, 64, 64, 3)).arrays
    assert 0.97 * counted < peak < 1.03 * counted + workspaces


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is measured as Linux counts it")
@pytest.mark.parametrize("engine", ["plain", "fused"])
def test_the_resident_memory_is_within_a_fifth_of_a_real_trainings(engine):
    code = f"""if True:
        import models
        from minidl.engine import fuse
        from tests.diagnostics.test_summary import peak_resident, train_step
        model = models.build("refined", dropout=0.4)
        model = fuse(model, threads=2) if {engine == "fused"} else model
        before = peak_resident()
        for _ in range(3):
            train_step(model, 32)
        print(peak_resident() - before)
    """
    root = Path(__file__).parents[2]
    python = [sys.executable, "-c", code]
    grown = int(subprocess.check_output(python, cwd=root, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"}))
    memory = training_memory(models.build("refined"), (32, 64, 64, 3))
    assert (memory.fused(threads=2) if engine == "fused" else memory.resident) == pytest.approx(grown, rel=0.2)


def test_columns_are_aligned():
    assert align([("a", "b"), ("long", "1")], left=1) == "a     b\nlong  1"


def test_it_is_public():
    assert minidl.summary is summary


def test_a_long_cell_widens_no_other_line_and_no_cell_breaks_a_line():
    lines = align([("a", "b"), ("x" * 4000, "1"), ("c\nd", "2")], left=1).splitlines()
    assert [len(line) for line in lines] == [83, 4003, 83] and lines[2].startswith(r"c\nd ")
