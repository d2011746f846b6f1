"""A trace shows what flows through a model, and leaves the model as it was."""

import numpy as np
import pytest

import minidl
import models
from minidl.diagnostics.trace import trace
from minidl.errors import ShapeError
from minidl.layers import TRAIN, BatchNorm2D, Conv2D, Dropout, Layer, Linear, ReLU, Sequential
from minidl.losses import softmax_cross_entropy
from tests.examples import EXAMPLES, example, leaf_names

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 32, 32, 3)).astype(np.float32)
LABELS = np.arange(6)


def test_rows_are_the_leaves_in_forward_order_with_their_output_shapes():
    model = models.build("refined", 10, dropout=0.4)
    rows = trace(model, X, LABELS)
    assert [row.path for row in rows] == leaf_names(model)
    by_path = {row.path: row for row in rows}
    assert by_path["stem.conv"].shape == (6, 30, 30, 128) and by_path["fc"].shape == (6, 10)


def test_the_numbers_are_those_of_a_hand_made_pass():
    conv, bn, relu, fc = Conv2D(3, 4, 32, rng=0), BatchNorm2D(4), ReLU(), Linear(4, 7, rng=1)
    squeeze = minidl.layers.Flatten()
    rows = trace(Sequential([conv, bn, relu, squeeze, fc]), X, LABELS)

    values, caches = [X], []
    for layer in (conv, bn, relu, squeeze, fc):
        y, cache = layer.forward(values[-1], TRAIN)
        values.append(y)
        caches.append(cache)
    dy = softmax_cross_entropy(values[-1], LABELS)[1]
    layers = [conv, bn, relu, squeeze, fc]
    for row, layer, y, cache in reversed(list(zip(rows, layers, values[1:], caches, strict=True))):
        for seen, a in ((row.output, y), (row.gradient, dy)):
            expected = (a.mean(), a.std(), (a == 0).mean())
            assert (seen.mean, seen.std, seen.zeros) == pytest.approx(expected, rel=1e-5, abs=1e-9)
        dy = layer.input_grad(dy, cache)
    assert rows[2].output.zeros > 0.2  # ReLU's zeros are seen


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_the_model_is_left_as_it_was(name):
    layer, x, _ = example(name)
    rng = np.random.default_rng(1)
    for p in layer.named_parameters().values():
        p.grad[...] = rng.normal(size=p.grad.shape)

    def arrays():
        found = {f"{n}/{k}": getattr(p, k) for n, p in layer.named_parameters().items() for k in ("value", "grad")}
        return found | layer.named_buffers()

    before, copies = arrays(), {name: a.copy() for name, a in arrays().items()}
    names = list(layer.named_layers())
    trace(layer, x)
    for key, a in arrays().items():
        assert a is before[key]
        np.testing.assert_array_equal(a, copies[key])
    assert list(layer.named_layers()) == names


def test_dropout_draws_the_mask_it_draws_in_training():
    model = Sequential({"block": Sequential({"dropout": Dropout(0.5)})})
    x = np.ones((4, 1000), np.float32)
    (row,) = trace(model, x)
    assert row.path == "block.dropout"
    assert row.output.zeros == (model.forward(x, TRAIN.at_step(0))[0] == 0).mean()


def test_a_part_of_a_network_is_a_model_of_its_own():
    block = models.build("refined").layers["inception2"]
    rows = trace(block, np.ones((2, 8, 8, 128), np.float32))
    assert rows[0].path == "b1.conv" == leaf_names(block)[0]


def test_without_labels_unit_noise_comes_back_the_same_in_every_run():
    model = models.build("convnet", 200)
    last = trace(model, X)[-1]
    assert last.gradient.std == pytest.approx(1, abs=0.1)
    assert trace(model, X) == trace(model, X)


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError):
        trace(models.build("convnet", 10), X, LABELS[:2])


def test_a_nan_is_shown():
    class Broken(Layer):
        def forward(self, x, ctx):
            return x * np.nan, None

        def input_grad(self, dy, cache):
            return dy

    assert "nan" in str(trace(Sequential([Broken()]), X))


def test_the_table_has_a_line_a_layer_and_aligned_columns():
    model = models.build("convnet", 10)
    lines = str(trace(model, X, LABELS)).splitlines()
    assert len(lines) == 1 + len(list(model.leaves()))
    assert len({len(line) for line in lines}) == 1
    assert lines[1].startswith("conv1") and "6x32x32x16" in lines[1]


def test_it_is_public():
    assert minidl.trace is trace
