"""A head beside the network: run and trained in training, never asked afterwards."""

import numpy as np
import pytest

from minidl.diagnostics.gradcheck import assert_gradients
from minidl.diagnostics.trace import trace
from minidl.engine import fuse, prepare, unfuse
from minidl.errors import ShapeError, UsageError
from minidl.layers import (
    INFER,
    PROBE,
    BatchNorm2D,
    Concat,
    Conv2D,
    Dropout,
    Frozen,
    GlobalAvgPool,
    Linear,
    Mode,
    ReLU,
    Sequential,
    SideHead,
    freeze,
)
from minidl.layers.convert import convert
from minidl.layers.heads import last_leaves, main_line, spine
from minidl.layers.parameter import FROZEN
from minidl.visual.truncate import gradient_at, layer_table, truncate
from tests.examples import STEP as TRAIN
from tests.strategies import randomized

K = 3


def block(channels, filters, rng):
    return Sequential(
        {"conv": Conv2D(channels, filters, 3, padding=1, bias=False, rng=rng, dtype=np.float64),
         "bn": BatchNorm2D(filters, dtype=np.float64), "relu": ReLU()}
    )  # fmt: skip


def head(channels, rng, dropout=0.0):
    layers = {
        "pool": GlobalAvgPool(),
        "dropout": Dropout(dropout),
        "fc": Linear(channels, K, rng=rng, dtype=np.float64),
    }
    return Sequential({name: layer for name, layer in layers.items() if dropout or name != "dropout"})


def network(dropout=0.0):
    """a, then a side head, b, another side head, c, and its own head."""
    rng = np.random.default_rng(0)

    def beside(name, channels, rest):
        side = SideHead({name: head(channels, rng, dropout)}, rest)
        side.unnamed |= {"rest"}
        return side

    inner = Sequential({"c": block(6, 5, rng), **head(5, rng, dropout).layers})
    middle = Sequential({"b": block(4, 6, rng), "side2+rest": beside("side2", 6, inner)})
    middle.unnamed = frozenset({"side2+rest"})
    net = Sequential({"a": block(3, 4, rng), "side1+rest": beside("side1", 4, middle)})
    net.unnamed = frozenset({"side1+rest"})
    return randomized(net, np.random.default_rng(1))


def images(n=4):
    return np.random.default_rng(2).normal(size=(n, 9, 8, 3))


def alone(net):
    """The network without its side heads, over the same layers."""
    return Sequential({name: layer for name, _, layer in main_line(net)})


def test_outside_of_training_the_network_is_the_one_without_side_heads():
    net, x = network(), images()
    for ctx in (INFER, PROBE):
        y, cache = net.forward(x, ctx)
        want, want_cache = alone(net).forward(x, ctx)
        np.testing.assert_array_equal(y, want)
    s = np.random.default_rng(3).normal(size=y.shape)
    for rule in ("gradient", "guided", "deconv"):
        np.testing.assert_array_equal(net.project(s, cache, rule), alone(net).project(s, want_cache, rule))
    np.testing.assert_array_equal(net.input_grad(s, cache), alone(net).input_grad(s, want_cache))
    assert net.out_shape(x.shape) == (4, K)


