"""All that works on the networks that come along works on a residual one, and on a container that a user wrote."""

import runpy
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import minidl as md
from minidl.diagnostics.cost import training_memory
from minidl.engine import unfuse
from minidl.layers import PROBE, TRAIN, Rule
from minidl.visual.embedding import _without_head
from minidl.visual.probe import probe
from minidl.visual.projection import Projector
from minidl.visual.truncate import gradient_at, layer_table, truncate
from tests.diagnostics.test_summary import train_step
from tests.examples import leaf_names
from tests.strategies import randomized
from tests.visual.test_probe import Images

EXAMPLES = Path(__file__).parents[1] / "examples"
STEP = TRAIN.at_step(0)


def residual(dtype=np.float32):
    build = runpy.run_path(str(EXAMPLES / "resnet.py"))["build"]
    return md.convert(build(classes=4, widths=(4, 6)), dtype=dtype)


def own(dtype=np.float32):
    return runpy.run_path(str(EXAMPLES / "custom_layer.py"))["build"](4, dtype)


@pytest.fixture(params=[residual, own])
def build(request):
    return lambda dtype=np.float32: randomized(request.param(dtype), np.random.default_rng(0))


@pytest.fixture
def inside(build):
    """The name of a layer within the container."""
    return "block2a.sum.body.0.conv" if "block2a" in build() else "block.body.conv"


def images(dtype=np.float32, n=3):
    return np.random.default_rng(1).normal(size=(n, 17, 17, 3)).astype(dtype)


def step(model, x, ctx=STEP):
    """(y, dx, gradients)"""
    model.zero_grad()
    y, cache = model.forward(x, ctx)
    dx = model.backward(np.cos(np.arange(y.size)).reshape(y.shape).astype(y.dtype), cache)
    return y, dx, {name: p.grad.copy() for name, p in model.named_parameters().items()}


def assert_close(a, b, rtol=1e-8):
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for name in a:
            assert_close(a[name], b[name], rtol)
    else:
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


def test_gradients_are_right(build):
    for mode in (md.Mode.TRAIN, md.Mode.PROBE):
        assert md.gradcheck(build(np.float64), images(np.float64), mode=mode).error < 1e-5


def test_the_fused_network_does_the_same_and_is_unfused_again(build):
    model, x = build(np.float64), images(np.float64)
    other = md.convert(model)
    fused = md.fuse(other, 1)
    assert any(type(layer).__name__ == "ConvBlock" for _, layer in fused.places())
    for a, b in zip(step(fused, x), step(model, x), strict=True):
        assert_close(a, b)
    assert_close(fused(x), model(x))
    plain = unfuse(fused)
    assert list(plain.named_layers()) == list(model.named_layers())
    assert all(plain[name] is other[name] for name in leaf_names(other))


def test_the_summary_has_the_shapes_and_the_parameters(build, inside):
    model = build()
    rows = {row.path: row for row in md.summary(model, images().shape).rows}
    assert [name for name, row in rows.items() if row.is_leaf] == leaf_names(model)
    for name, row in rows.items():
        if name:
            assert row.out_shape == truncate(model, name).forward(images(), PROBE)[0].shape[1:]
    assert rows[""].parameters == sum(p.value.size for p in model.named_parameters().values())
    assert rows[""].multiply_adds == sum(row.multiply_adds for row in rows.values() if row.is_leaf)
    assert inside in str(md.summary(md.fuse(model, 1), images().shape))


@pytest.mark.parametrize("build", [lambda: runpy.run_path(str(EXAMPLES / "resnet.py"))["build"](20), own])
def test_the_memory_is_what_a_real_step_allocates(build):
    model = build()
    parameters = sum(p.value.nbytes + p.grad.nbytes for p in model.named_parameters().values())
    tracemalloc.start()
    try:
        train_step(model, 128)
        peak = tracemalloc.get_traced_memory()[1] + parameters
    finally:
        tracemalloc.stop()
    workspaces = 10e6  # which are not counted, as the docstring says
    assert training_memory(model, (128, 64, 64, 3)).arrays == pytest.approx(peak - workspaces, rel=0.15)


def test_a_trace_has_a_row_for_each_leaf_and_changes_nothing(build):
    model = build()
    before = [a.copy() for p in model.named_parameters().values() for a in (p.value, p.grad)]
    before += [b.copy() for b in model.named_buffers().values()]
    rows = md.trace(model, images(), np.array([0, 1, 2]))
    assert [row.path for row in rows] == leaf_names(model) and all(row.gradient.std > 0 for row in rows)
    after = [a for p in model.named_parameters().values() for a in (p.value, p.grad)] + [
        *model.named_buffers().values()
    ]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_frozen_part_learns_nothing(build):
    model = build()
    last = list(model.children())[2]
    frozen = md.freeze(model, last)
    assert list(frozen.named_parameters()) == list(model.named_parameters())
    statistics = {name: b.copy() for name, b in model.named_buffers().items()}
    for net in (frozen, md.fuse(frozen, 1)):
        net.zero_grad()
        y, cache = net.forward(images(), STEP)
        net.backward(y, cache, need_dx=False)
        learned = {name.split(".")[0] for name, p in net.named_parameters().items() if p.grad.any()}
        assert learned == set(list(model.children())[3:]) & learned and "fc" in learned
    for name, b in model.named_buffers().items():
        if name.startswith(last):
            np.testing.assert_array_equal(b, statistics[name])


