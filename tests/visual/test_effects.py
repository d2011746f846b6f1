"""What a score loses without a unit, against what the network does without it."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import minidl as md
import models
from minidl.errors import UsageError
from minidl.layers import INFER, PROBE, Conv2D, GlobalAvgPool, Layer, Linear, ReLU, Sequential
from minidl.visual.connections import unit_layers
from minidl.visual.effects import _Notes, ablated, first_order
from tests.strategies import randomized
from tests.visual.test_truncate import nested, refined

EXAMPLES = Path(__file__).parents[2] / "examples"


def residual():
    return md.convert(runpy.run_path(str(EXAMPLES / "resnet.py"))["build"](4, (4, 6)), dtype=np.float64)


def own():
    model = runpy.run_path(str(EXAMPLES / "custom_layer.py"))["build"](4, np.float64)
    model["block"].gate.value[...] = 0.7
    return model


BUILT = {
    "refined": (refined, (3, 32, 32, 3)),
    "convnet": (lambda: models.build("convnet", 4, dropout=0.3, dtype=np.float64), (3, 9, 8, 3)),
    "nested": (nested, (3, 7, 8, 3)),
    "residual": (residual, (3, 17, 17, 3)),
    "own": (own, (3, 17, 17, 3)),
}


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.slow) if name == "refined" else name for name in BUILT])
def model_and_x(request):
    build, shape = BUILT[request.param]
    rng = np.random.default_rng(0)
    return randomized(build(), rng), rng.normal(size=shape)


def scores(n, classes, seed=1):
    return np.random.default_rng(seed).normal(size=(n, classes))


class Scaled(Layer):
    """In the place of a layer: its output with one channel scaled."""

    def __init__(self, inner, unit, factor):
        self.inner, self.unit, self.factor = inner, unit, factor

    def out_shape(self, in_shape):
        return self.inner.out_shape(in_shape)

    def forward(self, x, ctx):
        y = self.inner.forward(x, ctx)[0].copy()
        y[..., self.unit] *= self.factor
        return y, None


def scaled(model, layer, unit, factor, x):
    """The logits of the model if a channel of one layer is multiplied by `factor`."""
    inner = model[layer]

    def exchanged(at):
        if at is inner:
            return Scaled(inner, unit, factor)
        children = at.children()
        return md.layers.tree.rebuilt(at, {k: exchanged(c) for k, c in children.items()}) if children else at

    return exchanged(model).forward(x, INFER)[0]


# -------------------------------------------------------------------------------------- first order


def test_the_first_order_is_the_slope_at_the_whole_map(model_and_x):
    model, x = model_and_x
    layers, s, eps = unit_layers(model, x.shape[1:]), scores(len(x), model(x).shape[1]), 1e-6
    found = first_order(model, layers, x, [s])
    assert list(found) == layers
    for name, changes in list(found.items())[::3]:
        for unit in range(0, changes.shape[-1], 5):
            slope = (scaled(model, name, unit, 1 + eps, x) - scaled(model, name, unit, 1 - eps, x)) / (2 * eps)
            np.testing.assert_allclose(
                changes[0, :, unit], -(slope * s).sum(axis=1), rtol=1e-4, atol=1e-6, err_msg=name
            )


@pytest.mark.parametrize(
    ("name", "layer"),
    [("refined", "inception4.b3"), ("convnet", "relu3"), ("residual", "block2b"), ("own", "block"), ("nested", "fc")],
)
def test_it_is_exact_where_the_rest_of_the_network_is_linear(name, layer):
    build, shape = BUILT[name]
    model, x = randomized(build(), np.random.default_rng(0)), scores(1, np.prod(shape)).reshape(shape)
    s = scores(len(x), model(x).shape[1])
    found = first_order(model, [layer], x, [s])[layer][0]
    real = np.einsum("unk,nk->nu", ablated(model, layer, range(found.shape[1]), x, threads=1), s)
    np.testing.assert_allclose(found, real, rtol=1e-9, atol=1e-9)


def test_several_signals_go_back_over_one_forward_pass(model_and_x):
    model, x = model_and_x
    layers, s = unit_layers(model, x.shape[1:]), [scores(len(x), model(x).shape[1], seed) for seed in (1, 2)]
    both = first_order(model, layers, x, s)
    for j in range(2):
        for name, alone in first_order(model, layers, x, s[j : j + 1]).items():
            np.testing.assert_array_equal(both[name][j], alone[0])


def test_to_watch_the_layers_changes_no_output(model_and_x):
    model, x = model_and_x
    notes = _Notes(model, unit_layers(model, x.shape[1:]))
    for ctx in (INFER, PROBE):
        np.testing.assert_array_equal(notes.model.forward(x, ctx)[0], model.forward(x, ctx)[0])


def test_a_layer_of_other_layers_has_the_effects_of_its_parts():
    model, x = randomized(refined(), np.random.default_rng(0)), scores(2 * 32 * 32, 3).reshape(2, 32, 32, 3)
    parts = [f"inception2.{b}" for b in ("b1", "b3", "b5", "pool")]
    found = first_order(model, ["inception2", "pool2", *parts], x, [scores(2, 5)])
    np.testing.assert_allclose(found["inception2"], np.concatenate([found[p] for p in parts], axis=-1), rtol=1e-12)


class Twice(Layer):
    """y = f(f(x))"""

    def __init__(self, f):
        self.f = f

    def out_shape(self, in_shape):
        return in_shape

    def forward(self, x, ctx):
        a, first = ctx.run("f", self.f, x)
        y, second = ctx.run("f", self.f, a)
        return y, (first, second)

    def input_grad(self, dy, cache):
        return self.f.input_grad(self.f.input_grad(dy, cache[1]), cache[0])


def test_a_layer_that_is_run_twice_has_the_sum_of_both():
    twice = Twice(Sequential({"conv": Conv2D(3, 3, 3, padding=1, rng=0, dtype=np.float64), "relu": ReLU()}))
    model = Sequential({"twice": twice, "pool": GlobalAvgPool(), "fc": Linear(3, 2, rng=0, dtype=np.float64)})
    x, s, eps = scores(2 * 25, 3).reshape(2, 5, 5, 3), scores(2, 2), 1e-6
    found = first_order(model, ["twice.f"], x, [s])["twice.f"][0]
    for unit in range(3):
        slope = (scaled(model, "twice.f", unit, 1 + eps, x) - scaled(model, "twice.f", unit, 1 - eps, x)) / (2 * eps)
        np.testing.assert_allclose(found[:, unit], -(slope * s).sum(axis=1), rtol=1e-6)


def test_an_unknown_layer_or_unit_is_refused():
    model, x = models.build("convnet", 4), np.zeros((1, 8, 8, 3), np.float32)
    with pytest.raises(UsageError, match="no layer 'relu4'"):
        first_order(model, ["relu4"], x, [np.zeros((1, 4))])
    with pytest.raises(UsageError, match="the whole model"):
        ablated(model, "", [0], x)
    with pytest.raises(UsageError, match="unit 16: relu1 has units 0 to 15"):
        ablated(model, "relu1", [3, 16], x)


# ----------------------------------------------------------------------------------------- ablation


@pytest.mark.parametrize("engine", ["fused", "plain"])
def test_without_a_unit_the_network_gives_what_it_gives_with_a_map_of_zeros(model_and_x, engine):
    model, x = model_and_x
    for name in unit_layers(model, x.shape[1:])[::3]:
        units = [1, 0]
        changes = ablated(model, name, units, x, engine=engine, threads=1)
        for change, unit in zip(changes, units, strict=True):
            np.testing.assert_allclose(change, scaled(model, name, unit, 0, x) - model(x), rtol=1e-7, atol=1e-9)


def test_many_images_are_run_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr("minidl.visual.effects.RUNS", 2)
    model, x = models.build("convnet", 4, dtype=np.float64), scores(5 * 64, 3).reshape(5, 8, 8, 3)
    changes = ablated(model, "relu2", [3], x, threads=1)
    np.testing.assert_allclose(changes[0], scaled(model, "relu2", 3, 0, x) - model(x), rtol=1e-9, atol=1e-12)
