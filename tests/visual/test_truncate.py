"""A layer by its name: the model cut after it computes its map, and leads from there back to the pixels."""

from contextlib import contextmanager

import numpy as np
import pytest

import models
from minidl.engine import fuse
from minidl.errors import UsageError
from minidl.layers import (
    INFER,
    PROBE,
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    Flatten,
    GlobalAvgPool,
    Layer,
    Linear,
    MaxPool2D,
    ReLU,
    Rule,
    Sequential,
)
from minidl.visual.truncate import gradient_at, layer_table, truncate
from models.inception import REFINED, MaxPool, build_inception
from tests.examples import leaf_names
from tests.strategies import randomized

RULES = [Rule(), Rule("guided"), Rule("deconv", "skip", "sum"), Rule("deconv", "scale", "max")]


def nested(dtype=np.float64):
    """Chains in branches in chains, a branch in a branch, and maxima that windows share."""

    def conv(channels, filters, kernel=1):
        return Conv2D(channels, filters, kernel, padding=kernel // 2, rng=0, dtype=dtype)

    inner = Concat([{"p": conv(4, 2)}, {"q": ReLU(), "r": conv(4, 3, 3)}])
    split = Concat(
        [
            {"first": Sequential({"conv": conv(5, 4), "bn": BatchNorm2D(4, dtype=dtype), "inner": inner})},
            {"average": AvgPool2D(3, 1, 1)},
            {"relu": ReLU(), "last": conv(5, 2)},
        ]
    )
    front = Sequential({"conv": conv(3, 5, 3), "pool": MaxPool2D(3, 2)})
    return Sequential({"front": front, "split": split, "flat": Flatten(), "fc": Linear(108, 4, rng=0, dtype=dtype)})


def refined():
    """The refined net with an eighth of its filters."""
    rows = {k: row if isinstance(row, MaxPool) else type(row)(*(n // 8 for n in row)) for k, row in REFINED.items()}
    return build_inception(rows, classes=5, dropout=0.4, rng=np.random.default_rng(0), dtype=np.float64)


BUILT = {
    "nested": (nested, (2, 7, 8, 3)),
    "convnet": (lambda: models.build("convnet", 3, dropout=0.3, dtype=np.float64), (2, 9, 8, 3)),
    "refined": (refined, (1, 32, 33, 3)),
}


@pytest.fixture(params=BUILT)
def model_and_x(request):
    build, shape = BUILT[request.param]
    rng = np.random.default_rng(0)
    return randomized(build(), rng), rng.normal(size=shape)


def layers_of(model: Layer) -> dict[str, Layer]:
    """Every layer below `model` by its name."""
    return model.named_layers()


@contextmanager
def patched(layer, method, change):
    """`layer` with its `method` replaced by `change(method)`."""
    setattr(layer, method, change(getattr(layer, method)))
    try:
        yield
    finally:
        delattr(layer, method)


def own_maps(model, x):
    """The output of every layer, as the model itself computes it on the way to its own."""
    maps = {}
    layers = layers_of(model)
    for name, layer in layers.items():

        def watched(x, ctx, name=name, forward=layer.forward):
            y, cache = forward(x, ctx)
            maps[name] = y
            return y, cache

        layer.forward = watched
    model.forward(x, INFER)
    for layer in layers.values():
        del layer.forward
    assert maps.keys() == layers.keys()
    return maps


# ----------------------------------------------------------------- truncate


@pytest.mark.parametrize("ctx", [INFER, PROBE], ids=["INFER", "PROBE"])
def test_the_truncated_model_computes_the_map_of_every_layer(model_and_x, ctx):
    model, x = model_and_x
    for name, expected in own_maps(model, x).items():
        y, cache = truncate(model, name).forward(x, ctx)
        np.testing.assert_array_equal(y, expected, err_msg=name)
        assert (cache is None) == (ctx is INFER)


def test_the_truncated_model_may_be_fused(model_and_x):
    model, x = model_and_x
    maps = own_maps(model, x)
    for info in layer_table(model, x.shape[1:]):
        fused = fuse(truncate(model, info.name), threads=1)
        np.testing.assert_allclose(fused.forward(x, INFER)[0], maps[info.name], rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_it_projects_as_the_whole_model_does_when_only_that_layer_gets_a_signal(model_and_x, rule):
    model, x = model_and_x
    y, cache = model.forward(x, PROBE)
    rng = np.random.default_rng(1)
    for name, layer in layers_of(model).items():
        part = truncate(model, name)
        a, part_cache = part.forward(x, PROBE)
        signal = rng.normal(size=a.shape)
        inject = lambda project, signal=signal: lambda s, cache, rule: project(signal, cache, rule)  # noqa: E731
        with patched(layer, "project", inject):
            expected = model.project(np.zeros_like(y), cache, rule)
        np.testing.assert_array_equal(part.project(signal, part_cache, rule), expected, err_msg=name)
        assert expected.any()


@pytest.mark.slow
def test_names_and_parameters_stay_those_of_the_model(model_and_x):
    model, x = model_and_x
    layers = layers_of(model)
    parameters, buffers = model.named_parameters(), model.named_buffers()
    for name in layers:
        part = truncate(model, name)
        assert list(layers_of(model)) == list(layers)
        assert list(model.named_parameters()) == list(parameters)
        assert all(part[leaf] is layers[leaf] for leaf in leaf_names(part))
        assert layers_of(part).keys() <= layers.keys()
        assert list(fuse(part, threads=1).named_parameters()) == list(part.named_parameters())
        assert all(p is parameters[n] for n, p in part.named_parameters().items())
        assert all(b is buffers[n] for n, b in part.named_buffers().items())
        assert truncate(part, name).forward(x, INFER)[0].shape == part.out_shape(x.shape)


def test_only_what_the_layer_depends_on_is_in_the_truncated_model():
    part = truncate(refined(), "inception2.b3")
    weights = [name.removesuffix(".conv.weight") for name in part.named_parameters() if name.endswith("weight")]
    inception1 = [f"inception1.{b}" for b in ("b1", "b3_reduce", "b3", "b5_reduce", "b5", "pool")]
    assert weights == ["stem", *inception1, "inception2.b3_reduce", "inception2.b3"]
    part = truncate(refined(), "inception2.b3.conv")
    assert leaf_names(part)[-2:] == ["inception2.b3_reduce.relu", "inception2.b3.conv"]


def test_no_name_is_the_whole_model_itself():
    model = Concat([{"a": Conv2D(3, 2, 1, rng=0)}, {"b": ReLU()}])
    assert truncate(model, "") is model
    assert list(model.named_parameters()) == ["a.weight", "a.bias"]
    dy = np.ones(3)
    assert gradient_at(model, dy, None, "") is dy


def test_of_a_layer_in_two_places_the_place_asked_for_counts():
    relu = ReLU()
    model = Sequential({"a": relu, "conv": Conv2D(3, 3, 1, rng=0), "c": relu})
    assert [list(truncate(model, name).layers) for name in ("a", "c")] == [["a"], ["a", "conv", "c"]]
    x = np.random.default_rng(0).normal(size=(1, 2, 2, 3)).astype(np.float32)
    y, cache = model.forward(x, PROBE)
    np.testing.assert_array_equal(gradient_at(model, y, cache, "c"), y)
    assert not np.array_equal(gradient_at(model, y, cache, "a"), y)


def test_a_part_of_a_model_is_a_model_with_names_of_its_own():
    module = models.build("refined", 5).layers["inception1"]
    assert [info.name for info in layer_table(module, (8, 8, 128))][:2] == ["b1", "b3_reduce"]
    assert truncate(module, "b3").out_shape((1, 8, 8, 128)) == (1, 8, 8, 64)


def test_in_a_fused_model_composites_and_the_plain_layers_they_stand_for_have_names():
    model = randomized(models.build("refined", 5), np.random.default_rng(0))
    fused, x = fuse(model, threads=1), np.random.default_rng(1).normal(size=(2, 32, 32, 3)).astype(np.float32)
    a = truncate(fused, "inception1+pool2").forward(x, INFER)[0]
    np.testing.assert_allclose(a, truncate(model, "pool2").forward(x, INFER)[0], rtol=1e-3, atol=1e-3)
    a = truncate(fused, "inception2.b3").forward(x, INFER)[0]
    np.testing.assert_allclose(a, truncate(model, "inception2.b3").forward(x, INFER)[0], rtol=1e-3, atol=1e-3)


# -------------------------------------------------------------- layer_table


def test_the_refined_nets_layers_and_shapes_are_the_papers():
    infos = {info.name: info.shape for info in layer_table(models.build("refined", 200), (64, 64, 3))}
    branches = ("b1", "b3_reduce", "b3", "b5_reduce", "b5", "avgpool", "pool")
    assert list(infos)[:10] == ["stem", "pool1", *(f"inception1.{b}" for b in branches), "inception1"]
    assert list(infos)[-2:] == ["avgpool", "fc"]
    assert infos["stem"] == (62, 62, 128) and infos["pool1"] == (30, 30, 128)
    assert [infos[f"inception4.{b}"][-1] for b in branches] == [80, 120, 160, 20, 40, 256, 40]
    assert infos["inception4"] == (8, 8, 320) and infos["avgpool"] == (320,) and infos["fc"] == (200,)


def test_every_layer_is_listed_with_the_shape_of_its_map(model_and_x):
    model, x = model_and_x
    maps = own_maps(model, x)
    infos = layer_table(model, x.shape[1:], leaves=True)
    assert {info.name: info.shape for info in infos} == {name: a.shape[1:] for name, a in maps.items()}
    assert all(info.units == maps[info.name].shape[-1] for info in infos)
    assert {info.name for info in layer_table(model, x.shape[1:])} <= maps.keys()


# -------------------------------------------------------------- gradient_at


def test_the_gradient_at_a_layer_is_what_reaches_it_on_the_way_back(model_and_x):
    model, x = model_and_x
    y, cache = model.forward(x, PROBE)
    dy = np.random.default_rng(2).normal(size=y.shape)
    for name, layer in layers_of(model).items():
        seen = []
        with patched(layer, "input_grad", lambda back, seen=seen: lambda d, c: seen.append(d) or back(d, c)):
            model.input_grad(dy, cache)
        for _ in range(2):  # the cache is not used up
            np.testing.assert_array_equal(gradient_at(model, dy, cache, name), seen[0], err_msg=name)
    assert not any(p.grad.any() for p in model.named_parameters().values())


def test_the_gradient_at_a_layer_agrees_with_finite_differences(model_and_x):
    model, x = model_and_x
    rng = np.random.default_rng(3)
    y, cache = model.forward(x, PROBE)
    dy = rng.normal(size=y.shape)
    layers, maps = layers_of(model), own_maps(model, x)
    for info in layer_table(model, x.shape[1:]):
        a = maps[info.name]
        v = rng.normal(size=a.shape) * (a != 0)  # the zeros of a ReLU tie in the max pool behind it: a kink

        def loss(step, layer=layers[info.name], v=v):
            """<dy, output> with the layer's output moved by step v."""
            with patched(layer, "forward", lambda forward: lambda x, ctx: (forward(x, ctx)[0] + step * v, None)):
                return np.vdot(dy, model.forward(x, INFER)[0])

        da = gradient_at(model, dy, cache, info.name)
        numeric = (loss(1e-7) - loss(-1e-7)) / 2e-7
        assert abs(numeric - np.vdot(da, v)) <= 1e-6 * max(np.linalg.norm(da), 1), info.name


# ------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("name", "hints"),
    [
        ("inception2.b4", ("inception2.b3", "inception2.b5", "stem, pool1")),
        ("incepton3", ("did you mean inception3", "fc")),
        ("inception2.b3.convs", ("inception2.b3.conv",)),
        ("b3", ("choose stem",)),
        ("stem.", ("did you mean stem",)),
        ("nothing of the kind", ("choose stem, pool1, inception1",)),
    ],
)
def test_an_unknown_layer_is_one_line_with_the_nearest_names(name, hints):
    model = models.build("refined", 5)
    for ask in (truncate, lambda model, name: gradient_at(model, None, None, name)):
        with pytest.raises(UsageError) as caught:
            ask(model, name)
        line = str(caught.value)
        assert "\n" not in line and repr(name) in line
        assert all(hint in line for hint in hints), line


def test_many_layers_are_not_all_written_out():
    with pytest.raises(UsageError, match=r"choose 0, 1, .*11, \.\.\. or") as caught:
        truncate(Sequential([ReLU() for _ in range(40)]), "x")
    assert "12" not in str(caught.value)


def test_what_runs_in_a_container_of_ones_own_has_a_name():
    class Residual(Layer):
        """y = x + f(x)"""

        def __init__(self, f):
            super().__init__()
            self.f = f

        def children(self):
            return {"f": self.f}

        def forward(self, x, ctx):
            y, cache = self.f.forward(x, ctx)
            return x + y, cache

        def input_grad(self, dy, cache):
            return dy + self.f.input_grad(dy, cache)

    model = Sequential({"res": Residual(Conv2D(3, 3, 1, rng=0, dtype=np.float64)), "relu": ReLU()})
    x = np.random.default_rng(0).normal(size=(1, 2, 2, 3))
    np.testing.assert_array_equal(truncate(model, "relu").forward(x, INFER)[0], model.forward(x, INFER)[0])
    part = truncate(model, "res.f")
    y, cache = part.forward(x, PROBE)
    np.testing.assert_array_equal(y, model["res.f"].forward(x, INFER)[0])
    np.testing.assert_array_equal(part.project(y, cache, Rule()), model["res.f"].input_grad(y, x))


class Gated(Layer):
    """y = x g(x), where g gives a number for each channel; `out_shape` doesn't ask g."""

    def __init__(self, gate):
        self.gate = gate

    def forward(self, x, ctx):
        g, _ = ctx.run("gate", self.gate, x)
        return x * g[:, None, None, :], None

    def out_shape(self, in_shape):
        return in_shape


def test_the_shape_of_a_layer_is_known_in_a_container_that_does_not_ask_it():
    gate = Sequential({"pool": GlobalAvgPool(), "fc": Linear(4, 4, rng=0, dtype=np.float64)})
    model = Sequential({"conv": Conv2D(3, 4, 3, rng=0, dtype=np.float64), "gated": Gated(gate)})
    shapes = {row.name: row.shape for row in layer_table(model, (9, 9, 3))}
    assert shapes == {"conv": (7, 7, 4), "gated.gate": (4,), "gated": (7, 7, 4)}