@pytest.mark.parametrize("engine", [lambda net: net, fuse, prepare], ids=["plain", "fused", "prepared"])
def test_in_training_come_the_scores_of_all_heads_its_own_first(engine):
    net, x = engine(network()), images()
    y, _ = net.forward(x, TRAIN)
    assert y.shape == (4, 3, K)
    plain = network()
    a, _ = plain["a"].forward(x, TRAIN)
    b, _ = plain["b"].forward(a, TRAIN)
    heads = [
        alone(network()).forward(x, TRAIN)[0],
        plain["side2"].forward(b, TRAIN)[0],
        plain["side1"].forward(a, TRAIN)[0],
    ]
    for i, want in enumerate(heads):
        np.testing.assert_allclose(y[:, i], want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mode", [Mode.TRAIN, Mode.PROBE])
@pytest.mark.parametrize("engine", [lambda net: net, fuse], ids=["plain", "fused"])
def test_the_derivatives_are_right(mode, engine):
    if engine is fuse and mode is Mode.PROBE:
        return  # which runs the plain layers
    assert_gradients(engine(network(dropout=0.3)), images(), 1e-6, mode=mode, coordinates=2)


def test_a_head_alone_beside_a_single_layer():
    rng = np.random.default_rng(0)
    net = SideHead(Linear(5, K, rng=rng, dtype=np.float64), Linear(5, K, rng=rng, dtype=np.float64))
    assert list(net.named_parameters()) == ["head.weight", "head.bias", "rest.weight", "rest.bias"]
    assert net.forward(rng.normal(size=(4, 5)), TRAIN)[0].shape == (4, 2, K)
    assert_gradients(net, rng.normal(size=(4, 5)), 1e-6)
    assert list(last_leaves(net)) == [net.rest, net.head] and spine(net) == ("rest",)
    assert spine(Concat({"a": ReLU()})) == () and spine(Sequential({"a": ReLU()})) == ("a",)
    y, cache = net.forward(rng.normal(size=(4, 5)), TRAIN)
    np.testing.assert_array_equal(net.input_grad(y, cache), net.backward(y, cache))


def test_names_have_no_level_for_the_side_head():
    assert [name for name, _, _ in main_line(network())] == ["a", "b", "c", "pool", "fc"]
    names = list(network().named_parameters())
    assert {name.split(".")[0] for name in names} == {"a", "b", "c", "fc", "side1", "side2"}
    assert list(fuse(network()).named_parameters()) == names == list(unfuse(fuse(network())).named_parameters())
    assert [layer.params["weight"].shape for layer in last_leaves(network())] == [(5, K), (6, K), (4, K)]


def test_a_fused_network_takes_images_through_all_layers_a_few_at_a_time_in_infer_mode():
    net, x = network(), images(40)
    for running in (fuse(net), prepare(net)):
        for _ in range(4):  # recorded from the third pass on
            np.testing.assert_allclose(running(x), net(x), rtol=1e-9, atol=1e-12)
    net["c.conv"].params["weight"].value[...] *= 2  # noticed
    np.testing.assert_allclose(running(x), net(x), rtol=1e-9, atol=1e-12)


def test_walkers_see_what_is_run_and_no_side_head():
    net, x = network(), images()
    assert [info.name for info in layer_table(net, x.shape[1:])] == ["a", "b", "c", "pool", "fc"]
    np.testing.assert_array_equal(truncate(net, "b")(x), net["b"](net["a"](x)))
    assert list(truncate(net, "c.relu").named_parameters()) == [
        name for name in alone(net).named_parameters() if not name.startswith("fc")
    ]
    y, cache = net.forward(x, PROBE)
    assert gradient_at(net, np.ones_like(y), cache, "b").shape == (4, 9, 8, 6)
    for look in (lambda: truncate(net, "side2.pool"), lambda: gradient_at(net, np.ones_like(y), cache, "side1")):
        with pytest.raises(UsageError, match="in a side head, which only serves training"):
            look()


@pytest.mark.parametrize("last, learns", [
    ("a", ["b", "c", "fc", "side1", "side2"]),
    ("b", ["c", "fc", "side1", "side2"]),
    ("pool", ["fc", "side1", "side2"]),
])  # fmt: skip
def test_layers_are_frozen_also_behind_a_side_head(last, learns):
    net, x = network(), images()
    names = list(net.named_parameters())
    frozen = freeze(net, last)
    free = {name: p for name, p in frozen.named_parameters().items() if FROZEN not in p.tags}
    assert sorted({name.split(".")[0] for name in free}) == learns
    assert sorted(frozen.named_parameters()) == sorted(names)
    for running in (frozen, fuse(frozen)):
        before = {name: b.copy() for name, b in running.named_buffers().items()}
        y, cache = running.forward(x, TRAIN)
        running.zero_grad()
        running.backward(np.ones_like(y), cache, need_dx=False)
        assert all((p.grad != 0).any() for name, p in free.items() if not name.endswith(("fc.bias",)))
        changed = {name.split(".")[0] for name, b in running.named_buffers().items() if (b != before[name]).any()}
        assert changed == {"a", "b", "c"} & set(learns)
    np.testing.assert_allclose(frozen(x), net(x))


def test_a_layer_that_can_not_be_frozen_is_refused_with_the_names_there_are():
    with pytest.raises(UsageError, match="up to 'side1': choose one of a, b, c, pool"):
        freeze(network(), "side1")


def test_a_converted_network_has_the_same_heads():
    net = convert(network(), dtype=np.float32)
    assert net.forward(images().astype(np.float32), TRAIN)[0].dtype == np.float32
    assert list(net.named_parameters()) == list(network().named_parameters())


def test_heads_with_other_scores_are_refused():
    net = SideHead(Linear(5, 3), Linear(5, 4))
    with pytest.raises(ShapeError, match=r"the rest makes \(2, 4\) and the head \(2, 3\)"):
        net.out_shape((2, 5))
    with pytest.raises(ShapeError, match=r"the rest makes \(2, 4\) and the head \(2, 3\)"):
        net.forward(np.zeros((2, 5)), PROBE)  # which doesn't run the head


def test_a_cache_is_for_one_way_back():
    net, x = network(), images()
    y, cache = net.forward(x, TRAIN)
    net.backward(np.ones_like(y), cache)
    with pytest.raises(UsageError, match="no cache"):
        net.backward(np.ones_like(y), cache)


def test_both_ways_to_dx_are_the_same_in_training_and_change_no_cache():
    net, x = network(dropout=0.3), images()
    y, cache = net.forward(x, TRAIN)
    dy = np.random.default_rng(3).normal(size=y.shape)
    first, again = net.input_grad(dy, cache), net.input_grad(dy, cache)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(net.backward(dy, cache), first, rtol=1e-12, atol=1e-15)
    for back in (net.input_grad, lambda s, c: net.project(s, c, "deconv")):
        with pytest.raises(UsageError, match="no cache"):
            back(dy, cache)
        with pytest.raises(UsageError, match="SideHead: no cache|Sequential: no cache"):
            back(dy, None)
    side = net["side1.fc"], net.layers["side1+rest"]
    for back in (side[1].backward, side[1].input_grad, lambda s, c: side[1].project(s, c, "deconv")):
        with pytest.raises(UsageError, match="SideHead: no cache"):
            back(dy, None)


def test_named_parts_add_their_levels():
    rng = np.random.default_rng(0)
    rest = Sequential({"b": Linear(4, 4, rng=rng), "c": Linear(4, K, rng=rng)})
    net = Sequential({"a": Linear(5, 4, rng=rng), "side": SideHead(Linear(4, K, rng=rng), rest)})
    assert [name for name, _, _ in main_line(net)] == ["a", "side.rest.b", "side.rest.c"]
    assert [net[name] for name, _, _ in main_line(net)] == [layer for _, _, layer in main_line(net)]
    frozen = freeze(net, "side.rest.b")
    learns = {name for name, p in frozen.named_parameters().items() if FROZEN not in p.tags}
    assert learns == {f"side.{part}.{p}" for part in ("head", "rest.c") for p in ("weight", "bias")}
    assert [name for name, _, _ in main_line(SideHead(Linear(4, K), Linear(4, K)))] == ["rest"]


def test_a_frozen_layer_gives_dx_after_a_probe_pass():
    layer, x = block(3, 4, np.random.default_rng(0)), images()
    y, cache = Frozen(layer).forward(x, PROBE)
    want = layer.input_grad(y, layer.forward(x, PROBE)[1])
    np.testing.assert_array_equal(Frozen(layer).backward(y, cache), want)
    assert Frozen(layer).backward(y, cache, need_dx=False) is None
    _, cache = Frozen(layer, above=True).forward(x, TRAIN)
    dx = Frozen(layer, above=True).backward(y, cache)
    assert dx.shape == x.shape and not dx.any()
    _, cache = Frozen(layer).forward(x, TRAIN)
    with pytest.raises(UsageError, match="frozen layers keep nothing"):
        Frozen(layer).backward(y, cache)


def test_a_chain_that_begins_with_a_side_head_can_be_frozen_too():
    rng = np.random.default_rng(0)
    rest = Sequential({"b": Linear(5, 4, rng=rng, dtype=np.float64), "c": Linear(4, K, rng=rng, dtype=np.float64)})
    net = Sequential({"side": SideHead(Linear(5, K, rng=rng, dtype=np.float64), rest)})
    frozen, x = freeze(net, "side.rest.b"), rng.normal(size=(4, 5))
    y, cache = frozen.forward(x, TRAIN)
    frozen.backward(np.ones_like(y), cache, need_dx=False)
    unchanged = {name for name, p in frozen.named_parameters().items() if not p.grad.any()}
    assert unchanged == {"side.rest.b.weight", "side.rest.b.bias"}
    assert frozen["side.rest.b"].weight.tags == {"weight", FROZEN} and frozen["side.rest.c"].weight.tags == {"weight"}
    np.testing.assert_array_equal(frozen(x), net(x))


def test_a_trace_with_labels_shows_the_gradients_of_all_heads():
    gradients = {row.path: row.gradient.std for row in trace(network(), images(), np.array([0, 1, 2, 0]))}
    assert all(gradients[f"{name}fc"] > 0 for name in ("", "side1.", "side2."))
