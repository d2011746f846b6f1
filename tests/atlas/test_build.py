"""An atlas says what the library says: its numbers are read back and compared."""

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import minidl as md
from minidl.atlas.build import Settings, make_atlas
from minidl.atlas.effects import TRIED_IMAGES, TRIED_UNITS, sample
from minidl.atlas.versions import State
from minidl.atlas.viewed import Viewed
from minidl.data import load_shapes
from minidl.data.arrays import ArraySplit
from minidl.errors import UsageError
from minidl.layers.base import INFER
from minidl.losses import softmax
from minidl.models.convnet import build_convnet
from minidl.training.execution import Execution
from minidl.visual.connections import connections
from minidl.visual.effects import ablated, first_order
from minidl.visual.probe import probe
from minidl.visual.projection import RULE_SEEDS, Projector
from minidl.visual.screen import to_screen
from tests.atlas.reading import read, steps, tile

ROOT = Path(__file__).parents[2]
IMAGES = 40
MEAN, STD = np.full(3, 0.45, np.float32), np.full(3, 0.25, np.float32)


def network(seed=0):
    return build_convnet(20, 0.0, np.random.default_rng(seed), np.float32, widths=(4, 8, 16))


def same(a, b):
    """Whether two pictures are the same but for their compression, which halves the resolution of colours."""
    return np.corrcoef(a.mean(axis=2).ravel(), b.mean(axis=2).ravel())[0, 1] > 0.7


def small(split):
    """Its images in 16x16 pixels."""
    return ArraySplit(np.ascontiguousarray(split.images(np.arange(len(split)))[:, ::4, ::4]), split.labels)


@cache
def shapes():
    data = load_shapes(train=60, val=IMAGES)
    return replace(data, train=small(data.train), val=small(data.val))


