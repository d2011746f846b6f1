"""The control: a network without training and its statistics, and likeness against scipy and by construction."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

import models
from minidl.data import load_shapes
from minidl.errors import UsageError
from minidl.layers import (
    INFER,
    TRAIN,
    BatchNorm2D,
    Conv2D,
    Dropout,
    Flatten,
    GeneralConv2D,
    Layer,
    Linear,
    Parameter,
    ReLU,
    Sequential,
    freeze,
)
from minidl.layers.convert import convert
from minidl.visual.control import BATCH, IMAGES, likeness, null, randomised, some_images
from minidl.visual.projection import RULE_SEEDS, Projector
from tests.strategies import randomized
from tests.visual.test_probe import Memory
from tests.visual.test_truncate import refined

EXAMPLES = Path(__file__).parents[2] / "examples"


def script(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["build"]


NETS = {
    "refined": refined,
    "convnet": lambda: models.build("convnet", 3, dropout=0.3),
    "residual": lambda: script("resnet")(classes=4, widths=(4, 6)),
    "own container": lambda: script("custom_layer")(4, np.float64),
}
every_net = pytest.mark.parametrize("net", NETS)


def images(n, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(0.3, 2, size=(n, 16, 16, 3)).astype(dtype)


def batches_for(model, count=3):
    dtype = next(iter(model.named_parameters().values())).value.dtype
    return [images(6, seed, dtype) for seed in range(count)]


def arrays_of(model):
    parameters = model.named_parameters()
    values = {name: p.value for name, p in parameters.items()}
    return {**values, **{f"d {name}": p.grad for name, p in parameters.items()}, **model.named_buffers()}


def convnet(seed):
    return models.build("convnet", 3, seed=seed)


def trained(net):
    model = randomized(NETS[net](), np.random.default_rng(0))
    for p in model.named_parameters().values():
        p.grad[...] = 7
    return model


# ------------------------------------------------------------------- the random network


@every_net
@pytest.mark.parametrize("given", [False, True], ids=["drawn by layer", "drawn by its builder"])
def test_it_has_other_weights_and_statistics_under_the_same_names(net, given):
    model = trained(net)
    new = randomised(model, batches_for(model), (lambda seed: NETS[net]()) if given else None, threads=1)
    old, arrays = arrays_of(model), arrays_of(new)
    assert list(arrays) == list(old)
    for name, a in arrays.items():
        assert (a.shape, a.dtype) == (old[name].shape, old[name].dtype)
        assert not np.shares_memory(a, old[name])
        alone = a.size == 1 and not given  # a single number has no other order
        assert alone or not np.array_equal(a, old[name]), name
    assert {leaf.momentum for leaf in new.leaves() if isinstance(leaf, BatchNorm2D)} <= {0.1}
    y = new.forward(batches_for(model)[0], INFER)[0]
    assert np.isfinite(y).all() and y.std() > 0


@every_net
def test_the_model_does_not_change_even_if_it_is_given_twice(net):
    model = trained(net)
    before = {name: a.copy() for name, a in arrays_of(model).items()}
    for fresh in (None, lambda seed: model):
        randomised(model, batches_for(model), fresh, threads=1)
    for name, a in arrays_of(model).items():
        np.testing.assert_array_equal(a, before[name])
    assert {leaf.momentum for leaf in model.leaves() if isinstance(leaf, BatchNorm2D)} <= {0.1}


def test_a_seed_and_nothing_else_determines_the_weights():
    model = trained("convnet")
    one, two, other = (randomised(model, batches_for(model), seed=s, threads=t) for s, t in ((1, 1), (1, 2), (2, 1)))
    for (name, a), b in zip(arrays_of(one).items(), arrays_of(two).values(), strict=True):
        np.testing.assert_array_equal(a, b)
        if name.endswith("weight") and not name.startswith("d "):
            assert not np.array_equal(a, arrays_of(other)[name])
    fc = [fresh(5).layers["fc"] for fresh in (lambda seed: randomised(model, [], convnet, seed=seed), convnet)]
    np.testing.assert_array_equal(*(layer.params["weight"].value for layer in fc))


class Scale(Layer):
    def __init__(self):
        self.params["w"] = Parameter(np.linspace(1, 2, 40).reshape(5, 8))

    def forward(self, x, ctx):
        return x * self.params["w"].value.mean(), None


def test_layers_are_drawn_as_their_classes_draw_them_and_others_keep_their_numbers():
    model = randomized(
        Sequential(
            {
                "conv": Conv2D(8, 500, 3, dtype=np.float64),
                "bn": BatchNorm2D(500, dtype=np.float64),
                "own": Scale(),
                "grouped": GeneralConv2D(500, 500, (3, 1), groups=100, dtype=np.float64),
                "flat": Flatten(),
                "fc": Linear(500, 30, dtype=np.float64),
            }
        ),
        np.random.default_rng(0),
    )
    new, old = ({n: p.value for n, p in m.named_parameters().items()} for m in (randomised(model, []), model))
    assert new["conv.weight"].std() == pytest.approx(np.sqrt(2 / 72), rel=0.02)
    assert new["grouped.weight"].std() == pytest.approx(np.sqrt(2 / 15), rel=0.02)
    assert new["fc.weight"].std() == pytest.approx(np.sqrt(1 / 500), rel=0.02)
    assert not new["conv.bias"].any() and not new["fc.bias"].any() and not new["bn.beta"].any()
    assert (new["bn.gamma"] == 1).all()
    assert sorted(new["own.w"].ravel()) == sorted(old["own.w"].ravel()) and not np.array_equal(
        new["own.w"], old["own.w"]
    )


def test_a_parameter_that_a_subclass_adds_keeps_its_numbers():
    class Gained(Conv2D):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            self.params["gain"] = Parameter(np.array([2.0, 3.0], np.float32))

    new = randomised(Sequential(Gained(3, 2, 3)), ())
    assert sorted(new["0"].params["gain"].value.tolist()) == [2, 3] and new["0"].params["weight"].value.any()


def test_it_has_the_precision_of_the_model_whatever_fresh_makes():
    double = randomised(convert(convnet(0), dtype=np.float64), [images(4, dtype=np.float64)], convnet)
    assert {a.dtype for a in arrays_of(double).values()} == {np.dtype(np.float64)}


def test_another_architecture_is_refused_in_one_line():
    with pytest.raises(UsageError) as caught:
        randomised(models.build("convnet", 3), [], lambda seed: models.build("convnet", 4))
    assert str(caught.value) == "fresh: its fc.bias is (4,), and that of the model (3,)"


# --------------------------------------------------------------------------- its statistics


def brute_force(model, batches):
    """(mean, variance) of every BN's input: averages over the batches of what each one has in a TRAIN pass."""
    moments = {}
    for k, x in enumerate(batches):
        for name, layer in model.layers.items():
            if isinstance(layer, BatchNorm2D):
                rows = x.reshape(-1, x.shape[-1])
                moments.setdefault(name, []).append((rows.mean(axis=0), rows.var(axis=0, ddof=1)))
            x, _ = layer.forward(x, TRAIN.at_step(k).at(name))
    return {name: np.mean(m, axis=0) for name, m in moments.items()}


