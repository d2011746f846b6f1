"""A converted model computes the same, and has nothing in common with the old one."""

import gc
import weakref
from dataclasses import dataclass

import numpy as np
import pytest

import models
from minidl.diagnostics.gradcheck import gradcheck
from minidl.diagnostics.trace import trace
from minidl.engine import fuse
from minidl.layers import INFER, TRAIN, Context, Layer, Linear, Mode, Sequential, freeze
from minidl.layers.convert import convert
from tests.examples import EXAMPLES, example, leaf_names


def arrays(model):
    values = {name: p.value for name, p in model.named_parameters().items()}
    return values | {f"{n}/grad": p.grad for n, p in model.named_parameters().items()} | model.named_buffers()


@pytest.mark.parametrize("name", list(EXAMPLES))
@pytest.mark.parametrize("ctx", [INFER, Context(Mode.TRAIN, seed=3, step=5)])
def test_without_arguments_it_is_a_copy_that_computes_the_same(name, ctx):
    layer, x, dy = example(name)
    copy = convert(layer)
    y, cache = layer.forward(x, ctx)
    y2, cache2 = copy.forward(x, ctx)
    np.testing.assert_array_equal(y, y2)
    if ctx.training:
        layer.zero_grad()
        np.testing.assert_array_equal(layer.backward(dy, cache), copy.backward(dy, cache2))
        assert arrays(copy).keys() == arrays(layer).keys()
        for key, a in arrays(layer).items():
            np.testing.assert_array_equal(a, arrays(copy)[key])


@pytest.mark.parametrize("dtype", [None, np.float32, "float64"])
def test_no_array_is_shared_and_the_old_model_is_not_touched(dtype):
    model = models.build("refined", 10, dropout=0.4)
    before, copies = arrays(model), {name: a.copy() for name, a in arrays(model).items()}
    new = convert(model, dtype=dtype)
    for a in arrays(new).values():
        a += 1
    for key, a in arrays(model).items():
        assert a is before[key] and a.dtype == np.float32
        np.testing.assert_array_equal(a, copies[key])


def test_every_array_gets_the_dtype_and_so_does_the_output():
    model = convert(models.build("refined", 10), dtype=np.float64)
    assert {a.dtype for a in arrays(model).values()} == {np.dtype(np.float64)}
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3))
    y, cache = model.forward(x, TRAIN)
    assert y.dtype == model.backward(y, cache).dtype == np.float64


def test_single_to_double_and_back_loses_nothing():
    model = models.build("convnet", 10)
    there_and_back = arrays(convert(convert(model, dtype=np.float64), dtype=np.float32))
    for key, a in arrays(model).items():
        np.testing.assert_array_equal(a, there_and_back[key])


def test_names_and_tags_are_kept_also_of_a_part_of_a_network():
    for model in (models.build("refined", dropout=0.4), models.build("refined").layers["inception3"]):
        new = convert(model, xp=np)
        assert leaf_names(new) == leaf_names(model)
        assert {n: p.tags for n, p in new.named_parameters().items()} == {
            n: p.tags for n, p in model.named_parameters().items()
        }


def test_gradients_of_the_new_model_start_at_zero():
    model = Sequential([Linear(3, 2)])
    model.layers["0"].params["weight"].grad[...] = 7
    assert not convert(model).layers["0"].params["weight"].grad.any()


def test_tied_weights_stay_tied():
    first, second = Linear(3, 3, rng=0), Linear(3, 3, rng=1)
    second.params["weight"] = first.params["weight"]
    new = convert(Sequential([first, second, first]))
    a, b, c = new.layers.values()
    assert a is c and a is not first
    assert a.params["weight"] is b.params["weight"] is not first.params["weight"]


def test_layers_that_are_equal_but_not_the_same_stay_two():
    @dataclass
    class Times(Layer):  # has __eq__, and so no hash
        factor: float

        def forward(self, x, ctx):
            return self.factor * x, None

        def input_grad(self, dy, cache):
            return self.factor * dy

    one, other = Times(2.0), Times(2.0)
    model = Sequential({"a": one, "fc": Linear(3, 3, rng=0), "b": other, "c": one})
    new = convert(model, dtype=np.float64)
    assert new["a"] is new["c"] and new["a"] is not new["b"] and new["a"] is not one
    x = np.ones((2, 3))
    assert gradcheck(new, x).error < 1e-7 and len(trace(model, x)) == 4
    np.testing.assert_allclose(fuse(model, 1)(x), new(x), rtol=1e-6)
    assert list(freeze(model, "fc").named_layers()) == ["a", "fc", "b", "c"]


class Device(np.ndarray):
    """Stands for an array of another module."""


class xp:
    __name__ = "device"

    @staticmethod
    def asarray(x):
        return np.array(x).view(Device)


def test_arrays_become_those_of_the_module_asked_for():
    model = models.build("convnet", 10)
    new = convert(model, xp=xp, dtype=np.float64)
    assert {type(a) for a in arrays(new).values()} == {Device}
    assert {type(a) for a in arrays(model).values()} == {np.ndarray}


def test_a_model_that_nobody_holds_gives_its_memory_back_at_once():
    gc.collect()
    gc.disable()  # what waits for the collector keeps the memory of a GPU
    try:
        model = models.build("convnet", classes=3)
        held = [weakref.ref(model), weakref.ref(convert(model)), weakref.ref(fuse(model))]
        assert "conv1" in model and len(model.named_layers()) > 5
        del model
        assert [ref() for ref in held] == [None, None, None]
    finally:
        gc.enable()