def test_a_converted_network_shares_nothing_and_does_the_same(build):
    model = build()
    for net in (model, md.fuse(model, 1)):
        new = md.convert(net, dtype=np.float64)
        assert_close(new(images(np.float64)), model(images()), 1e-4)
        for name, p in new.named_parameters().items():
            assert p.value.dtype == np.float64
            assert not np.shares_memory(
                md.convert(net).named_parameters()[name].value, model.named_parameters()[name].value
            )


def test_every_layer_can_be_looked_at(build, inside):
    model, x = build(np.float64), images(np.float64)
    fused = md.fuse(model, 1)
    seen = {}
    for name in leaf_names(model):
        leaf = model[name]

        def noted(x, ctx, name=name, forward=leaf.forward):
            seen[name], cache = forward(x, ctx)
            return seen[name], cache

        leaf.forward = noted
    model.forward(x, PROBE)
    for name in leaf_names(model):
        del model[name].forward
    for name, expected in seen.items():
        np.testing.assert_array_equal(truncate(model, name)(x), expected)
        assert_close(truncate(fused, name)(x), expected)
    names = [row.name for row in layer_table(model, x.shape[1:], leaves=True)]
    assert inside in names and set(leaf_names(model)) < set(names)
    assert all(row.name in names for row in layer_table(model, x.shape[1:]))


@pytest.mark.parametrize("rule", ["gradient", "guided", "deconv"])
def test_signals_go_back_through_it(build, inside, rule):
    model, x = build(np.float64), images(np.float64, 2)
    part = truncate(model, inside)
    a, cache = part.forward(x, PROBE)
    expected = part.project(a, cache, Rule(rule))
    assert expected.shape == x.shape and expected.any()
    found = [
        Projector(model, inside, Rule(rule), seed_map="map", engine=engine, threads=1)(x, [0, 1], [1, 1])
        for engine in ("plain", "fused")
    ]
    assert_close(*found)
    assert getattr(md, rule)(model, x, inside, unit=1).shape == x.shape


def test_the_gradient_at_a_layer_inside(build, inside):
    model, x = build(np.float64), images(np.float64)
    y, cache = model.forward(x, PROBE)
    da = gradient_at(model, y, cache, inside)
    part = truncate(model, inside)
    a, part_cache = part.forward(x, PROBE)
    assert da.shape == a.shape and da.any()
    if "own" not in type(model).__name__ and inside.startswith("block.body"):
        gate, bn = model["block"].gate.value, model["block.body.bn"]
        d = gradient_at(model, y, cache, "block") * gate
        mask = truncate(model, "block.body.bn")(x) > 0
        scale = bn.gamma.value / np.sqrt(bn.buffers["running_var"] + bn.eps)
        assert_close(da, d * mask * scale)


@pytest.mark.parametrize("engine", ["plain", "fused"])
def test_top_images_are_found_for_units_inside(build, inside, engine):
    model = build(np.float64)
    x = images(np.float64, 20)
    found = probe(model, [inside], Images(x), 2, engine=engine)[inside]
    assert found is not None


def test_features_are_what_enters_the_last_layer(build):
    model = build(np.float64)
    x = images(np.float64)
    features = _without_head(model)(x)
    fc = model["fc"]
    assert_close(features @ fc.weight.value + fc.bias.value, model(x))


def test_weights_are_saved_and_read(build, tmp_path):
    model, other = build(), build()
    for p in other.named_parameters().values():
        p.value[...] = 0
    md.save(tmp_path / "x.safetensors", md.fuse(model, 1))
    md.load(tmp_path / "x.safetensors", other)
    np.testing.assert_array_equal(other(images()), model(images()))


def test_what_a_users_layer_keeps_is_counted():
    class Keeps(md.Layer):
        def forward(self, x, ctx):
            square, root = x * x, np.sqrt(np.abs(x))
            return square + root, (x, square, root)

        def input_grad(self, dy, cache):
            return dy

    class Odd(Keeps):
        def forward(self, x, ctx):
            if type(x) is not np.ndarray:
                raise TypeError("no array of mine")
            return super().forward(x, ctx)

    stem, shape = md.Conv2D(3, 2, 1), (2, 4, 4, 3)
    one = 4 * 2 * 4 * 4 * 2  # bytes of a map
    assert training_memory(md.Sequential(stem, Keeps()), shape).caches == 4 * one  # and y
    assert training_memory(md.Sequential(stem, Odd()), shape).caches == 2 * one
