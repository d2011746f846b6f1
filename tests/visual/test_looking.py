"""Activations and projections as arrays: those of the library underneath, for plain and fused models."""

import numpy as np
import pytest

import minidl as md
from minidl.errors import ShapeError, UsageError
from minidl.visual.projection import Projector, seed
from minidl.visual.truncate import layer_table, truncate
from tests.cuda_standin import install
from tests.strategies import randomized

X = np.random.default_rng(0).normal(size=(3, 32, 32, 3))
BRANCH = "inception2.b5"


@pytest.fixture(scope="module")
def model():
    return randomized(md.models.build("refined", classes=5, dtype=np.float64), np.random.default_rng(1))


def test_activations_are_those_of_a_forward_pass_by_name(model):
    seen = md.activations(model, X, ["stem.conv", BRANCH, "fc"])
    assert list(seen) == ["stem.conv", BRANCH, "fc"]
    np.testing.assert_allclose(seen["fc"], model.forward(X, md.INFER)[0], rtol=1e-12)
    np.testing.assert_allclose(seen["stem.conv"], model.layers["stem"].layers["conv"].forward(X, md.INFER)[0])
    assert seen[BRANCH].shape[-1] == 16 and seen[BRANCH].min() == 0
    assert {"stem", BRANCH, "fc"} <= md.activations(model, X[:1]).keys()
    np.testing.assert_array_equal(md.activations(model, X, "fc")["fc"], seen["fc"])


def test_no_layer_is_run_after_the_last_that_is_asked_for(model):
    class Never(md.Layer):
        def forward(self, x, ctx):
            raise AssertionError

    cut = md.Sequential({**model.layers, "fc": Never()})
    np.testing.assert_array_equal(md.activations(cut, X, [BRANCH])[BRANCH], md.activations(model, X, BRANCH)[BRANCH])
    np.testing.assert_array_equal(md.activations(model, X, ["", "fc"])[""], model(X))


class Own(md.Layer):
    """y = f(f(x)); `helper` runs in no mode."""

    def __init__(self):
        self.f = md.Conv2D(3, 3, 3, padding=1, rng=0, dtype=np.float64)
        self.helper = md.ReLU()

    def out_shape(self, in_shape):
        return in_shape

    def forward(self, x, ctx):
        a, _ = ctx.run("f", self.f, x)
        return ctx.run("f", self.f, a)


def test_of_a_layer_that_is_run_twice_the_last_output_is_seen_whatever_else_is_asked_for():
    model = md.Sequential({"own": Own(), "relu": md.ReLU()})
    last = truncate(model, "own.f").forward(X, md.INFER)[0]
    np.testing.assert_array_equal(md.activations(model, X, "own.f")["own.f"], last)
    np.testing.assert_array_equal(md.activations(model, X, ["own.f", "relu"])["own.f"], last)


def test_a_layer_that_its_container_does_not_run_has_no_activations():
    with pytest.raises(UsageError, match="'helper': the container around it doesn't run it"):
        md.activations(Own(), X, "helper")


def test_a_fused_model_is_looked_into_as_the_plain_one(model):
    fused = md.fuse(model)
    one, other = (md.activations(m, X, [BRANCH, "stem.bn"]) for m in (model, fused))
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
    for look in (md.gradient, md.guided, md.deconv):
        np.testing.assert_array_equal(look(model, X, BRANCH, unit=3), look(fused, X, BRANCH, unit=3))


def test_the_gradient_of_a_score_is_its_derivative(model):
    g = md.gradient(model, X, "fc", unit=2)
    d, h = np.random.default_rng(2).normal(size=X.shape), 1e-6
    ends = [md.activations(model, X + s * h * d, "fc")["fc"][:, 2] for s in (1, -1)]
    np.testing.assert_allclose((g * d).sum(axis=(1, 2, 3)), (ends[0] - ends[1]) / (2 * h), rtol=1e-4)


