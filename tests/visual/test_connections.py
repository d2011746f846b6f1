"""The weights between units are what a change of one unit does to the next ones."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import minidl as md
import models
from minidl.errors import UsageError
from minidl.layers import (
    INFER,
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    Flatten,
    GeneralConv2D,
    GeneralMaxPool2D,
    Layer,
    Linear,
    ReLU,
    Residual,
    Sequential,
)
from minidl.visual.connections import connections, unit_layers
from tests.cuda_standin import RECORD, install
from tests.strategies import randomized
from tests.visual.test_truncate import refined

EXAMPLES = Path(__file__).parents[2] / "examples"
SHAPE = (32, 32, 3)


def conv(channels, filters, kernel=3, dtype=np.float64):
    return Conv2D(channels, filters, kernel, padding=kernel // 2, bias=False, rng=0, dtype=dtype)


def norm(channels):
    return BatchNorm2D(channels, dtype=np.float64)


def random(model, seed=0):
    return randomized(model, np.random.default_rng(seed))


def read_by(found, layer):
    """The layers whose units `layer` reads."""
    return [read for reader, read in found.weights if reader == layer]


def response(between, channels, unit, side=11):
    """What one pixel of channel `unit` does to the output of the layers `between`: (pixels, units)."""
    x = np.zeros((2, side, side, channels))
    x[1, side // 2, side // 2, unit] = 1
    y, _ = between.forward(x, INFER)
    return (y[1] - y[0]).reshape(-1, y.shape[-1])  # (H, W, C) -> (P, C)


def assert_is_response(weights, between):
    """(units, units that are read) is the size of the response of linear layers, with the sign of its sum."""
    for unit in range(weights.shape[1]):
        pixels = response(between, weights.shape[1], unit)
        expected = np.sign(pixels.sum(axis=0)) * np.sqrt((pixels**2).sum(axis=0))
        np.testing.assert_allclose(weights[:, unit], expected, rtol=1e-9)


# ------------------------------------------------------------------------ against what a unit does


def test_a_weight_is_the_response_of_a_linear_network_to_one_pixel():
    second = Sequential({"conv": conv(4, 5), "bn": norm(5)})
    model = random(Sequential({"a": conv(3, 4), "b": second, "c": conv(5, 2, 5)}))
    found = connections(model, (9, 9, 3))
    assert list(found.weights) == [("b", "a"), ("c", "b")]
    assert_is_response(found.weights["b", "a"], model["b"])
    assert_is_response(found.weights["c", "b"], model["c"])


def test_a_normalization_before_a_convolution_belongs_to_its_weights():
    model = random(Sequential({"a": conv(3, 4), "bn": norm(4), "b": conv(4, 5)}))
    found = connections(model, (9, 9, 3), ["a", "b"])
    assert_is_response(found.weights["b", "a"], model[1:])
    assert_is_response(connections(model, (9, 9, 3)).weights["b", "bn"], model["b"])


def test_the_branches_of_a_module_are_read_by_the_layer_after_it():
    split = Concat({"p": conv(4, 2)}, {"q": conv(4, 3)})
    model = random(Sequential({"a": conv(3, 4), "split": split, "b": conv(5, 2)}))
    found = connections(model, (9, 9, 3))
    assert list(found.weights) == [("split.p", "a"), ("split.q", "a"), ("b", "split.p"), ("b", "split.q")]
    assert_is_response(np.hstack([found.weights["b", "split.p"], found.weights["b", "split.q"]]), model["b"])


def test_the_weights_after_a_flatten_are_a_kernel_over_all_pixels():
    model = random(Sequential({"a": conv(3, 4), "flat": Flatten(), "fc": Linear(36, 2, rng=0, dtype=np.float64)}))
    w = connections(model, (3, 3, 3)).weights["fc", "a"]
    for unit in range(4):
        pixels = model["fc"].params["weight"].value.reshape(9, 4, 2)[:, unit]  # (H W C, K) -> (P, C, K)
        np.testing.assert_allclose(w[:, unit], np.sign(pixels.sum(0)) * np.linalg.norm(pixels, axis=0), rtol=1e-9)


def test_a_filter_of_a_group_is_connected_with_its_group_alone():
    grouped = GeneralConv2D(6, 4, (3, 1), padding="same", groups=2, bias=False, dtype=np.float64)
    between = {"bn": norm(6), "pool": GeneralMaxPool2D(1), "b": grouped}
    model = random(Sequential({"a": conv(3, 6), **between}))
    w = connections(model, (9, 9, 3), ["a", "b"]).weights["b", "a"]
    assert not w[:2, 3:].any() and not w[2:, :3].any() and w[:2, :3].all()
    assert_is_response(w, Sequential({"bn": model["bn"], "b": grouped}))


def test_the_weights_after_a_flatten_in_torchs_order_are_those_of_the_channels_pixels():
    fc = Linear(36, 2, rng=0, dtype=np.float64)
    model = random(Sequential({"a": conv(3, 4), "flat": Flatten(channels_first=True), "fc": fc}))
    w = connections(model, (3, 3, 3)).weights["fc", "a"]
    for unit in range(4):
        pixels = fc.params["weight"].value.reshape(4, 9, 2)[unit]  # (C H W, K) -> (C, P, K)
        np.testing.assert_allclose(w[:, unit], np.sign(pixels.sum(0)) * np.linalg.norm(pixels, axis=0), rtol=1e-9)


def test_a_linear_layer_after_the_global_average_has_its_own_weights():
    model = random(models.build("convnet", 5, dropout=0.3, dtype=np.float64))
    found = connections(model, SHAPE)
    np.testing.assert_allclose(found.weights["fc", "relu3"], model["fc"].params["weight"].value.T, rtol=1e-12)


# -------------------------------------------------------------------------------------------- names


def test_the_units_of_the_refined_network():
    model = refined()
    found = connections(model, SHAPE)
    modules = {f"inception{i}": [f"inception{i}.{b}" for b in ("b1", "b3", "b5", "pool")] for i in range(1, 5)}
    for i in range(1, 5):
        before = modules.get(f"inception{i - 1}", ["stem"])
        for branch in ("b1", "b3_reduce", "b5_reduce", "pool"):
            assert read_by(found, f"inception{i}.{branch}") == before
        assert read_by(found, f"inception{i}.b3") == [f"inception{i}.b3_reduce"]
        assert read_by(found, f"inception{i}.b5") == [f"inception{i}.b5_reduce"]
    assert read_by(found, "fc") == modules["inception4"] and read_by(found, "stem") == []
    assert found.layers == unit_layers(model, SHAPE)
    assert len(found.layers) == 1 + 4 * 6 + 1


def test_a_unit_is_in_the_last_layer_that_has_it_or_in_the_one_that_is_asked_for():
    model = models.build("convnet", 5)
    assert unit_layers(model, SHAPE) == ["relu1", "relu2", "relu3", "fc"]
    assert list(connections(model, SHAPE).weights) == [("relu2", "relu1"), ("relu3", "relu2"), ("fc", "relu3")]
    asked = connections(model, SHAPE, ["conv1", "conv2", "pool2"])
    assert [pair for pair in asked.weights if "fc" not in pair] == [("conv2", "conv1"), ("relu3", "conv2")]
    assert asked.incoming("pool2") == asked.incoming("conv2") and asked.outgoing("pool2")[0][0][0] == "relu3"


def test_a_layer_that_was_not_asked_for_is_named_where_it_is_read():
    two = Sequential({"conv": conv(3, 4), "relu": ReLU(), "conv2": conv(4, 5), "relu2": ReLU()})
    found = connections(Sequential({"block": two, "after": conv(5, 2)}), (9, 9, 3), ["block", "after"])
    assert found.layers == ["block", "after"]
    assert list(found.weights) == [("block", "block.relu"), ("after", "block")]


def test_the_sums_of_the_residual_example_are_units_with_two_sources():
    model = runpy.run_path(str(EXAMPLES / "resnet.py"))["build"](4, (4, 6))
    found = connections(model, SHAPE)
    assert read_by(found, "block1a") == ["block1a.sum.body", "block1a.sum.shortcut"]
    assert read_by(found, "block1b") == ["block1a", "block1b.sum.body"]
    assert read_by(found, "block1b.sum.body.0") == ["block1a"] and read_by(found, "fc") == ["block2b"]
    np.testing.assert_array_equal(found.weights["block1b", "block1a"], np.eye(4))
    assert found.incoming("block1b")[2] == [("block1a", 2, 1.0), ("block1b.sum.body", 2, 1.0)]


def test_a_pool_that_keeps_the_size_has_no_units_and_may_be_added():
    around = Sequential({"pool": AvgPool2D(3, 1, 1)})
    model = Sequential({"a": conv(3, 4), "sum": Residual(around), "b": conv(4, 2)})
    assert unit_layers(model, (9, 9, 3)) == ["a", "sum", "b"]
    np.testing.assert_array_equal(connections(model, (9, 9, 3)).weights["sum", "a"], 2 * np.eye(4))


# ------------------------------------------------------------------------------ what a user wrote


def test_a_container_that_a_user_wrote_is_followed_by_its_values():
    model = runpy.run_path(str(EXAMPLES / "custom_layer.py"))["build"](4)
    model["block"].gate.value[...] = -0.5
    found = connections(model, SHAPE)
    assert read_by(found, "block.body") == ["prelu"] and read_by(found, "fc") == ["block"]
    assert read_by(found, "block") == ["prelu", "block.body"]
    np.testing.assert_array_equal(found.weights["block", "block.body"], -0.5 * np.eye(8))
    np.testing.assert_array_equal(found.weights["block", "prelu"], np.eye(8))


def test_a_container_that_changes_nothing_has_the_units_before_it():
    model = runpy.run_path(str(EXAMPLES / "custom_layer.py"))["build"](4)  # where the gate is 0
    assert connections(model, SHAPE, ["prelu", "block", "fc"]).weights.keys() == {
        ("block.body", "prelu"),
        ("fc", "prelu"),
    }
    assert read_by(connections(model, SHAPE), "fc") == ["block"]


class Dense(Layer):
    """Puts what two layers make, the second from the first, before and after the input."""

    def __init__(self, first, second):
        self.first, self.second = first, second

    def out_shape(self, in_shape):
        a = self.first.out_shape(in_shape)
        return (*a[:-1], self.second.out_shape(a)[-1] + in_shape[-1] + a[-1])

    def forward(self, x, ctx):
        a, _ = ctx.run("first", self.first, x)
        b, _ = ctx.run("second", self.second, self.changed(a))
        return np.concatenate([b, x, a], axis=-1), None

    def changed(self, a):
        return a


def test_channels_in_another_order_are_recognised():
    model = Sequential({"stem": conv(3, 4), "dense": Dense(conv(4, 2), conv(2, 3)), "after": conv(9, 2)})
    found = connections(model, (9, 9, 3))
    assert read_by(found, "dense.second") == ["dense.first"]
    w = np.hstack([found.weights["after", name] for name in ("dense.second", "stem", "dense.first")])
    assert_is_response(w, model["after"])


class Mixed(Dense):
    def changed(self, a):
        return a * a.mean(axis=-1, keepdims=True)


class Mixing(Layer):
    """Each channel minus the mean of all."""

    def forward(self, x, ctx):
        return x - x.mean(axis=-1, keepdims=True), None


def test_nothing_is_claimed_of_what_is_not_recognised():
    model = Sequential({"stem": conv(3, 4), "conv": conv(4, 4), "mix": Mixing(), "after": conv(4, 2)})
    found = connections(model, (9, 9, 3))
    assert list(found.weights) == [("conv", "stem"), ("after", "mix")] and found.incoming("mix") == [[]] * 4
    model = Sequential({"stem": conv(3, 4), "dense": Mixed(conv(4, 2), conv(2, 3)), "after": conv(9, 2)})
    found = connections(model, (9, 9, 3))
    assert read_by(found, "dense.second") == ["dense.second (input)"] and read_by(found, "dense.first") == ["stem"]


# ------------------------------------------------------------------------------------------- links


def test_the_strongest_are_the_largest_of_all_in_both_directions():
    model = random(refined())
    found = connections(model, SHAPE)
    for layer in ("inception2.b3_reduce", "inception3.b5", "fc"):
        for turned, links in ((0, found.incoming(layer, 4)), (1, found.outgoing(layer, 4))):
            for unit, best in enumerate(links):
                mine = {pair[1 - turned]: w[unit] if not turned else w[:, unit]
                        for pair, w in found.weights.items() if pair[turned] == layer}  # fmt: skip
                every = sorted((abs(w) for row in mine.values() for w in row), reverse=True)
                assert [abs(w) for _, _, w in best] == every[:4]
                assert all(mine[name][number] == w for name, number, w in best)
    assert found.outgoing("fc") == [[]] * 5


def test_both_precisions_and_the_fused_network_have_the_same_weights():
    model = random(refined())
    found = connections(model, SHAPE)
    for other in (md.convert(model, dtype=np.float32), md.fuse(md.convert(model), 1)):
        weights = connections(other, SHAPE).weights
        assert list(weights) == list(found.weights)
        for pair, w in weights.items():
            np.testing.assert_allclose(w, found.weights[pair], rtol=1e-5, err_msg=str(pair))


def test_a_network_on_the_stand_in_for_a_gpu_has_the_same_weights(monkeypatch):
    model = random(models.build("convnet", 4))
    found = connections(model, SHAPE).weights
    there = connections(md.convert(model, xp=install(monkeypatch)), SHAPE).weights
    assert found.keys() == there.keys() and all(np.array_equal(found[pair], w) for pair, w in there.items())
    assert not RECORD.refusals


def test_the_model_stays_as_it_is():
    model = random(Sequential({"a": conv(3, 4), "sum": Residual(Sequential({"b": conv(4, 4), "bn": norm(4)}))}))
    before, x = {name: p.value.copy() for name, p in model.named_parameters().items()}, np.ones((1, 5, 5, 3))
    y = model(x)
    connections(model, (5, 5, 3))
    assert all(np.array_equal(p.value, before[name]) for name, p in model.named_parameters().items())
    np.testing.assert_array_equal(model(x), y)


def test_an_unknown_layer_is_refused():
    with pytest.raises(UsageError, match="no layer 'inception2.b4': did you mean"):
        connections(refined(), SHAPE, ["inception2.b4"])
