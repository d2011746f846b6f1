"""What every layer promises (`minidl/layers/base.py`), asserted for each class, an inception module and networks."""

import numpy as np
import pytest

import minidl.layers
import models
from minidl.layers import INFER, PROBE, Context, Frozen, Layer, Mode, Rule, SideHead
from minidl.optim import SGD, Adam
from tests.examples import EXAMPLES, example
from tests.examples import STEP as TRAIN

every_layer = pytest.mark.parametrize("name", EXAMPLES)
both_modes = pytest.mark.parametrize("ctx", [TRAIN, PROBE], ids=["TRAIN", "PROBE"])
RULES = [
    Rule(),
    Rule("guided"),
    *(Rule("deconv", bn, unpool) for bn in ("skip", "scale") for unpool in ("sum", "max")),
]


def gradients(layer):
    return {name: p.grad.copy() for name, p in layer.named_parameters().items()}


def backward(layer, x, dy, ctx, **options):
    """(dx, gradients) of a fresh forward pass."""
    layer.zero_grad()
    _, cache = layer.forward(x, ctx)
    dx = layer.backward(dy, cache, **options)
    return dx, gradients(layer)


def snapshot(cache):
    """A copy of everything in a cache, to be compared with `assert_same`."""
    if isinstance(cache, list | tuple):
        return [snapshot(part) for part in cache]
    return np.copy(cache)


def assert_same(a, b):
    if isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        assert_same(list(a.values()), list(b.values()))
    else:
        np.testing.assert_array_equal(a, b)


def test_there_is_an_example_of_every_layer_class():
    classes = {c for c in vars(minidl.layers).values() if isinstance(c, type) and issubclass(c, Layer)}
    classes -= {Layer, Frozen}  # a frozen layer has no gradients in training: tests/training/test_transfer.py
    classes -= {SideHead}  # its output has another shape in training: tests/layers/test_side_head.py
    seen = {type(layer) for name in EXAMPLES for layer in (example(name)[0],)}
    assert classes == seen


# --------------------------------------------------------- forward, backward


@every_layer
@both_modes
def test_gradients_accumulate(name, ctx):
    layer, x, dy = example(name)
    _, once = backward(layer, x, dy, ctx)
    _, cache = layer.forward(x, ctx)
    layer.backward(dy, cache)
    assert_same(gradients(layer), {n: 2 * g for n, g in once.items()})


@every_layer
def test_zero_grad_sets_all_gradients_to_zero(name):
    layer, x, dy = example(name)
    backward(layer, x, dy, TRAIN)
    layer.zero_grad()
    assert all(not g.any() for g in gradients(layer).values())


@every_layer
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_preserved(name, mode, dtype):
    layer, x, dy = example(name, dtype)
    y, cache = layer.forward(x, Context(mode, step=0))
    assert y.dtype == dtype
    if cache is not None:
        if mode is Mode.PROBE:
            for rule in RULES:
                assert layer.project(dy, cache, rule).dtype == dtype
        assert layer.backward(dy, cache).dtype == dtype
    for p in layer.named_parameters().values():
        assert p.value.dtype == p.grad.dtype == dtype
    assert all(b.dtype == dtype for b in layer.named_buffers().values())


@every_layer
@both_modes
def test_float32_agrees_with_float64(name, ctx):
    (dx32, grads32), (dx64, grads64) = (backward(*example(name, dtype), ctx) for dtype in (np.float32, np.float64))
    for a, b in [(dx32, dx64), *((grads32[n], grads64[n]) for n in grads64)]:
        np.testing.assert_allclose(a, b, atol=1e-4 * max(1.0, np.abs(b).max()))


@every_layer
@both_modes
def test_two_forwards_in_flight_keep_their_caches(name, ctx):
    layer, x, dy = example(name)
    _, x2, dy2 = example(name, seed=1)
    alone, alone2 = backward(layer, x, dy, ctx), backward(layer, x2, dy2, ctx)
    _, cache = layer.forward(x, ctx)
    _, cache2 = layer.forward(x2, ctx)
    for d, c, expected in ((dy, cache, alone), (dy2, cache2, alone2)):
        layer.zero_grad()
        assert_same((layer.backward(d, c), gradients(layer)), expected)


@every_layer
@both_modes
def test_a_pass_writes_neither_its_input_nor_dy(name, ctx):
    layer, x, dy = example(name)
    x.flags.writeable = dy.flags.writeable = False  # writing would raise
    y, cache = layer.forward(x, ctx)
    assert layer.backward(dy, cache).shape == x.shape
    _, cache = layer.forward(x, ctx)
    layer.input_grad(dy, cache)


@every_layer
def test_out_shape_is_the_shape_of_the_output(name):
    layer, x, _ = example(name)
    for ctx in (TRAIN, PROBE, INFER):
        assert layer.forward(x, ctx)[0].shape == layer.out_shape(x.shape)