@pytest.mark.parametrize(
    "look, rule, start, kind",
    [
        (md.gradient, "gradient", {}, "map"),
        (md.guided, "guided", {}, "map"),
        (md.deconv, "deconv", {}, "norm"),
        (md.gradient, "gradient", {"seed": "norm", "norm": "inf"}, "norm"),
    ],
)
def test_a_projection_is_the_plain_layers_own(model, look, rule, start, kind):
    part = truncate(model, BRANCH)
    a, cache = part.forward(X, md.PROBE)
    signal = seed(a, np.full(3, 4), start.get("norm", "l2"), kind)
    expected = part.project(signal, cache, md.Rule(rule))
    np.testing.assert_allclose(look(model, X, BRANCH, unit=4, **start), expected, atol=1e-12 * abs(expected).max())


class Doubled(md.Layer):
    """A container of one's own: y = 2 body(x)."""

    def __init__(self, body):
        self.body = body

    def out_shape(self, in_shape):
        return self.body.out_shape(in_shape)

    def forward(self, x, ctx):
        y, cache = ctx.run("body", self.body, x)
        return 2 * y, cache

    def input_grad(self, dy, cache):
        return self.body.input_grad(2 * dy, cache)

    def project(self, s, cache, rule):
        return self.body.project(2 * s, cache, rule)


@pytest.mark.parametrize("around", [md.Residual, Doubled])
@pytest.mark.parametrize("ready", [lambda m: m, md.fuse], ids=["plain", "fused"])
def test_any_container_is_looked_into(around, ready):
    rng = np.random.default_rng(0)
    conv, bn = md.Conv2D(3, 3, 3, padding=1, rng=rng, dtype=np.float64), md.BatchNorm2D(3, dtype=np.float64)
    block = md.Sequential({"conv": conv, "bn": bn, "relu": md.ReLU()})
    model = ready(md.Sequential({"block": around(block), "pool": md.MaxPool2D(2)}))
    a = md.activations(model, X, ["block.body.conv", "block.body.relu", "block"])
    np.testing.assert_allclose(a["block.body.conv"], conv(X), atol=1e-12)
    expected = a["block.body.relu"] + X if around is md.Residual else 2 * a["block.body.relu"]
    np.testing.assert_allclose(a["block"], expected, atol=1e-12)
    h, d = 1e-6, rng.normal(size=X.shape)
    g = md.gradient(model, X, "pool", unit=1, seed="ones")
    up, down = (md.activations(model, X + s * h * d, "pool")["pool"][..., 1].sum() for s in (1, -1))
    np.testing.assert_allclose((g * d).sum(), (up - down) / (2 * h), rtol=1e-5)
    assert md.deconv(model, X, "block.body.conv", unit=0).any() and md.guided(model, X, "block", unit=0).any()


class Again(md.Layer):
    """y = x + f(f(x)): the container runs f twice, and needs what the complete f gives."""

    def __init__(self, f):
        self.f = f

    def out_shape(self, in_shape):
        return self.f.out_shape(self.f.out_shape(in_shape))

    def forward(self, x, ctx):
        a, first = ctx.run("f", self.f, x)
        y, second = ctx.run("f", self.f, a)
        return x + y, (first, second)

    def input_grad(self, dy, cache):
        return dy + self.f.input_grad(self.f.input_grad(dy, cache[1]), cache[0])


class AgainByRule(Again):
    """The same, with a way back for every rule."""

    def project(self, s, cache, rule):
        return s + self.f.project(self.f.project(s, cache[1], rule), cache[0], rule)


