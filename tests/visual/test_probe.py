"""The probe: the images that excite each unit most, and its mean per class, against the same by plain loops."""

from dataclasses import dataclass

import numpy as np
import pytest

import models
from minidl.data import Loader
from minidl.errors import DivergedError, UsageError
from minidl.layers import Concat, Conv2D, Flatten, Layer, Linear, MaxPool2D, ReLU, Sequential
from minidl.layers.base import INFER, PROBE
from minidl.visual.probe import MAPS, NORMS, TOP, LayerProbe, probe
from minidl.visual.taps import MapNorms
from minidl.visual.truncate import layer_table, truncate
from models.inception import Inception, MaxPool, Stem, build_inception
from tests.models.narrow import narrow
from tests.strategies import randomized

ROWS = {
    "stem": Stem(6),
    "pool1": MaxPool(4, 2),
    "inception1": Inception(3, 5, 4, 2, 3, 2),
    "pool2": MaxPool(2, 2, padding=1),
    "inception2": Inception(2, 3, 5, 2, 4, 3),
}
CLASSES = 4
ENGINES = pytest.mark.parametrize("engine", ["fused", "plain"])


@dataclass
class Memory:
    """A split in memory."""

    array: np.ndarray
    labels: np.ndarray | None

    def __len__(self):
        return len(self.array)

    def images(self, indices):
        return self.array[indices]


class Images(Loader):
    """Loads `images` in order, as numbers of type `dtype`."""

    def __init__(self, images, labels=None, batch_size=16, dtype=np.float64):
        split = Memory(images, labels)
        super().__init__(split, batch_size, mean=[0] * 3, std=[1] * 3, shuffle=False, drop_last=False, workers=0)
        self.dtype = dtype

    def batch(self, indices, epoch):
        x, y = super().batch(indices, epoch)
        return x.astype(self.dtype), y


def network(dtype=np.float64):
    net = build_inception(ROWS, CLASSES, 0.0, np.random.default_rng(3), dtype)
    return randomized(net, np.random.default_rng(4))


