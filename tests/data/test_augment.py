"""The paper's fixed extended training set, and the changes drawn anew each epoch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minidl.data import OnlineAugment, PaperAugment, split_off, subset
from minidl.data.augment import rotate, uniform
from minidl.errors import UsageError


class ArraySplit:
    """A split held in memory."""

    def __init__(self, n, size=64, classes=5, gray=None, seed=0):
        rng = np.random.default_rng(seed)
        self.pixels = rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8)
        self.labels = rng.integers(0, classes, n)
        self.gray = gray

    def __len__(self):
        return len(self.pixels)

    def images(self, indices):
        return self.pixels[indices]


def smooth(size=64):
    y, x = np.mgrid[:size, :size] / size
    waves = [np.sin(7 * x + 3 * y + c) * np.cos(5 * y - c) * 120 + 127 for c in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


def test_the_extended_set_has_one_extra_image_for_each_that_is_not_gray():
    gray = np.arange(50) % 5 == 0
    split = ArraySplit(50, gray=gray)
    extended = PaperAugment(split, seed=0)
    assert len(extended) == 50 + 40
    assert np.array_equal(extended.labels, np.concatenate([split.labels, split.labels[~gray]]))
    assert np.array_equal(extended.images(np.arange(50)), split.pixels)


def test_without_gray_flags_every_image_is_doubled():
    assert len(PaperAugment(ArraySplit(7), seed=0)) == 14


def test_gray_flags_can_be_given():
    assert len(PaperAugment(ArraySplit(7), seed=0, gray=np.arange(7) < 2)) == 12


def test_each_extra_image_is_a_flip_or_one_of_six_rotations_of_its_original():
    split = ArraySplit(40)
    extended = PaperAugment(split, seed=3)
    kinds = set()
    for i in range(40):
        original = split.pixels[i : i + 1]
        candidates = {"flip": original[:, :, ::-1]}
        candidates |= {angle: rotate(original, angle) for angle in (6, 8, 10, -6, -8, -10)}
        extra = extended.images(np.array([40 + i]))
        (kind,) = [k for k, candidate in candidates.items() if np.array_equal(extra, candidate)]
        kinds.add(kind)
    assert len(kinds) == 7


def test_flips_and_both_senses_of_rotation_are_equally_frequent_and_so_are_the_angles():
    n = 90_000
    change = PaperAugment(ArraySplit(n, size=1), seed=0).change[n:]
    frequency = np.bincount(change, minlength=9) / n
    assert len(frequency) == 9
    assert np.abs(frequency - 1 / 9).max() < 5 * np.sqrt(1 / 9 * 8 / 9 / n)


def test_the_extended_set_is_fixed_by_the_seed_alone():
    split = ArraySplit(30)
    everything = PaperAugment(split, seed=1).images(np.arange(60))
    shuffled = np.random.default_rng(0).permutation(60)
    assert np.array_equal(PaperAugment(split, seed=1).images(shuffled), everything[shuffled])
    assert not np.array_equal(PaperAugment(split, seed=2).images(np.arange(60)), everything)


@pytest.mark.parametrize("degrees", [6, 8, 10, -6, -8, -10])
def test_a_positive_rotation_is_clockwise_and_agrees_with_pillow_inside(degrees):
    image = smooth()
    ours = rotate(image[None], degrees)[0]
    pillow = np.asarray(Image.fromarray(image).rotate(-degrees, Image.Resampling.BILINEAR))
    inside = slice(8, -8)
    assert np.abs(ours[inside, inside].astype(int) - pillow[inside, inside]).max() <= 1


def test_a_rotation_repeats_the_border_and_brings_no_black_corners():
    image = np.full((1, 64, 64, 3), 200, np.uint8)
    assert np.array_equal(rotate(image, 10), image)
    assert np.array_equal(rotate(np.full_like(image, 255), -8), np.full_like(image, 255))


def test_a_rotation_by_nothing_changes_nothing():
    image = smooth()[None]
    assert np.array_equal(rotate(image, 0), image)


def test_online_changes_depend_on_seed_epoch_and_index_and_not_on_the_rest_of_the_batch():
    images = ArraySplit(20, size=16).pixels
    indices = np.arange(100, 120)
    augment = OnlineAugment()
    together = augment(images, indices, 5, 2)
    for i in range(20):
        assert np.array_equal(augment(images[i : i + 1], indices[i : i + 1], 5, 2)[0], together[i])
    assert not np.array_equal(augment(images, indices, 5, 3), together)
    assert not np.array_equal(augment(images, indices, 6, 2), together)
    assert not np.array_equal(augment(images, indices + 20, 5, 2), together)


def test_an_online_change_is_a_crop_of_the_reflected_image_mirrored_or_not():
    images = ArraySplit(60, size=12).pixels
    before = images.copy()
    changed = OnlineAugment(padding=2)(images, np.arange(60), 0, 0)
    seen = set()
    for image, result in zip(images, changed, strict=True):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect")
        places = [
            (top, left, mirrored)
            for top in range(5)
            for left in range(5)
            for mirrored in (False, True)
            if np.array_equal(padded[top : top + 12, left : left + 12][:, :: -1 if mirrored else 1], result)
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert {mirrored for *_, mirrored in seen} == {False, True}
    assert {top for top, *_ in seen} == {left for _, left, _ in seen} == set(range(5))
    assert np.array_equal(images, before)


@given(st.integers(0, 2**63 - 1), st.integers(0, 10**6), st.integers(0, 50))
def test_draws_are_from_zero_to_one(seed, epoch, purpose):
    draws = uniform(seed, epoch, np.arange(100), purpose)
    assert ((draws >= 0) & (draws < 1)).all()
    assert len(np.unique(draws)) == 100


def test_draws_are_uniform_and_uncorrelated_between_neighbours_epochs_and_purposes():
    n = 100_000
    first = uniform(0, 0, np.arange(n), 0)
    assert np.abs(np.histogram(first, 20, (0, 1))[0] / n * 20 - 1).max() < 0.06
    for other in (np.roll(first, 1), uniform(0, 1, np.arange(n), 0), uniform(1, 0, np.arange(n), 0)):
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.02
    assert abs(np.corrcoef(first, uniform(0, 0, np.arange(n), 1))[0, 1]) < 0.02


def test_a_subset_has_the_same_share_of_every_class():
    split = ArraySplit(0)
    split.labels = np.repeat(np.arange(4), (10, 20, 40, 1))
    split.pixels = np.arange(71, dtype=np.uint8).reshape(71, 1, 1, 1).repeat(3, axis=3)
    part = subset(split, 0.1, seed=0)
    assert np.bincount(part.labels).tolist() == [1, 2, 4, 1]
    assert np.array_equal(part.images(np.arange(8))[:, 0, 0, 0], part.indices)
    assert np.array_equal(part.labels, split.labels[part.indices])


def test_a_subset_is_fixed_by_its_seed_and_contained_in_every_larger_one():
    split = ArraySplit(200, size=1)
    small = subset(split, 0.2, seed=4).indices
    assert np.array_equal(small, subset(split, 0.2, seed=4).indices)
    assert set(small) <= set(subset(split, 0.5, seed=4).indices)
    assert set(small) != set(subset(split, 0.2, seed=5).indices)
    assert np.array_equal(subset(split, 1, seed=0).indices, np.arange(200))


def test_a_split_off_share_and_the_rest_make_the_whole():
    split = ArraySplit(200, size=1, gray=np.arange(200) % 2 == 0)
    rest, held_out = split_off(split, 0.25, seed=0)
    assert np.array_equal(np.sort(np.concatenate([rest.indices, held_out.indices])), np.arange(200))
    counts = np.bincount(split.labels)
    assert np.array_equal(np.bincount(held_out.labels), np.round(counts * 0.25))
    assert np.array_equal(rest.gray, rest.indices % 2 == 0)


@pytest.mark.parametrize("fraction", [0, -0.5, 1.5, float("nan")])
def test_an_impossible_fraction_is_refused(fraction):
    with pytest.raises(UsageError, match="choose a fraction"):
        subset(ArraySplit(10, size=1), fraction, 0)
    with pytest.raises(UsageError, match="choose a fraction"):
        split_off(ArraySplit(10, size=1), fraction, 0)


def test_a_class_of_one_image_cannot_be_split():
    split = ArraySplit(0)
    split.labels, split.pixels = np.array([0, 0, 0, 1]), np.zeros((4, 1, 1, 3), np.uint8)
    with pytest.raises(UsageError, match="no training image of class 1"):
        split_off(split, 0.3, 0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_images_of_one_pixel_height_or_width_are_turned_too(shape):
    images = np.full((2, *shape, 3), 77, np.uint8)
    np.testing.assert_array_equal(rotate(images, 10), images)
