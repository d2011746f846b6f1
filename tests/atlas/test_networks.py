"""Networks and images of every kind have an atlas, or a line that says why not."""

from pathlib import Path
from runpy import run_path

import numpy as np
import pytest

import minidl as md
from minidl.atlas.viewed import shown
from minidl.errors import DivergedError, UsageError
from minidl.layers.base import INFER
from tests.atlas.reading import read

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")


def images(n=6, h=8, w=8, c=3, dtype=np.uint8):
    pixels = np.random.default_rng(1).integers(0, 256, (n, h, w, c))
    return pixels.astype(np.uint8) if dtype is np.uint8 else (pixels / 255).astype(dtype)


def convolution(classes=2, channels=3):
    return md.Sequential(
        {
            "conv": md.Conv2D(channels, 3, 3, padding=1, rng=0),
            "relu": md.ReLU(),
            "pool": md.GlobalAvgPool(),
            "fc": md.Linear(3, classes, rng=1),
        }
    )


def filled(value):
    model = convolution()
    for p in model.named_parameters().values():
        p.value[...] = value
    return model


def make(model, folder, x=None, labels=None, **settings):
    """The index of an atlas without pictures, unless they are asked for."""
    x = images() if x is None else x
    settings = {"projections": False, **settings}
    md.make_atlas(model, md.Loader((x, labels), 1), folder / "out", **settings)
    return read(folder / "out", "atlas")


def names(index):
    return [(layer["name"], layer["units"]) for layer in index["layers"]]


class Own(md.Layer):
    """A container that calls its children in an order of its own, and one of them only in training."""

    def __init__(self):
        self.head = md.Linear(3, 2, rng=0)
        self.pool = md.GlobalAvgPool()
        self.conv = md.Conv2D(3, 3, 3, rng=1)
        self.helper = md.Linear(3, 5, rng=2)

    def out_shape(self, in_shape):
        return in_shape[0], 2

    def forward(self, x, ctx):
        a, first = ctx.run("conv", self.conv, x)
        b, second = ctx.run("pool", self.pool, a)
        y, third = ctx.run("head", self.head, b)
        return y, ((first, second, third) if ctx.keeps_cache else None)

    def input_grad(self, dy, cache):
        return self.project(dy, cache, md.Rule())

    def project(self, s, cache, rule):
        for layer, c in ((self.head, cache[2]), (self.pool, cache[1]), (self.conv, cache[0])):
            s = layer.project(s, c, rule)
        return s


def test_a_container_of_your_own_as_the_whole_network(tmp_path):
    index = make(Own(), tmp_path, projections=True)
    assert ("conv", 3) in names(index) and "helper" not in dict(names(index))
    predicted = Own().forward(md.Loader((images(), None), 6).epoch(0).__next__()[0], INFER)[0].argmax(axis=1)
    assert read(tmp_path / "out", "images")["predicted"] == predicted.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("name, settings", [("resnet", {"widths": (2, 3)}), ("custom_layer", {})])
def test_the_networks_of_the_examples(name, settings, tmp_path):
    example = run_path(str(Path(__file__).parents[2] / "examples" / f"{name}.py"))
    index = make(example["build"](2, **settings), tmp_path, projections=True, units=1)
    assert names(index)[-1] == ("fc", 2) and {"block1a", "block"} & dict(names(index)).keys()


def test_the_page_says_what_the_features_are(tmp_path):
    average = md.Sequential([md.Conv2D(3, 2, 3, rng=0), md.GlobalAvgPool()])
    for name, model, words in (("a", average, "the scores, as"), ("b", convolution(), "the input of the last layer")):
        assert make(model, tmp_path / name)["embedding"]
        assert read(tmp_path / name / "out", "embedding")["features"].startswith(words)


@pytest.mark.parametrize("chosen, last", [(("conv", "relu"), 1), ((), 2), (("conv", "more", "fc"), 1), (("fc",), 0)])
def test_mistakes_name_units_of_the_last_layer_shown_before_the_scores(chosen, last, tmp_path):
    first = {"conv": md.Conv2D(3, 4, 3, rng=0), "relu": md.ReLU(), "more": md.Conv2D(4, 3, 3, rng=1)}
    model = md.Sequential({**first, "last": md.Conv2D(3, 3, 1, rng=2), "pool": md.GlobalAvgPool()})
    model = md.Sequential({**model.children(), "fc": md.Linear(3, 2, rng=3)})
    make(model, tmp_path, labels=np.arange(6) % 2, layers=chosen)
    with np.load(tmp_path / "out" / "numbers" / "effects.npz") as found:
        assert [name for name in found if name.endswith("raised")] == [f"{last:03}_raised"]


def test_one_pixel_and_batch_normalization(tmp_path):
    layers = [md.Conv2D(3, 2, 1, rng=0), md.BatchNorm2D(2), md.GlobalAvgPool(), md.Linear(2, 2, rng=0)]
    index = make(md.Sequential(layers), tmp_path, images(n=1, h=1, w=1), projections=True)
    assert names(index) == [("1", 2), ("3", 2)]