@every_layer
@both_modes
def test_without_need_dx_backward_returns_none_and_the_same_gradients(name, ctx):
    layer, x, dy = example(name)
    _, expected = backward(layer, x, dy, ctx)
    dx, found = backward(layer, x, dy, ctx, need_dx=False)
    assert dx is None
    assert_same(found, expected)


@every_layer
def test_infer_keeps_no_cache_and_gives_the_output_of_probe(name):
    layer, x, _ = example(name)
    y, cache = layer.forward(x, INFER)
    assert cache is None
    assert_same(y, layer.forward(x, PROBE)[0])


@every_layer
def test_only_training_moves_the_buffers(name):
    layer, x, dy = example(name)
    before = snapshot(list(layer.named_buffers().values()))
    for ctx in (PROBE, INFER):
        layer.forward(x, ctx)
    backward(layer, x, dy, PROBE)
    assert_same(before, list(layer.named_buffers().values()))
    layer.forward(x, TRAIN)
    for old, new in zip(before, layer.named_buffers().values(), strict=True):
        assert (old != new).all()


@every_layer
@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_parameters_and_buffers_are_never_rebound(name, optimizer):
    layer, x, dy = example(name)
    arrays = [a for p in layer.named_parameters().values() for a in (p.value, p.grad)]
    arrays += layer.named_buffers().values()
    step = optimizer(layer.named_parameters(), lr=0.1)
    backward(layer, x, dy, TRAIN)
    step.step()
    after = [a for p in layer.named_parameters().values() for a in (p.value, p.grad)]
    after += layer.named_buffers().values()
    assert all(a is b for a, b in zip(arrays, after, strict=True))


def test_assigning_another_array_to_a_parameter_raises():
    p = example("Linear")[0].params["weight"]
    with pytest.raises(AttributeError, match="in place"):
        p.value = p.value.copy()
    with pytest.raises(AttributeError, match="in place"):
        p.grad = p.grad + 1
    p.value += 1
    p.grad[...] = 2
    assert (p.grad == 2).all()


# --------------------------------------------------------- input_grad, project


@every_layer
@both_modes
def test_input_grad_is_backwards_dx_and_changes_nothing(name, ctx):
    layer, x, dy = example(name)
    dx, _ = backward(layer, x, dy, ctx)
    layer.zero_grad()
    _, cache = layer.forward(x, ctx)
    before = snapshot(cache)
    for _ in range(2):
        assert_same(layer.input_grad(dy, cache), dx)
    assert_same(before, snapshot(cache))
    assert all(not g.any() for g in gradients(layer).values())


@every_layer
def test_the_gradient_projection_is_backwards_dx(name):
    layer, x, dy = example(name)
    dx, _ = backward(layer, x, dy, PROBE)
    _, cache = layer.forward(x, PROBE)
    assert_same(layer.project(dy, cache, Rule("gradient")), dx)
    assert_same(layer.project(dy, cache, Rule("gradient", bn="scale", unpool="last")), dx)


@every_layer
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_projection_changes_neither_cache_nor_gradients_nor_signal(name, rule):
    layer, x, dy = example(name)
    layer.zero_grad()
    _, cache = layer.forward(x, PROBE)
    before = snapshot(cache)
    dy.flags.writeable = False
    first = layer.project(dy, cache, rule).copy()
    assert first.shape == x.shape
    assert_same(layer.project(dy, cache, rule), first)
    assert_same(before, snapshot(cache))
    assert all(not g.any() for g in gradients(layer).values())


@every_layer
@pytest.mark.parametrize("unpool", ["sum", "last", "max"])
def test_the_deconvnet_is_positively_homogeneous(name, unpool):
    layer, x, dy = example(name)
    _, cache = layer.forward(x, PROBE)
    rule = Rule("deconv", unpool=unpool)
    assert_same(layer.project(4 * dy, cache, rule), 4 * layer.project(dy, cache, rule))


# ----------------------------------------------------------- a whole network


@both_modes
def test_the_refined_network_keeps_the_contract_in_float32(ctx):
    net = models.build("refined", 4, dropout=0.4)
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, 32, 32, 3)).astype(np.float32), rng.normal(size=(2, 4)).astype(np.float32)
    x.flags.writeable = dy.flags.writeable = False
    dx, once = backward(net, x, dy, ctx)
    _, cache = net.forward(x, ctx)
    net.forward(-x, ctx)
    np.testing.assert_allclose(net.input_grad(dy, cache), dx, atol=1e-6)
    assert_same(net.backward(dy, cache), dx)
    assert_same(gradients(net), {name: 2 * g for name, g in once.items()})
    assert {a.dtype for a in (dx, *once.values(), *net.named_buffers().values())} == {np.dtype(np.float32)}