def deep():
    """BN after convolutions, and after dropout and a linear layer."""
    layers = {}
    for i, (c, f) in enumerate([(3, 9), (9, 8), (8, 5)]):
        layers[f"conv{i}"], layers[f"bn{i}"] = Conv2D(c, f, 3, rng=i, dtype=float), BatchNorm2D(f, dtype=float)
        layers[f"relu{i}"] = ReLU()
    end = {"drop": Dropout(0.3), "flat": Flatten(), "fc": Linear(500, 6, rng=0, dtype=float)}
    return Sequential({**layers, **end, "bn": BatchNorm2D(6, dtype=float)})


def test_the_statistics_are_those_of_the_images_in_training():
    model, batches = randomized(deep(), np.random.default_rng(0)), [images(n, n, float) for n in (4, 7, 2)]
    new = randomised(model, batches, threads=1)
    found = new.named_buffers()
    for name, (mean, var) in brute_force(randomised(model, []), batches).items():
        np.testing.assert_allclose(found[f"{name}.running_mean"], mean, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found[f"{name}.running_var"], var, rtol=1e-9)


def test_the_order_of_batches_and_of_images_in_them_is_of_no_consequence():
    model = trained("refined")
    batches = batches_for(model, 4)
    one, other = (
        randomised(model, b, threads=1).named_buffers() for b in (batches, [b[::-1] for b in batches[::-1]])
    )
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-6, atol=1e-6)


def test_without_images_the_statistics_are_zero_and_one():
    buffers = randomised(trained("convnet"), []).named_buffers()
    assert all((b == (0 if name.endswith("mean") else 1)).all() for name, b in buffers.items())


