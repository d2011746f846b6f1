"""The embedded data set: what an image depends on, how hard it is, and its export as JPEG files."""

import os
import threading

import numpy as np
import pytest
from PIL import Image

from benchmarks.shapes_baseline import linear_predictions
from minidl.data import shapes
from minidl.data.export import export_tiny_imagenet_layout
from minidl.data.shapes import load_shapes
from minidl.data.shapes_draw import cover, hsv
from minidl.data.shapes_figures import KINDS, box, disc, either, star
from minidl.errors import DataError, UsageError

draw = shapes.draw.__wrapped__  # without the memory that tests/conftest.py gives it
GRID = np.mgrid[-32:32, -32:32][::-1].astype(np.float32)  # u, v


@pytest.mark.parametrize("label", range(20))
def test_an_image_of_every_class_is_uint8_and_the_same_each_time(label):
    image = draw(3, "train", label)
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8
    assert image.std() > 10
    np.testing.assert_array_equal(image, draw(3, "train", label))


def test_an_image_does_not_depend_on_the_order_or_the_number_of_the_others():
    one, other = load_shapes(40, 20, seed=5), load_shapes(60, 30, seed=5)
    shuffled = np.random.default_rng(0).permutation(40)
    np.testing.assert_array_equal(one.train.images(np.arange(40))[shuffled], other.train.images(shuffled))
    np.testing.assert_array_equal(one.val.images(np.array([7])), draw(5, "val", 7)[None])


def test_seeds_splits_and_neighbours_of_a_class_differ():
    images = [draw(0, "train", 4), draw(1, "train", 4), draw(0, "val", 4), draw(0, "train", 24)]
    for i, a in enumerate(images):
        for b in images[:i]:
            assert np.abs(a.astype(int) - b).mean() > 5


def test_the_classes_are_balanced_and_have_ids_and_distinct_words():
    data = load_shapes(200, 100)
    assert data.classes == [f"s{k:02d}" for k in range(20)]
    assert len(set(data.words)) == 20 and all(words == words.strip() != "" for words in data.words)
    assert data.image_shape == (64, 64, 3) and data.test is None
    for split, count in ((data.train, 10), (data.val, 5)):
        assert split.labels.dtype == np.int64
        assert np.bincount(split.labels).tolist() == [count] * 20


def test_an_image_is_drawn_once_and_handed_out_as_a_copy(monkeypatch):
    calls = []
    monkeypatch.setattr(shapes, "draw", lambda *key: calls.append(key) or draw(*key))
    data = load_shapes(20, 20)
    first = data.train.images(np.array([3, 3, 5]))
    kept = first.copy()
    first[...] = 0
    np.testing.assert_array_equal(data.train.images(np.array([3, 3, 5])), kept)
    assert sorted(set(calls)) == [(0, "train", 3), (0, "train", 5)]
    data.train.images(np.array([5, 3]))
    assert len(calls) == 3  # 3 twice in the first request, nothing after it


def test_threads_that_ask_for_the_same_images_get_the_same_images():
    data, expected = load_shapes(60, 20), load_shapes(60, 20).train.images(np.arange(60))
    start, wrong = threading.Barrier(8), []

    def ask(k):
        order = np.random.default_rng(k).permutation(60)
        start.wait()
        for part in np.split(order, 6):
            if not np.array_equal(data.train.images(part), expected[part]):
                wrong.append(part)

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("sizes", [{"train": 0}, {"val": -1}, {"seed": -1}])
def test_sizes_and_seeds_that_make_no_sense_are_refused_in_one_line(sizes):
    with pytest.raises(UsageError, match="shapes with") as error:
        load_shapes(**sizes)
    assert "\n" not in str(error.value)


def test_distances_are_in_pixels_and_negative_inside():
    u, v = GRID
    assert disc(u, v, 10)[32, 32 + 13] == pytest.approx(3)
    assert box(u, v, 10, 4)[32 + 6, 32] == pytest.approx(2)
    apothem = 20 * np.cos(np.pi / 3)
    assert star(u, v, 20, 3, np.cos(np.pi / 3))[32 + 15, 32] == pytest.approx(15 - apothem, abs=1e-4)
    inside = either(disc(u, v, 10), disc(u, v, 10, x=10)) < 0
    assert inside[32, 32 - 5] and inside[32, 32 + 15] and not inside[32, 32 + 5] and not inside[0, 0]