@pytest.mark.parametrize("own", [Again, AgainByRule])
@pytest.mark.parametrize("engine", ["plain", "fused"])
@pytest.mark.parametrize("name", ["own.f", "own.f.wide", "own.f.wide.bn", "own.f.back"])
def test_a_layer_in_a_container_that_runs_it_twice_is_seen_where_it_runs_last(name, engine, own):
    rng = np.random.default_rng(0)
    conv, bn = md.Conv2D(3, 5, 3, padding=1, rng=rng, dtype=np.float64), md.BatchNorm2D(5, dtype=np.float64)
    wide = md.Sequential({"conv": conv, "bn": bn, "relu": md.ReLU()})
    f = {"wide": wide, "back": md.Conv2D(5, 3, 1, rng=rng, dtype=np.float64)}
    model, x = md.Sequential({"own": own(md.Sequential(f)), "relu": md.ReLU()}), rng.normal(size=(1, 4, 5, 3))
    assert name in [row.name for row in layer_table(model, (4, 5, 3), leaves=True)]
    a = md.activations(model, x, name)[name]
    np.testing.assert_allclose(truncate(model, name).forward(x, md.INFER)[0], a, atol=1e-12)
    assert truncate(model, name).out_shape(x.shape) == a.shape
    projector = Projector(model, name, "gradient", seed_map="ones", engine=engine)
    g, d, h = projector(x, np.zeros(1, int), np.ones(1, int)), rng.normal(size=x.shape), 1e-6
    up, down = (md.activations(model, x + s * h * d, name)[name][..., 1].sum() for s in (1, -1))
    np.testing.assert_allclose((g * d).sum(), (up - down) / (2 * h), rtol=1e-5)


def test_each_image_may_have_a_unit_of_its_own(model):
    each = md.deconv(model, X, BRANCH, unit=[1, 2, 3])
    for i in range(3):
        np.testing.assert_allclose(each[i], md.deconv(model, X[i : i + 1], BRANCH, unit=i + 1)[0], rtol=1e-12)


def test_images_take_the_type_of_the_model():
    small = md.Sequential([md.Conv2D(3, 4, 3, rng=0), md.ReLU()])
    assert md.activations(small, X, "1")["1"].dtype == md.gradient(small, X, "1", unit=0).dtype == np.float32


def test_a_model_on_a_gpu_is_named(monkeypatch):
    model = md.convert(md.Sequential([md.Conv2D(3, 4, 3, rng=0)]), xp=install(monkeypatch))
    with pytest.raises(UsageError, match="convert"):
        md.activations(model, X, "0")


@pytest.mark.parametrize(
    "x, layer, unit, error, said",
    [
        ("conv", X, 3, UsageError, "they come before the name"),
        (X, 3, "inception2.b5", UsageError, "3 is no name of a layer"),
        (X, None, 3, UsageError, "None is no name"),
        (X, "inception2.b55", 3, UsageError, "did you mean inception2.b5"),
        (X, BRANCH, 16, UsageError, "units 0 to 15"),
        (X, BRANCH, -1, UsageError, "units 0 to 15"),
        (X, BRANCH, 1.5, UsageError, "whole number from 0 to 15"),
        (X, BRANCH, [1, 2], UsageError, "one for each image"),
        (X[0], BRANCH, 3, ShapeError, r"x\[None\]"),
        (X.transpose(0, 3, 1, 2), BRANCH, 3, ShapeError, "channels first"),
        ((X > 0).astype(np.uint8), BRANCH, 3, UsageError, "normalize"),
    ],
)
def test_what_does_not_fit_is_named(model, x, layer, unit, error, said):
    with pytest.raises(error, match=said):
        md.gradient(model, x, layer, unit)


def test_the_model_comes_before_its_images(model):
    for call in (md.gradient, md.guided, md.deconv):
        with pytest.raises(UsageError, match=r"got \(ndarray, .*, the other way round: the model comes first"):
            call(X, model, "inception2.b5", 3)
    for call in (md.activations, lambda x, model: md.activations(model, x, 3), lambda x, model: md.fuse(x)):
        with pytest.raises(UsageError, match=r"the model comes first|no name of a layer|not a layer"):
            call(X, model)


def test_activations_share_no_memory_with_the_images_or_each_other():
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 1))
    layers = {"flat": md.Flatten(), "out": md.Dropout(0.5), "fc": md.Linear(16, 2, dtype=np.float64)}
    seen = md.activations(md.Sequential(layers), x, ["flat", "out", "fc"])
    np.testing.assert_array_equal(seen["flat"], seen["out"])
    assert not np.may_share_memory(seen["flat"], x) and not np.may_share_memory(seen["flat"], seen["out"])


def test_a_layer_is_no_name(model):
    with pytest.raises(UsageError, match="is no name of a layer"):
        md.activations(model, X, model["stem"])
