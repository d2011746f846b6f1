"""No picture loses what it shows: all points lie within their axes and all words within the picture, odd or not."""

import numpy as np
import pytest
from mpl_toolkits.mplot3d.proj3d import proj_transform

from benchmarks.chart import save_chart, save_curves
from benchmarks.contenders import CONTENDERS
from minidl.training.range_test import RangeTest
from minidl.visual import figures, maps, scatter, search_plots, sheets
from tests.inside import check, drawn, within  # noqa: F401

ODD = ["W" * 40, "猫" * 40, "$x_1^2$ ${", "_private", "two\nlines\tand\x00", "\udce9 \\alpha", "", " ", "🐈"]
LONG = "a name " * 60
RNG = np.random.default_rng(0)
THUMBNAILS = RNG.integers(0, 256, (200, 8, 8, 3), dtype=np.uint8)


# ------------------------------------------------------------------- PCA and t-SNE

CLOUDS = {
    "three classes, the last far away": (np.repeat([0, 1, 2], 10), lambda p, c: p + 50 * (c == 2)[:, None]),
    "one class": (np.zeros(20, int), lambda p, c: p),
    "one point": (np.array([3]), lambda p, c: p),
    "equal points": (np.repeat([0, 1], 6), lambda p, c: 0 * p + 5),
    "points on a line": (np.repeat([0, 1], 6), lambda p, c: p * [1, 1e-15, 0]),
    "huge": (np.repeat([0, 1], 6), lambda p, c: 1e37 * p),
}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_all_points_of_an_embedding_are_seen(cloud, drawn, tmp_path):  # noqa: F811
    labels, place = CLOUDS[cloud]
    points = place(np.random.default_rng(1).standard_normal((len(labels), 3)), labels)
    scatter.save_scatter_3d(tmp_path / "a.png", points, labels, ODD, LONG)
    scatter.save_scatter_2d(tmp_path / "b.png", points[:, :2], THUMBNAILS[: len(labels)], labels, ODD, LONG)
    three, two = drawn
    for axes in three.axes:
        x, y, z = np.meshgrid(axes.get_xlim(), axes.get_ylim(), axes.get_zlim())
        corners = np.column_stack(proj_transform(x.ravel(), y.ravel(), z.ravel(), axes.get_proj())[:2])
        assert within(axes.transData.transform(corners), axes.bbox, "the box") == 8
    assert check(three) == 4 * len(labels)
    assert check(two) >= len(labels) + 1


def test_200_classes_and_their_names_are_seen(drawn, tmp_path):  # noqa: F811
    labels = np.arange(200)
    points = np.random.default_rng(1).standard_normal((200, 2))
    scatter.save_scatter_2d(tmp_path / "a.png", points, THUMBNAILS[:200], labels, [f"class {i}" for i in labels], "")
    assert check(drawn[0]) > 200
    assert len(drawn[0].legends[0].get_texts()) == 200


def test_the_class_that_is_drawn_last_is_seen(drawn, tmp_path):  # noqa: F811
    """The axes once took their limits from all classes but that."""
    labels = np.repeat([0, 1, 2], 5)
    points = np.random.default_rng(1).uniform(0, 1, (15, 2)) + 10 * (labels == 2)[:, None]
    scatter.save_scatter_2d(tmp_path / "a.png", points, THUMBNAILS[:15], labels, list("abc"), "")
    left, right = drawn[0].axes[0].get_xlim()
    assert left < points[:, 0].min() and points[:, 0].max() < right


# ------------------------------------------------------------------------ training


def epochs(n, **changes):
    rows = [
        {"epoch": i, "train_top1": i / n, "val_top1": i / n / 2, "train_loss": 3 / i, "val_loss": 3.0}
        for i in range(1, n + 1)
    ]
    return [{**row, **changes} for row in rows]


