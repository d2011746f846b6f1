"""Parts of data sets: positions and masks, images without labels, arrays in place of splits."""

import numpy as np
import pytest

import minidl as md
from minidl.data import ArraySplit, Dataset, OnlineAugment, PaperAugment, ResizedCrops, Subset, only_classes
from minidl.data.export import export_tiny_imagenet_layout
from minidl.data.subset import split_off, subset
from minidl.errors import DataError, ShapeError, UsageError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 4, 4, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3
SHAPES = md.load_shapes(40, 1).train


@pytest.mark.parametrize("split", [ArraySplit(PIXELS, LABELS), SHAPES, Subset(SHAPES, np.arange(20))])
def test_a_mask_stands_for_the_images_where_it_is_true(split):
    chosen = np.flatnonzero(split.labels == 2)
    np.testing.assert_array_equal(split.images(split.labels == 2), split.images(chosen))
    part = Subset(split, split.labels == 2)
    assert len(part) == len(part.labels) == len(chosen) and set(part.labels) == {2}
    np.testing.assert_array_equal(part.images(np.arange(len(part))), split.images(chosen))
    assert len(Subset(split, [])) == 0


@pytest.mark.parametrize(
    ("indices", "line"),
    [
        ([0.0, 1.0], r"indices are float64 of the shape \(2,\): give positions, or a mask of 12 bools"),
        ([True, False], r"indices are bool of the shape \(2,\)"),
        ([3, 12], "indices from 3 to 12: there are 12 images"),
    ],
)
def test_other_indices_are_refused(indices, line):
    for function in (ArraySplit(PIXELS, LABELS).images, lambda i: Subset(ArraySplit(PIXELS, LABELS), i)):
        with pytest.raises(UsageError, match=line):
            function(indices)


UNKNOWN = np.array([0, 1, 2, -1, -1, 2])


def dataset(labels):
    split = ArraySplit(PIXELS[: len(labels)], labels)
    return Dataset("d", ["a", "b", "c"], ["a", "b", "c"], (4, 4, 3), split, split)


def test_images_without_a_label_are_of_no_class():
    assert only_classes(dataset(UNKNOWN), "a,c").train.labels.tolist() == [0, 1, 1]
    split_off(ArraySplit(PIXELS[:5], np.array([0, 0, 1, 1, -1])), 0.3, 0, ["a", "b", "c"])


def test_a_layout_with_a_label_for_each_image_needs_them(tmp_path):
    with pytest.raises(UsageError, match="an image of train has no label"):
        export_tiny_imagenet_layout(dataset(UNKNOWN), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_classes_are_a_text():
    with pytest.raises(UsageError, match=r"classes \['a', 'c'\]: give a text with commas, such as 'a,b'"):
        only_classes(dataset(LABELS), ["a", "c"])


def test_arrays_take_the_place_of_a_split():
    arrays, split = (PIXELS, LABELS), ArraySplit(PIXELS, LABELS)
    for function in (lambda s: subset(s, 0.5, 0), lambda s: split_off(s, 0.3, 0)[1], lambda s: PaperAugment(s, 0)):
        of_arrays, of_split = function(arrays), function(split)
        np.testing.assert_array_equal(of_arrays.labels, of_split.labels)
        everything = np.arange(len(of_split))
        np.testing.assert_array_equal(of_arrays.images(everything), of_split.images(everything))


@pytest.mark.parametrize(
    ("arrays", "line"), [((PIXELS, None), "have no labels"), ((PIXELS / 255, LABELS), "these images are floats")]
)
def test_the_papers_extra_images_need_pixels_with_labels(arrays, line):
    with pytest.raises(UsageError, match=line):
        PaperAugment(arrays, 0)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: ResizedCrops(-1), "area is -1"),
        (lambda: ResizedCrops(50), "area is 50"),
        (lambda: ResizedCrops(0.5, 32), "size is 32: give a function epoch -> pixels"),
        (lambda: OnlineAugment(-1), "padding is -1"),
        (lambda: md.Loader((PIXELS, LABELS), 4, augment=True), "augment is True: give a function"),
        (lambda: md.Loader((PIXELS, LABELS), 4, augment=OnlineAugment), "augment is the class OnlineAugment"),
    ],
)
def test_an_augmentation_that_is_none_is_refused_where_it_is_made(make, line):
    with pytest.raises(UsageError, match=line):
        make()


def test_other_whole_numbers_are_no_pixels():
    for take in (lambda x: md.normalise(x, 0.5, 0.25), md.picture):
        with pytest.raises(DataError, match=r"images are int64: give pixels 0 to 255 as uint8"):
            take(PIXELS.tolist())


def test_a_split_of_ones_own_needs_pixels_or_floats_too():
    class Own(ArraySplit):
        def images(self, indices):
            return super().images(indices).astype(np.int16)

    with pytest.raises(DataError, match="images are int16"):
        md.Loader(Own(PIXELS, LABELS), 4)


def test_a_column_of_labels_is_taken_by_its_number():
    with pytest.raises(ShapeError, match=r"labels have the shape \(12, 1\).*y\[:, 0\]"):
        md.Loader((PIXELS, LABELS[:, None]), 4)


@pytest.mark.parametrize("value", [0.1, 0.3, 0.7, 0.9, 1 / 3])
def test_floats_that_are_all_equal_have_the_deviation_1(value):
    mean, std = md.channel_statistics((np.full((7, 5, 5, 1), value), None))
    assert std == [1] and mean == pytest.approx([value])


def test_whole_numbers_of_numpy_are_whole_numbers():
    images = np.zeros((300, 1, 1, 1), np.uint8)
    loader = md.Loader((images, None), np.uint8(100), limit=np.int8(2), workers=np.int64(0), seed=np.int8(3))
    assert len(loader) == 2 and [len(x) for x, _ in loader.epoch(0)] == [100, 100]