def noise(n, size=14, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def names_of(net, size=14):
    return [info.name for info in layer_table(net, (size, size, 3), leaves=True)]


def by_loops(net, name, loader, classes):
    """What the probe must find, from whole maps, one unit, class and image after the other."""
    batches = list(loader.epoch(0))
    x, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    maps = truncate(net, name).forward(x, PROBE)[0]
    maps = np.abs(maps) if maps.ndim == 4 else maps
    images, values = ({norm: np.full((maps.shape[-1], TOP), fill) for norm in NORMS} for fill in (-1, 0.0))
    class_mean = np.full((maps.shape[-1], classes), np.nan)
    for unit in range(maps.shape[-1]):
        of_norm = {
            "inf": [maps[i, ..., unit].max() for i in range(len(x))],
            "l2": [np.linalg.norm(maps[i, ..., unit].ravel()) for i in range(len(x))],
        }
        if maps.ndim == 2:
            of_norm["l2"] = of_norm["inf"]
        for norm, sizes in of_norm.items():
            best = sorted(range(len(x)), key=lambda i: (-sizes[i], i))[:TOP]
            images[norm][unit, : len(best)] = best
            values[norm][unit, : len(best)] = [sizes[i] for i in best]
        for c in set(labels.tolist()) - {-1}:
            class_mean[unit, c] = maps[labels == c][..., unit].mean()
    return LayerProbe(name, maps.shape[1:], images, values, class_mean)


def assert_same(found, expected, rtol=1e-6):
    assert (found.layer, found.shape, found.units) == (expected.layer, expected.shape, expected.shape[-1])
    for norm in NORMS:
        assert found.images[norm].dtype == np.int64 and found.values[norm].dtype == np.float32
        np.testing.assert_array_equal(found.images[norm], expected.images[norm], err_msg=found.layer)
        np.testing.assert_allclose(found.values[norm], expected.values[norm], rtol, err_msg=found.layer)
    np.testing.assert_allclose(found.class_mean, expected.class_mean, rtol, 1e-12, err_msg=found.layer)


@pytest.fixture(scope="module")
def scanned():
    """A network, its images, and what plain loops find at each of its layers."""
    net, loader = network(), Images(noise(3 * MAPS // 2), np.arange(3 * MAPS // 2) % 3)
    return net, loader, {name: by_loops(net, name, loader, CLASSES) for name in names_of(net)}


# ------------------------------------------------------------------ against plain loops


@ENGINES
def test_every_layer_of_a_network_has_the_same_images_and_means_as_plain_loops(scanned, engine):
    net, loader, expected = scanned
    found = probe(net, list(expected), loader, CLASSES, engine=engine, threads=2)
    assert list(found) == list(expected) and len(found) > 50
    for name in expected:
        assert_same(found[name], expected[name])


@pytest.mark.slow
@ENGINES
def test_a_layer_is_the_same_alone_as_among_others(scanned, engine):
    net, loader, expected = scanned
    for name in expected:
        assert_same(probe(net, [name], loader, CLASSES, engine=engine)[name], expected[name])


@pytest.mark.parametrize("batch_size", [1, 5, MAPS + 3, 1000])
def test_the_size_of_a_batch_changes_nothing(scanned, batch_size):
    net, loader, expected = scanned
    names = ["pool1", "inception1.b3", "inception2.b5_reduce", "avgpool", "fc"]
    other = Images(loader.split.array, loader.split.labels, batch_size)
    for name, found in probe(net, names, other, CLASSES).items():
        assert_same(found, expected[name])


def test_in_float32_the_norms_are_those_of_float64_but_for_rounding():
    names = ["stem", "inception1", "inception2.b3", "inception2.pool.conv", "fc"]
    images, labels = noise(40), np.arange(40) % CLASSES
    exact = probe(network(), names, Images(images, labels), CLASSES)
    for engine in ("fused", "plain"):
        loader = Images(images, labels, dtype=np.float32)
        for name, found in probe(network(np.float32), names, loader, CLASSES, engine=engine).items():
            for norm in NORMS:
                np.testing.assert_allclose(found.values[norm], exact[name].values[norm], 1e-4, 1e-5)
            np.testing.assert_allclose(found.class_mean, exact[name].class_mean, 1e-4, 1e-5)


def test_odd_sizes_go_through_too():
    net, loader = network(), Images(noise(12, size=17), np.zeros(12, int))
    for name, found in probe(net, ["stem", "pool1", "inception2", "inception2.b1.bn"], loader, CLASSES).items():
        assert_same(found, by_loops(net, name, loader, CLASSES))


# --------------------------------------------------------- by hand: the units are the colour channels


def colours(rows, labels=None, **options):
    """A probe of ReLU over images of 1x2 pixels; rows: the six numbers of an image, in 255ths."""
    images = np.array(rows, np.uint8).reshape(-1, 1, 2, 3)
    labels = None if labels is None else np.array(labels)
    classes = options.pop("classes", 3)
    return probe(Sequential({"relu": ReLU()}), ["relu"], Images(images, labels, 2), classes, **options)["relu"]


def test_the_norms_by_hand():
    found = colours([[51, 0, 0, 0, 255, 0], [153, 0, 0, 204, 0, 0]])
    assert found.images["inf"][0].tolist() == found.images["l2"][0].tolist() == [1, 0, *[-1] * 7]
    np.testing.assert_allclose(found.values["inf"][0], [0.8, 0.2, *[0] * 7], 1e-6)
    np.testing.assert_allclose(found.values["l2"][0], [1.0, 0.2, *[0] * 7], 1e-6)
    assert found.images["inf"][1, 0] == 0 and found.values["l2"][1, 0] == 1


@ENGINES
def test_of_equal_images_the_first_come_first(engine):
    bright, dark = [200] * 6, [100] * 6
    found = colours([dark, bright, dark, *[bright, dark] * 6, bright], engine=engine)
    for norm in NORMS:
        assert found.images[norm].tolist() == [[1, 3, 5, 7, 9, 11, 13, 15, 0]] * 3


def test_copies_far_apart_in_the_split_stay_in_its_order():
    few, n = noise(3), 2 * MAPS + 7
    net = Sequential({"conv": integers(Conv2D(3, 4, 3, bias=False, rng=0)), "relu": ReLU(), "pool": MaxPool2D(2)})
    found = probe(net, ["pool"], Images(few[np.arange(n) % 3], batch_size=MAPS + 1), 2)["pool"]
    for norm in NORMS:
        for images in found.images[norm]:
            assert images.tolist() == [images[0] + 3 * i for i in range(TOP)] and images[0] < 3


def integers(conv):
    """With whole numbers for filters, sums of 255ths are the same in any order."""
    conv.params["weight"].value[...] = np.rint(4 * conv.params["weight"].value)
    return conv


@ENGINES
def test_with_fewer_images_than_nine_the_rest_is_minus_one_and_zero(engine):
    net = network()
    for name, found in probe(net, ["inception1", "fc"], Images(noise(5)), CLASSES, engine=engine).items():
        for norm in NORMS:
            assert (np.sort(found.images[norm][:, :5]) == np.arange(5)).all(), name
            assert (found.images[norm][:, 5:] == -1).all() and (found.values[norm][:, 5:] == 0).all()


@ENGINES
def test_a_dead_unit_is_told_and_takes_the_first_images(engine):
    net = network()
    for name, value in (("gamma", 0), ("beta", -1)):
        net.named_parameters()[f"inception2.b3.bn.{name}"].value[2] = value
    names = ["inception2.b3", "inception2", "inception2.b3.bn"]
    found = probe(net, names, Images(noise(12), np.arange(12) % CLASSES), CLASSES, engine=engine)
    block = found["inception2.b3"]
    assert block.dead[2] and not block.dead.all() and block.selectivity[2] == 0
    assert block.images["l2"][2].tolist() == list(range(TOP)) and (block.values["l2"][2] == 0).all()
    assert found["inception2"].dead[4]  # two channels of b1 come first
    assert not found["inception2.b3.bn"].dead[2]  # -1 everywhere, in front of the ReLU


def test_class_means_and_selectivity_by_hand():
    found = colours(
        [[255, 0, 0, 0, 0, 0], [51, 51, 0, 51, 51, 0], [255, 51, 0, 255, 51, 0], [0, 51, 0, 51, 51, 0]],
        [0, 1, 0, 1],
        classes=2,
    )
    np.testing.assert_allclose(found.class_mean, [[0.75, 0.15], [0.1, 0.2], [0, 0]], 1e-6)
    np.testing.assert_allclose(found.selectivity, [0.6 / 0.9, 0.1 / 0.3, 0], 1e-6)
    assert found.best_class.tolist() == [0, 1, 0] and found.dead.tolist() == [False, False, True]


def test_the_rest_is_the_mean_of_the_other_classes_that_have_images():
    shades = [204, 0, 51, 102]
    found = colours([[shade] * 6 for shade in shades], [4, 0, 2, 2], classes=6)
    rest = (0 + 0.3) / 2
    np.testing.assert_allclose(found.selectivity, (0.8 - rest) / (0.8 + rest), 1e-6)
    assert np.isnan(found.class_mean[:, [1, 3, 5]]).all() and (found.best_class == 4).all()


def test_with_one_class_alone_nothing_is_selective():
    found = colours([[255] * 6, [51] * 6], [1, 1])
    assert (found.selectivity == 0).all() and (found.best_class == 1).all()


@pytest.mark.filterwarnings("error")
def test_a_split_without_labels_has_images_but_no_class_means():
    found = colours([[255] * 6, [51] * 6])
    assert np.isnan(found.class_mean).all() and found.class_mean.shape == (3, 3)
    assert (found.selectivity == 0).all() and (found.best_class == -1).all()
    assert (found.images["inf"][:, :2] == [0, 1]).all() and not found.dead.any()


def test_a_negative_activation_counts_by_its_size():
    images = np.array([10, 200, 100], np.uint8).repeat(12).reshape(3, 2, 2, 3)
    net = Sequential({"conv": Conv2D(3, 1, 1, bias=False, rng=0)})
    net.layers["conv"].params["weight"].value[...] = -1
    found = probe(net, ["conv"], Images(images, np.array([0, 1, 1])), 2)["conv"]
    assert found.images["inf"][0, :3].tolist() == found.images["l2"][0, :3].tolist() == [1, 2, 0]
    np.testing.assert_allclose(found.class_mean, [[3 * 10 / 255, 3 * 150 / 255]], 1e-6)


def test_a_score_counts_with_its_sign():
    images = np.array([10, 200, 100], np.uint8).repeat(12).reshape(3, 2, 2, 3)
    net = Sequential({"flatten": Flatten(), "fc": Linear(12, 2, rng=0)})
    net.layers["fc"].params["weight"].value[...] = np.array([1, -1])
    found = probe(net, ["fc"], Images(images, np.array([0, 1, 1])), 2)["fc"]
    assert found.images["l2"][:, :3].tolist() == found.images["inf"][:, :3].tolist() == [[1, 2, 0], [0, 2, 1]]
    np.testing.assert_allclose(found.values["l2"][1, 0], -12 * 10 / 255, 1e-6)
    assert found.best_class.tolist() == [1, 0] and not found.dead.any()
    np.testing.assert_allclose(found.selectivity, [140 / 160, 140 / 160], 1e-6)


def test_only_the_norms_asked_for_are_kept():
    found = colours([[255] * 6], norms=["l2"])
    assert list(found.images) == list(found.values) == ["l2"] and not found.dead.any()


# ------------------------------------------------------------------ the model


@ENGINES
def test_the_model_is_the_same_after_a_probe(engine):
    net, x = network(), np.random.default_rng(0).normal(size=(3, 14, 14, 3))
    kept = {name: p.value.copy() for name, p in net.named_parameters().items()}
    names, y = list(net.named_layers()), net.forward(x, INFER)[0]
    probe(net, names_of(net), Images(noise(4)), CLASSES, engine=engine)
    assert list(net.named_layers()) == names
    assert list(net.named_parameters()) == list(kept)
    assert all(np.array_equal(p.value, kept[name]) for name, p in net.named_parameters().items())
    np.testing.assert_array_equal(net.forward(x, INFER)[0], y)


class Refuses(Layer):
    def out_shape(self, in_shape):
        raise AssertionError("this layer is not to be run")

    def forward(self, x, ctx):
        raise AssertionError("this layer is not to be run")


@ENGINES
def test_no_layer_after_the_last_one_asked_for_is_run(engine):
    net = Sequential({**network().layers, "fc": Refuses()})
    probe(net, ["inception2.b3", "inception1.b5_reduce", "pool1"], Images(noise(3)), CLASSES, engine=engine)
    with pytest.raises(AssertionError, match="not to be run"):
        probe(net, ["fc"], Images(noise(3)), CLASSES, engine=engine)


def runs(net, names, engine):
    """How often each convolution of `net` is run in a probe of one batch."""
    counts = {name: 0 for name, layer in net.named_layers().items() if isinstance(layer, Conv2D)}

    def counted(name, forward):
        def count(x, ctx):
            counts[name] += 1
            return forward(x, ctx)

        return count

    for name in counts:
        net[name].forward = counted(name, net[name].forward)
    probe(net, names, Images(noise(3)), CLASSES, engine=engine)
    return {path for path, times in counts.items() if times}, max(counts.values())


def test_each_layer_is_run_once_and_only_if_it_is_needed():
    names = ["inception1", "inception1.b3", "inception1.b5.relu", "inception2.b3_reduce"]
    ran, times = runs(network(), names, "plain")
    needed = {p for p in network().named_parameters() if p.startswith(("stem.conv", "inception1", "inception2.b3_r"))}
    assert ran == {p.removesuffix(".weight") for p in needed if p.endswith("conv.weight")} and times == 1


def test_on_the_fused_engine_no_plain_convolution_is_run():
    assert runs(network(), ["stem", "inception1.b3", "inception2.b3_reduce"], "fused") == (set(), 0)


class Residual(Sequential):
    """A user's own chain, whose output is not its last layer's."""

    def forward(self, x, ctx):
        y, cache = super().forward(x, ctx)
        return x + y, cache


def other_forms():
    yield Sequential({"body": Sequential(network().layers), "head": ReLU()})
    yield Concat([{"a": Conv2D(3, 2, 1, rng=0), "b": Concat([{"c": ReLU()}, {"d": ReLU()}])}, {"e": ReLU()}])
    yield Sequential({"block": Residual({"conv": Conv2D(3, 3, 1, rng=0), "relu": ReLU()}), "head": ReLU()})
    relu = ReLU()
    yield Sequential({"first": relu, "conv": Conv2D(3, 3, 1, rng=1), "second": relu})
    module = Concat([{"a": Conv2D(3, 4, 1, rng=0), "b": Conv2D(4, 2, 1, rng=1)}, {"c": Conv2D(3, 1, 1, rng=2)}])
    yield Sequential({"m": module, "m2": module})


@ENGINES
def test_models_of_other_forms(engine):
    loader = Images(noise(20), np.arange(20) % 2)
    for net in other_forms():
        names = names_of(net)
        expected = {name: by_loops(net, name, loader, 2) for name in names}
        names = list(net.named_layers())
        for asked in (names, names[:1], names[1:2]):
            for name, found in probe(net, asked, loader, 2, engine=engine).items():
                assert_same(found, expected[name])
            assert list(net.named_layers()) == names


@pytest.mark.slow
def test_each_registered_network_can_be_probed_at_all_its_layers():
    loader = Images(noise(2, size=32), dtype=np.float32)
    for name in models.REGISTRY:
        net = narrow(name, classes=5, dropout=0.1)
        infos = layer_table(net, (32, 32, 3))
        found = probe(net, [info.name for info in infos], loader, 5)
        assert {name: p.shape for name, p in found.items()} == {info.name: info.shape for info in infos}


def test_on_batch_is_called_with_the_size_of_each_batch():
    sizes = []
    probe(network(), ["stem"], Images(noise(2 * MAPS), batch_size=MAPS + 5), CLASSES, on_batch=sizes.append)
    assert sizes == [MAPS + 5, MAPS - 5]


# ------------------------------------------------------------------ refused in one line


@pytest.mark.parametrize(
    ("layers", "norms", "named"),
    [
        (["inception9"], NORMS, "no layer 'inception9'"),
        (["stem", "inception1.b7"], NORMS, "no layer 'inception1.b7'"),
        (["stem"], ["l1"], "unknown norm 'l1': choose inf or l2"),
    ],
)
def test_an_unknown_layer_or_norm_is_named_in_one_line(layers, norms, named):
    with pytest.raises(UsageError, match=named) as error:
        probe(network(), layers, Images(noise(2)), CLASSES, norms=norms)
    assert "\n" not in str(error.value)


def test_a_layer_whose_output_is_no_map_is_refused():
    with pytest.raises(UsageError, match=r"norms: its output for an image has the shape \(3, 3\)"):
        probe(Sequential({"relu": ReLU(), "norms": MapNorms()}), ["norms"], Images(noise(2)), 2)


@ENGINES
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_activations_that_are_not_numbers_are_an_error_that_names_the_layer(engine, value):
    net = network()
    net.named_parameters()["inception1.b3.bn.beta"].value[1] = value
    assert not probe(net, ["pool1"], Images(noise(12)), CLASSES, engine=engine)["pool1"].dead.all()
    with pytest.raises(DivergedError, match="^inception1.b3: .*diverged$"):
        probe(net, ["pool1", "inception1.b3", "fc"], Images(noise(12)), CLASSES, engine=engine)