def viewed(**changes) -> Viewed:
    data = shapes()
    return replace(
        Viewed(
            network(), data.val, MEAN, STD, data.classes, data.words, data.train, "convnet on shapes", "val",
            fresh=network, execution=Execution(threads=1),
        ),
        **changes,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An atlas with a snapshot, and another network beside it."""
    folder = tmp_path_factory.mktemp("atlas") / "out"
    snapshot = State(3, 0.25, lambda: network(1))
    make_atlas(viewed(), folder, snapshots=[snapshot], other=viewed(model=network(0), title="other", top1=0.5))
    return folder


@pytest.fixture(scope="module")
def found():
    v = viewed()
    return probe(v.model, ["relu1", "relu2", "relu3", "fc"], v.loader(), 20, threads=1)


def test_the_layers_are_those_with_units_of_their_own(made):
    index = read(made, "atlas")
    assert [(layer["name"], layer["units"]) for layer in index["layers"]] == [
        ("relu1", 4), ("relu2", 8), ("relu3", 16), ("fc", 20)]  # fmt: skip
    assert [layer["logits"] for layer in index["layers"]] == [False, False, False, True]
    assert (index["images"], index["split"], index["labelled"], index["title"]) == (
        40,
        "val",
        True,
        "convnet on shapes",
    )


@pytest.mark.parametrize("number, name", [(0, "relu1"), (1, "relu2"), (2, "relu3"), (3, "fc")])
def test_top_images_norms_and_selectivity_are_those_of_the_probe(made, found, number, name):
    units = read(made, f"layer-{number:03}")["units"]
    for unit, record in enumerate(units):
        images, values = zip(*record["top"], strict=True)
        assert list(images) == found[name].images["l2"][unit].tolist()
        np.testing.assert_allclose(values, found[name].values["l2"][unit], rtol=1e-5)
        assert record["selectivity"] == pytest.approx(found[name].selectivity[unit], rel=1e-4, abs=1e-6)
        assert record["dead"] == found[name].dead[unit]
        best, mean = record["classes"][0] if record["classes"] else (-1, 0)
        if best >= 0:
            assert best == found[name].best_class[unit]
            assert mean == pytest.approx(found[name].class_mean[unit, best], rel=1e-4)


def test_each_layer_says_how_well_the_estimate_agrees_with_setting_its_units_to_zero(made):
    effects, v = read(made, "atlas")["effects"], viewed()
    x = v.images(np.arange(IMAGES))
    predicted = v.model(x).argmax(1)
    positions = sample(predicted, v.split.labels, 20)
    x, scores = x[positions], np.eye(20, dtype=np.float32)[predicted[positions]]
    assert len(positions) == effects["images"] <= TRIED_IMAGES  # all of them are tried
    spread = np.linspace(0, 15, TRIED_UNITS).astype(int)  # 8 of 16
    estimates, changes = [], []
    for layer, name, units in ((0, "relu1", range(4)), (1, "relu2", range(8)), (2, "relu3", spread)):
        estimates.append(first_order(v.model, [name], x, [scores])[name][0][:, units].T)
        changes.append((ablated(v.model, name, list(units), x, engine="plain") * scores).sum(axis=2))
        r = np.corrcoef(estimates[-1].ravel(), changes[-1].ravel())[0, 1]
        assert effects["layers"][layer] == {"correlation": pytest.approx(r, abs=1e-3), "units": len(units)}
    r = np.corrcoef(np.concatenate(estimates).ravel(), np.concatenate(changes).ravel())[0, 1]
    assert effects["all"] == {"correlation": pytest.approx(r, abs=1e-3), "units": 20}
    assert effects["layers"][3] == {"correlation": None, "units": 0}  # the scores


def test_deciles_and_histogram_are_of_all_images(made):
    v = viewed()
    seen = {}

    def keep(layer, first, norms):
        seen.setdefault(layer, []).append(norms[:, 1])

    probe(v.model, ["relu2"], v.loader(), 20, threads=1, on_norms=keep)
    norms = np.concatenate(seen["relu2"]).T  # (units, images)
    for unit, record in enumerate(read(made, "layer-001")["units"]):
        ranked = np.argsort(-norms[unit], kind="stable")
        assert [image for image, _ in record["deciles"]] == ranked[2::4].tolist()  # of each four the third
        assert sum(record["histogram"]) == IMAGES
        assert record["histogram"][-1] >= 1


def test_connections_are_those_of_the_weights(made):
    index, linked = read(made, "atlas"), connections(network(), (16, 16, 3), ["relu1", "relu2", "relu3", "fc"])
    names = [layer["name"] for layer in index["layers"]]
    record = read(made, "layer-002")["units"][5]
    assert [(names[layer], unit) for layer, unit, _ in record["incoming"]] == [
        (layer, unit) for layer, unit, _ in linked.incoming("relu3", 8)[5]
    ]
    assert [names[layer] for layer, _, _ in record["outgoing"]] == ["fc"] * 8
    weights = network()["fc"].params["weight"].value[5]
    assert record["outgoing"][0][2] == pytest.approx(weights[np.abs(weights).argmax()], rel=1e-4)


def test_predictions_losses_and_accuracy_are_those_of_the_network(made):
    v = viewed()
    logits, _ = v.model.forward(v.images(np.arange(IMAGES)), INFER)
    p = softmax(logits.astype(np.float64))
    records = read(made, "images-000")
    assert [r["best"][0][0] for r in records] == p.argmax(axis=1).tolist() == read(made, "images")["predicted"]
    np.testing.assert_allclose([r["best"][0][1] for r in records], p.max(axis=1), rtol=1e-4)
    np.testing.assert_allclose([r["loss"] for r in records], -np.log(p[np.arange(IMAGES), v.split.labels]), rtol=1e-4)
    index = read(made, "atlas")
    right = p.argmax(axis=1) == v.split.labels
    assert index["top1"] == pytest.approx(right.mean())
    assert [c["accuracy"] for c in index["classes"]] == [right[v.split.labels == c].mean() for c in range(20)]
    assert sum(c["predicted"] for c in index["classes"]) == IMAGES


def test_a_class_has_its_surest_and_worst_images_and_its_mistakes(made):
    records, images = read(made, "classes-000"), read(made, "images-000")
    for c, record in enumerate(records):
        own = [i for i, image in enumerate(images) if image["label"] == c]
        assert record["worst"] == sorted(own, key=lambda i: -images[i]["loss"])
        right = [i for i in own if images[i]["best"][0][0] == c]
        assert record["surest"] == sorted(right, key=lambda i: -images[i]["best"][0][1])
        assert sum(m["images"] for m in record["mistakes"]) == len(own) - len(right)


@pytest.mark.parametrize("part", ["deconv", "gradient", "guided"])
def test_a_picture_is_the_projection_of_the_unit(made, part):
    v, plan = viewed(), read(made, "atlas")["layout"]
    top = [image for image, _ in read(made, "layer-001")["units"][5]["top"]]
    projector = Projector(v.model, "relu2", part, seed_map=RULE_SEEDS[part], threads=1)
    wanted, _ = to_screen(projector(v.images(np.array(top)), np.arange(9), np.full(9, 5)))
    for rank in range(9):
        shown = tile(made, "units-001", 5 * plan["width"] + plan["parts"][part][0] + rank)
        gray = [picture.mean(axis=2).ravel() for picture in (shown, *wanted)]  # WebP halves the resolution of colours
        alike = np.corrcoef(gray)[0, 1:]
        assert alike.argmax() == rank and alike[rank] > 0.7


def test_the_wall_shows_the_first_deconvnet_of_each_unit(made):
    width = read(made, "atlas")["layout"]["width"]
    for unit in (0, 7):
        wall, own = tile(made, "wall-001", unit), tile(made, "units-001", unit * width)
        assert same(wall, own)


def test_the_images_are_in_their_sheet(made):
    shown, image = tile(made, "images", 21), viewed().split.images(np.array([21]))[0]
    assert same(shown, image)


def test_an_activity_has_the_norm_of_every_image_in_sixteen_steps(made, found):
    record = read(made, "activity-002")
    top, values = found["relu3"].images["l2"], found["relu3"].values["l2"]
    for unit in range(16):
        level = steps(record["units"][unit], IMAGES)
        assert record["largest"][unit] == pytest.approx(values[unit, 0], rel=1e-5)
        if values[unit, 0]:
            np.testing.assert_array_equal(level[top[unit]], np.rint(15 * np.sqrt(values[unit] / values[unit, 0])))


def test_where_an_image_is_shown_there_is_its_picture(made):
    images = read(made, "images-000")
    for i in (0, 17):
        for layer, unit, number in images[i]["shown"]:
            record = read(made, f"layer-{layer:03}")["units"][unit]
            ranked = record["top"] if number < 9 else record["deciles"]
            assert ranked[number if number < 9 else number - 36][0] == i


def test_a_snapshot_has_its_own_images(made):
    v = viewed(model=network(1))
    other = probe(v.model, ["relu2"], v.loader(), 20, threads=1)["relu2"]
    records = read(made, "epoch-003-001")
    assert [[i for i, _ in r["top"]] for r in records] == other.images["l2"].tolist()
    assert read(made, "atlas")["snapshots"] == [{"epoch": 3, "top1": 0.25}]
    assert tile(made, "epoch-003-001", 7 * 9 + 8).shape == (16, 16, 3)


def test_the_same_network_beside_it_matches_unit_for_unit(made):
    dead = [unit["dead"] for unit in read(made, "layer-001")["units"]]
    for unit, match in enumerate(read(made, "other-001")):
        if not dead[unit]:
            assert (match["layer"], match["unit"]) == ("relu2", unit)
            assert match["correlation"] == pytest.approx(1)
    other = read(made, "atlas")["other"]
    assert (other["title"], other["top1"], other["correlation"]) == ("other", 0.5, 1)


def test_what_is_behind_the_pictures_is_there_as_arrays(made):
    with np.load(made / "numbers" / "scan.npz", allow_pickle=False) as arrays:
        assert arrays["001_l2_images"].shape == (8, 9)
    assert not (made / "large").exists() and not (made / "lock").exists()


def test_the_lines_in_the_docs_read_a_record(made, tmp_path, monkeypatch):
    (tmp_path / "atlas").symlink_to(made)
    monkeypatch.chdir(tmp_path)
    (lines,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "atlas.md").read_text("utf-8"), re.DOTALL)
    names = {}
    exec(lines, names)
    assert names["unit"] == read(made, "layer-002")["units"][3]


class Stop(Exception):
    pass


@pytest.mark.slow
def test_interrupted_work_goes_on_and_ends_the_same(tmp_path, monkeypatch, made):
    from minidl.atlas import pictures

    draw, drawn = pictures.Pictures.draw, []

    def interrupted(self, *args):
        drawn.append(len(drawn))
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return draw(self, *args)

    monkeypatch.setattr(pictures.Pictures, "draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_atlas(viewed(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    make_atlas(viewed(), tmp_path / "out")
    assert len(drawn) == 5  # layers 0 and 1 once, 2 twice, 3 once
    for name in ("layer-001", "layer-003", "classes-000", "images-000"):
        assert read(tmp_path / "out", name) == read(made, name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_work_of_another_network_is_not_continued(tmp_path, monkeypatch):
    from minidl.atlas import build as builder

    monkeypatch.setattr(builder, "_write", lambda *args: (_ for _ in ()).throw(Stop))
    with pytest.raises(Stop):
        make_atlas(viewed(), tmp_path / "out", Settings(projections=False))
    monkeypatch.undo()
    make_atlas(viewed(model=network(5)), tmp_path / "out", Settings(projections=False))
    v = viewed(model=network(5))
    top = probe(v.model, ["relu1"], v.loader(), 20, threads=1)["relu1"].images["l2"]
    assert [[i for i, _ in u["top"]] for u in read(tmp_path / "out", "layer-000")["units"]] == top.tolist()


def test_a_new_atlas_takes_the_place_of_an_old_one_and_of_nothing_else(tmp_path):
    few = Settings(projections=False, layers=("relu1",))
    make_atlas(viewed(), tmp_path / "out", few)
    (tmp_path / "out" / "of-mine.txt").write_text("x")
    make_atlas(viewed(), tmp_path / "out", few)
    assert not (tmp_path / "out" / "of-mine.txt").exists()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("x")
    with pytest.raises(UsageError, match="not an atlas"):
        make_atlas(viewed(), tmp_path / "photos", few)
    assert (tmp_path / "photos" / "cat.jpg").exists()


def test_with_units_only_the_most_selective_are_drawn(tmp_path):
    beside = {"snapshots": [State(3, 0.25, lambda: network(1))], "other": viewed(title="other")}
    make_atlas(viewed(), tmp_path / "out", Settings(layers=("relu1",), units=2), **beside)
    units = read(tmp_path / "out", "layer-000")["units"]
    drawn = [u for u, record in enumerate(units) if record["drawn"]]
    best = sorted(range(4), key=lambda u: -units[u]["selectivity"])[:2]
    assert drawn == sorted(best) and all(len(record["top"]) == 9 for record in units)
    assert json.dumps(units[best[0]]["likeness"]) != "{}"
    for u, record in enumerate(units):  # on the wall, the others have their best image
        photo = tile(tmp_path / "out", "images", record["top"][0][0])
        assert same(tile(tmp_path / "out", "wall-000", u), photo) == (u not in drawn)
    for series in ("epoch-003-000", "other-000"):  # other places are gray, but for what compression leaves
        assert [u for u in range(4) if tile(tmp_path / "out", series, 9 * u).std() > 10] == drawn
    shown = [unit for image in read(tmp_path / "out", "images-000") for _, unit, _ in image["shown"]]
    assert sorted(set(shown)) == drawn


def test_names_of_strangers_are_ascii_json(tmp_path):
    evil = ["</script><script>x()</script>", '"); x(); ("', "\u2028\u202e\U0001f600", *map(str, range(17))]
    make_atlas(viewed(words=evil), tmp_path / "out", Settings(projections=False, layers=("relu1",)))
    assert [c["words"] for c in read(tmp_path / "out", "atlas")["classes"]] == evil


def test_a_network_with_groups_has_them(tmp_path):
    from minidl.layers import Concat, GlobalAvgPool, Linear, ReLU, Sequential
    from minidl.layers.conv import Conv2D

    def conv(name, c, f):
        return {name: Sequential({"conv": Conv2D(c, f, 3, padding=1, rng=0), "relu": ReLU()})}

    model = Sequential(
        {"mix": Concat(conv("a", 3, 4), conv("b", 3, 6)), "pool": GlobalAvgPool(), "fc": Linear(10, 20, rng=0)}
    )
    make_atlas(viewed(model=model, fresh=lambda seed: model), tmp_path / "out", Settings(projections=False))
    index = read(tmp_path / "out", "atlas")
    assert index["groups"] == [{"name": "mix", "layers": [0, 1], "units": 10}]
    assert [(layer["name"], layer["group"], layer["start"]) for layer in index["layers"]] == [
        ("mix.a", 0, 0), ("mix.b", 0, 4), ("fc", -1, 0)]  # fmt: skip
    assert [name for name, _ in read(tmp_path / "out", "images-000")[0]["strongest"]] == ["mix", "fc"]


def test_a_model_of_your_own_has_an_atlas_too(tmp_path):
    images = np.random.default_rng(0).random((12, 8, 8, 1)).astype(np.float32)  # gray, floats, no labels
    model = md.Sequential(
        {
            "conv": md.Conv2D(1, 4, 3, rng=0),
            "relu": md.ReLU(),
            "flatten": md.Flatten(),
            "fc": md.Linear(144, 2, rng=0),
        }
    )
    page = md.make_atlas(md.fuse(model), md.Loader((images, None), 5), tmp_path / "out", classes=["no", "yes"])
    assert page == tmp_path / "out" / "index.html"
    index = read(tmp_path / "out", "atlas")
    assert (index["labelled"], index["top1"], index["images"]) == (False, None, 12)
    assert [layer["name"] for layer in index["layers"]] == ["relu", "fc"]
    assert tile(tmp_path / "out", "units-000", 0).shape == (8, 8, 3)
    with pytest.raises(UsageError, match="3 names of classes for a model with 2 outputs"):
        md.make_atlas(model, md.Loader((images, None), 5), tmp_path / "other", classes=["a", "b", "c"])