HISTORIES = {
    "one epoch": (epochs(1), 5),
    "many epochs": (epochs(500), 2001),
    "equal values": (epochs(9, train_top1=0.0, val_top1=0.0, train_loss=2.3, val_loss=2.3), 37),
    "NaN": (epochs(9, val_top1=np.nan, val_loss=np.nan), 18),
    "only NaN": (epochs(3, train_top1=np.nan, val_top1=np.nan, train_loss=np.nan, val_loss=np.nan), 0),
    "infinite": (epochs(9, train_loss=np.inf, val_loss=-np.inf), 19),
    "huge": (epochs(9, train_loss=3e38, val_loss=1e299), 37),
    "after epoch 100,000": ([{**row, "epoch": row["epoch"] + 100_000} for row in epochs(3)], 13),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_all_epochs_are_seen(name, drawn, tmp_path):  # noqa: F811
    history, points = HISTORIES[name]
    figures.save_history(tmp_path / "a.png", history, LONG)
    assert check(drawn[0]) == points


# -------------------------------------------------------------- search, range test


def trial(lr, weight_decay=1e-4, val_top1=0.5, state="complete"):
    return {"lr": lr, "weight_decay": weight_decay, "val_top1": val_top1, "state": state}


TRIALS = {
    "one": ([trial(1e-3)], 2),
    "far apart": ([trial(1e-12, 1e-30), trial(1e6, 1e3)], 3),
    "diverged": ([trial(1e-3, val_top1=0, state="diverged")], 1),
    "all right": ([trial(1e-3, val_top1=1.0), trial(1e-2, val_top1=1.0)], 3),
    "many": ([trial(10.0 ** -(i / 100), 10.0 ** -(i / 50), i / 1000) for i in range(500)], 501),
}


@pytest.mark.parametrize("name", TRIALS)
def test_all_trials_are_seen(name, drawn, tmp_path):  # noqa: F811
    trials, points = TRIALS[name]
    search_plots.save_search(tmp_path / "a.png", trials, LONG)
    for bar in drawn[0].axes[1:]:  # of colours
        low, high = bar.get_ylim()
        assert 0 <= low < high <= 100  # they are percent
        bar.set_visible(False)
    assert check(drawn[0]) >= points


RATES = np.geomspace(1e-6, 10, 50)
LOSSES = {
    "falls and explodes": 2 - 1 / (1 + (1e-3 / RATES) ** 2) + np.where(RATES > 1, 1e6 * RATES, 0),
    "explodes at once": np.where(RATES > 1e-2, 1e30, 2.0 - RATES),
    "equal": np.full(50, 2.3),
    "huge": 1e37 * (2 + np.sin(np.arange(50))),
}


def test_the_marks_of_a_range_test_stand_on_its_curve(drawn, tmp_path):  # noqa: F811
    rates, losses = (
        np.array([10**-4, 10**-3.2, 10**-2]),
        np.array([3.0, 2.2, 1.0]),
    )  # no step has a tenth of the last rate
    test = RangeTest(rates, losses, losses)
    search_plots.save_range_test(tmp_path / "a.png", test, "")
    marks = [line.get_xydata()[1] for line in drawn[0].axes[0].lines if line.get_marker() in ("s", "D")]
    assert [rate for rate, _ in marks] == [test.steepest, test.tenth]
    assert np.allclose([loss for _, loss in marks], [-1 - np.log10(rate) for rate, _ in marks])


@pytest.mark.parametrize("name", LOSSES)
def test_all_losses_of_a_range_test_are_seen_or_said_to_be_higher(name, drawn, tmp_path):  # noqa: F811
    losses = LOSSES[name]
    search_plots.save_range_test(tmp_path / "a.png", RangeTest(RATES, losses, losses), LONG)
    assert check(drawn[0], cut=("smoothed",)) >= 50
    axes = drawn[0].axes[0]
    bottom, top = axes.get_ylim()
    falls = losses[: losses.argmin() + 1]
    assert np.ptp(falls) > 0.25 * (top - bottom) or np.ptp(falls) == 0  # the fall is what the picture is about


# ------------------------------------------------------------- images and their words

IMAGES = RNG.integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 9])
@pytest.mark.parametrize("side", [8, 64])
def test_all_images_and_words_of_a_sheet_are_seen(count, side, drawn, tmp_path):  # noqa: F811
    images = RNG.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    odd, footer = ODD[:count], " · ".join([*ODD, "a run/best", "scale image", "seed norm"] * 2)
    sheets.save_sheet(tmp_path / "a.png", images, images, odd, odd[::-1], LONG, footer, captions=odd)
    sheets.save_photo_sheet(tmp_path / "b.png", images[0], images, odd, LONG, footer)
    sheets.save_poster(tmp_path / "c.png", images, odd, LONG, footer)
    maps.save_gradcam(tmp_path / "d.png", images, np.ones(images.shape[:3]), odd, odd, odd, LONG, footer)
    assert len(drawn) == 4
    for figure in drawn:
        check(figure)


@pytest.mark.parametrize("count", [1, 9])
def test_all_images_of_a_batch_are_seen(count, drawn, tmp_path):  # noqa: F811
    figures.save_batch(tmp_path / "a.png", IMAGES[:count], ODD[:count], LONG)
    assert check(drawn[0]) == 2 * count


@pytest.mark.parametrize("places", [(1, 1), (13, 13)])
def test_an_occluded_image_and_all_its_labels_are_seen(places, drawn, tmp_path):  # noqa: F811
    predicted = np.arange(np.prod(places)).reshape(places) % 9
    for probability in (np.zeros(places), RNG.uniform(size=places)):
        maps.save_occlusion(tmp_path / "a.png", IMAGES[0], probability, predicted, ODD, 0.5, LONG, LONG)
        bar = drawn[-1].axes[-1]
        assert bar.get_ylim()[0] <= 0.5 <= bar.get_ylim()[1]
        assert check(drawn[-1]) > 4


# ---------------------------------------------------------------------- benchmarks


def test_all_bars_of_a_chart_are_seen(drawn, tmp_path):  # noqa: F811
    speeds = {"minidl": 1e6, "torch, channels last, compiled": 0.5, "openvino": 3.0}
    settings = {"network": "refined", "batch_size": 64, "threads": 2, "date": "2017-06-12"}
    results = {"train_img_s": {"minidl": 2e5}, "infer_img_s": speeds, "settings": settings,
               "machine": {"processor": LONG}}  # fmt: skip
    save_chart(tmp_path / "a.png", results)
    assert check(drawn[0]) >= 6


def test_all_curves_over_the_batch_size_are_seen(drawn, tmp_path):  # noqa: F811
    figures = {"settings": {"threads": 2, "date": "2017-06-12"}, "machine": {"processor": LONG}, "batches": {}}
    for size in (1, 16, 256):
        speeds = {name: 10.0 ** (i - 2) * size for i, name in enumerate(CONTENDERS["refined"]) if size > 1 or i % 2}
        figures["batches"][str(size)] = {"train_img_s": dict(list(speeds.items())[:3]), "infer_img_s": speeds}
    save_curves(tmp_path / "a.png", figures)
    assert check(drawn[0]) >= 4 + len(CONTENDERS["refined"])
    train, infer = drawn[0].axes
    assert sum(len(line.get_xydata()) for line in infer.lines) == 2 * 9 + 4