def test_a_frozen_part_and_a_layer_in_two_places_have_them_too():
    model = randomized(deep(), np.random.default_rng(0))
    batches = [images(5, 0, float), images(5, 1, float)]
    frozen, free = (randomised(m, batches, threads=1) for m in (freeze(model, "relu1"), model))
    for name, b in free.named_buffers().items():
        np.testing.assert_allclose(frozen.named_buffers()[name], b, rtol=1e-12)
    bn, conv = BatchNorm2D(3, dtype=float), Conv2D(3, 3, 1, rng=0, dtype=float)
    twice = randomised(Sequential({"a": bn, "conv": conv, "b": bn}), batches, threads=1)
    assert twice.layers["a"] is twice.layers["b"] and np.isfinite(twice.forward(batches[0], INFER)[0]).all()


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (33, [17, 16]), (1000, [BATCH] * (IMAGES // BATCH))])
def test_the_images_are_spread_over_the_split_in_batches(count, sizes):
    split = Memory(np.arange(count, dtype=np.float32).reshape(count, 1, 1, 1).repeat(3, axis=3), None)
    found = list(some_images(split, np.zeros(3), np.ones(3)))
    assert [len(x) for x in found] == sizes
    positions = np.concatenate(found)[:, 0, 0, 0]
    assert len(set(positions)) == sum(sizes) and positions[0] == 0 and positions[-1] == count - 1


# -------------------------------------------------------------------------------- likeness


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_likeness_is_the_rank_correlation_of_magnitudes():
    a, b = noise(4, 9, 7, 3), noise(4, 9, 7, 3, seed=1)
    a[1, :4], b[1, 2:7] = 0, 0  # what a unit doesn't see: many equal pixels
    b[2] = np.rint(a[2])
    want = [
        spearmanr(np.abs(x).sum(-1).ravel(), np.abs(y).sum(-1).ravel()).statistic for x, y in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(likeness(a, b), want, rtol=1e-12)
    np.testing.assert_allclose(likeness(a.astype(np.float32), b.astype(np.float32)), want, rtol=1e-5)
    np.testing.assert_array_equal(
        likeness(a.reshape(2, 2, 9, 7, 3), b.reshape(2, 2, 9, 7, 3)).ravel(), likeness(a, b)
    )


def test_likeness_of_the_same_of_rising_and_falling_functions_and_of_noise():
    g = noise(5, 64, 64, 3)
    m = np.abs(g).sum(axis=-1, keepdims=True)
    for other in (g, -g, m, m**3, 7 * g, np.log(m) + 100):
        np.testing.assert_allclose(likeness(g, other), 1, rtol=1e-12)
    np.testing.assert_allclose(likeness(g, 1 / m), -1, rtol=1e-12)
    assert np.abs(likeness(g, noise(5, 64, 64, 3, seed=1))).max() < 0.1


def test_a_blank_picture_has_no_likeness():
    a, b = noise(3, 5, 5, 3), noise(3, 5, 5, 3, seed=1)
    a[0], b[1] = 0, 2
    assert np.isnan(likeness(a, b)).tolist() == [True, True, False]
    assert likeness(a[:0], b[:0]).shape == (0,)


def test_null_compares_each_picture_with_that_of_the_next_image():
    a, b = noise(2, 3, 6, 5, 3), noise(2, 3, 6, 5, 3, seed=1)
    want = [[likeness(a[u, i], b[u, (i + 1) % 3]) for i in range(3)] for u in range(2)]
    np.testing.assert_allclose(null(a, b), want, rtol=1e-12)
    assert np.isnan(null(a[:, :1], b[:, :1])).all() and null(a[:, :1], b[:, :1]).shape == (2, 1)


def test_pictures_of_one_image_are_alike_and_deconvnets_more_than_gradients():
    model, data = models.load_pretrained("refined"), load_shapes(40, 12)
    train, x = (next(some_images(s, [0.5] * 3, [0.25] * 3))[:, ::2, ::2] for s in (data.train, data.val))  # 32x32
    random = randomised(model, [train], lambda seed: models.build("refined", seed=seed))
    image, units = np.tile(np.arange(12), 8), np.repeat(np.arange(8), 12)
    pictures = [Projector(net, "inception1.b3", RULE_SEEDS)(x, image, units) for net in (model, random)]
    trained, drawn = (p.reshape(3, 8, 12, *x.shape[1:]) for p in pictures)  # (rules, units images, H, W, C)
    medians = (np.nanmedian(f(trained, drawn), axis=(1, 2)) for f in (likeness, null))
    same, other = (dict(zip(RULE_SEEDS, m, strict=True)) for m in medians)
    assert all(same[rule] > other[rule] + 0.05 for rule in RULE_SEEDS)
    assert min(same["deconv"], same["guided"]) > same["gradient"] + 0.05