def test_branches_that_are_single_layers_have_units(tmp_path):
    mix = md.Concat({"a": md.Linear(192, 2, rng=0)}, {"b": md.Linear(192, 3, rng=1)})
    index = make(md.Sequential({"flat": md.Flatten(), "mix": mix}), tmp_path)
    assert names(index) == [("mix.a", 2), ("mix.b", 3)]
    assert index["groups"] == [{"name": "mix", "layers": [0, 1], "units": 5}]


@pytest.mark.parametrize(
    "x",
    [
        images(c=1), images(c=2), images(c=5), images(dtype=np.float32) * 7 - 3, images(h=5, w=9), images(n=1),
        images(n=3), np.zeros_like(images()), images(h=1, w=1), images(n=2, h=3, w=150),
    ],
    ids=["gray", "two", "five", "floats", "wide", "one", "three", "black", "pixel", "strip"],
)  # fmt: skip
def test_images_of_every_kind(x, tmp_path):
    index = make(convolution(channels=x.shape[3]), tmp_path, x, projections=True, units=1)
    assert index["images"] == len(x)
    assert (tmp_path / "out" / "sheets" / "units-000-000.webp").is_file()


def test_pictures_have_three_channels_whatever_the_images_have():
    x = images(c=5)
    for c in (1, 2):
        assert (shown(x[..., :c]) == x[..., :1]).all() and shown(x[..., :c]).shape[3] == 3
    assert (shown(x) == x[..., :3]).all()


def test_a_dead_network_has_dead_units(tmp_path):
    index = make(filled(0), tmp_path, projections=True)
    assert [layer["dead"] for layer in index["layers"]] == [3, 2]
    assert index["effects"]["all"]["correlation"] is None and not index["embedding"]
    drawn_by_it = set(range(18))  # by three rules, of six images; the others are of the network with random weights
    assert all(drawn_by_it <= set(unit["blank"]) for unit in read(tmp_path / "out", "layer-000")["units"])


def test_a_network_with_tiny_weights_has_an_embedding(tmp_path):
    assert make(filled(1e-30), tmp_path)["embedding"]  # scikit-learn's t-SNE crashes on the numbers themselves


@pytest.mark.parametrize("place", ["conv", "fc"])
def test_a_diverged_network_is_a_line(place, tmp_path):
    model = convolution()
    model[place].params["weight"].value[...] = np.nan
    with pytest.raises(DivergedError, match="not finite numbers"):
        make(model, tmp_path, layers=["conv"])


def test_scores_below_zero_are_ranked_by_their_value(tmp_path):
    model = convolution()
    model["fc"].params["bias"].value[...] = -1000
    make(model, tmp_path, projections=True)
    unit = read(tmp_path / "out", "layer-001")["units"][0]
    values = [value for _, value in unit["top"]]
    assert values == sorted(values, reverse=True) and values[0] < 0 and not unit["dead"]
    assert unit["histogram"] == [6] + 19 * [0]


def test_odd_names_of_layers(tmp_path):
    odd = ["a/b:c %", "\u202e</script>", "x\udc80"]
    layers = [md.Conv2D(3, 2, 3, rng=0), md.GlobalAvgPool(), md.Linear(2, 2, rng=0)]
    index = make(md.Sequential(dict(zip(odd, layers, strict=True))), tmp_path, classes=["\udcff", "</script>"])
    assert [name for name, _ in names(index)] == [odd[0], odd[2]]


@pytest.mark.slow
def test_many_classes(tmp_path):
    index = make(convolution(1000), tmp_path, labels=np.arange(6) * 199)
    assert (len(index["classes"]), index["labelled"]) == (1000, True)
    assert len(list((tmp_path / "out" / "data").glob("classes-*.js"))) == 5


def test_some_labels_are_unknown(tmp_path):
    index = make(convolution(), tmp_path, labels=np.array([0, 1, -1, -1, 0, 1]))
    assert sum(c["images"] for c in index["classes"]) == 4
    assert [r["loss"] is None for r in read(tmp_path / "out", "images-000")] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"labels": np.full(6, 2)}, "label 2: the model has 2 outputs"),
        ({"norm": "l1"}, "norm 'l1'"),
        ({"units": 1.5}, "units is 1.5"),
        ({"units": -1}, "units is -1"),
        ({"layers": "nope"}, "no layer 'nope'"),
    ],
)
def test_a_wrong_setting_is_a_line(settings, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        make(convolution(), tmp_path, **settings)
    assert not list(Path(tmp_path).iterdir())


def test_two_layers_of_one_name_are_refused(tmp_path):
    model = md.Sequential({"a": md.Sequential({"b": md.Flatten()}), "a.b": md.Linear(192, 2, rng=0)})
    with pytest.raises(UsageError, match=r"the name a\.b"):
        make(model, tmp_path)


def test_images_of_your_own_have_no_name_of_a_split(tmp_path):
    index = make(convolution(), tmp_path)
    assert index["split"] == "" and dict(index["facts"])["images"] == "6"


def test_no_image_is_shown_with_pictures_of_dead_units(tmp_path):
    make(filled(0), tmp_path, projections=True)
    assert [image["shown"] for image in read(tmp_path / "out", "images-000")] == 6 * [[]]