def test_hsv_knows_the_primary_colours():
    hues = np.array([0, 1 / 6, 1 / 3, 2 / 3, 1])
    expected = [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]
    np.testing.assert_allclose(hsv(hues, np.ones(5), np.ones(5)), expected, atol=1e-12)
    np.testing.assert_allclose(hsv(0.3, 0.0, 0.5), [0.5, 0.5, 0.5])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.words)
def test_every_figure_fills_part_of_the_image_and_every_tone_of_it_is_seen(kind):
    rng = np.random.default_rng(0)
    image, tones = np.zeros((3, 64, 64), np.float32), np.eye(3, dtype=np.float32)
    figure = kind.paint(*GRID, np.mean(kind.radius), rng)
    for d, tone in figure:
        assert d.shape == (64, 64)
        cover(image, d, tones[tone][:, None, None], kind.softness)
    seen = (image > 0.5).mean((1, 2))
    assert 0.05 < seen.sum() < 1.01
    assert all(seen[tone] > 0.01 for _, tone in figure)


@pytest.mark.slow
def test_a_linear_model_does_not_solve_it():
    data = load_shapes(600, 400)
    best = max((predictions == data.val.labels).mean() for _, predictions in linear_predictions(data))
    assert 0.08 < best < 0.5  # chance is 0.05


def test_the_export_has_the_official_layout(tmp_path):
    data = load_shapes(40, 20, seed=2)
    root = export_tiny_imagenet_layout(data, tmp_path / "new" / "set", progress=False)
    assert (root / "wnids.txt").read_text().split() == data.classes
    words = dict(line.split("\t") for line in (root / "words.txt").read_text().splitlines())
    assert words == dict(zip(data.classes, data.words, strict=True))

    for label, wnid in enumerate(data.classes):
        names = [f"{wnid}_0.JPEG", f"{wnid}_1.JPEG"]
        assert sorted(path.name for path in (root / "train" / wnid / "images").iterdir()) == names
        boxes = [line.split("\t") for line in (root / "train" / wnid / f"{wnid}_boxes.txt").read_text().splitlines()]
        assert boxes == [[name, "0", "0", "63", "63"] for name in names]
        for k, name in enumerate(names):
            pixels = np.asarray(Image.open(root / "train" / wnid / "images" / name)).astype(int)
            assert abs(pixels - draw(2, "train", label + 20 * k)).mean() < 6

    lines = [line.split("\t") for line in (root / "val" / "val_annotations.txt").read_text().splitlines()]
    assert lines == [[f"val_{i}.JPEG", data.classes[i % 20], "0", "0", "63", "63"] for i in range(20)]
    assert {path.name for path in (root / "val" / "images").iterdir()} == {line[0] for line in lines}
    assert list((root / "test" / "images").iterdir()) == []
    assert [path.name for path in root.parent.iterdir()] == ["set"]  # no temporary folder left


def test_the_export_writes_a_test_split_without_labels(tmp_path):
    data = load_shapes(20, 20)
    data.test = load_shapes(20, 3, seed=1).val
    root = export_tiny_imagenet_layout(data, tmp_path, progress=False)
    assert sorted(p.relative_to(root).as_posix() for p in (root / "test").rglob("*.*")) == [
        f"test/images/test_{i}.JPEG" for i in range(3)
    ]


def test_an_export_into_the_folder_that_the_user_is_in_is_seen_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export_tiny_imagenet_layout(load_shapes(20, 20), ".", progress=False)
    assert sorted(os.listdir()) == ["test", "train", "val", "wnids.txt", "words.txt"]


def test_the_export_refuses_a_folder_with_something_in_it(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(DataError, match="not an empty folder") as error:
        export_tiny_imagenet_layout(load_shapes(20, 20), tmp_path, progress=False)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_data_set_that_could_not_be_read_is_not_exported(tmp_path):
    with pytest.raises(UsageError, match="19 training images, and none of class s19"):
        export_tiny_imagenet_layout(load_shapes(19, 20), tmp_path / "set", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_fails_leaves_nothing_behind(tmp_path):
    data = load_shapes(40, 20)
    data.val.images = lambda indices: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    with pytest.raises(DataError, match="No space left"):
        export_tiny_imagenet_layout(data, tmp_path / "set", progress=False)
    assert list(tmp_path.iterdir()) == []
