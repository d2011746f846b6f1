"""Crops stretched to a size: the resampling, its whole-number weights, the draws, the growing sizes."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minidl.data import OnlineAugment, ResizedCrops
from minidl.data.crops import _weights, alternating, followed, growing, resample
from minidl.training.batches import make_augment
from minidl.training.config import Config
from tests.data.test_augment import ArraySplit


def boxes(n, size=64, seed=0):
    """Random boxes inside an image, (n, 4): top, left, height, width."""
    rng = np.random.default_rng(seed)
    sides = rng.uniform(size / 3, size, (n, 2))
    return np.concatenate([rng.uniform(0, size - sides), sides], axis=1)


@pytest.mark.parametrize("size", [24, 40, 64, 72])
def test_resampling_agrees_with_pillow_to_one_gray_level(size):
    images, parts = ArraySplit(10).pixels, boxes(10)
    ours = resample(images, parts, (size, size))
    assert ours.shape == (10, size, size, 3) and ours.dtype == np.uint8
    for image, (top, left, height, width), result in zip(images, parts, ours, strict=True):
        box = (left, top, left + width, top + height)
        pillow = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, box=box)
        assert np.abs(np.asarray(pillow).astype(int) - result).max() <= 1


def test_the_whole_image_at_its_own_size_is_the_image():
    images = ArraySplit(3, size=17).pixels
    assert np.array_equal(resample(images, np.tile([0.0, 0, 17, 17], (3, 1)), (17, 17)), images)


def test_images_that_are_not_square_keep_their_height_and_width():
    images = ArraySplit(3, size=20).pixels[:, :12]
    assert ResizedCrops(0.5)(images, np.arange(3), 0, 0).shape == images.shape
    assert np.array_equal(resample(images, np.tile([0.0, 0, 12, 20], (3, 1)), (12, 20)), images)


def test_resampling_one_colour_gives_that_colour():
    for level in (0, 1, 254, 255):
        images = np.full((4, 64, 64, 3), level, np.uint8)
        assert (resample(images, boxes(4), (40, 40)) == level).all()


@given(st.floats(0, 40), st.floats(1, 24), st.integers(1, 70))
def test_the_weights_of_a_sample_are_whole_and_add_up_to_256(start, length, size):
    weights = _weights(np.array([start]), np.array([length]), size, 64)
    assert weights.shape == (1, size, 64) and weights.dtype == np.float32
    assert np.array_equal(weights, np.rint(weights)) and (weights >= 0).all()
    assert (weights.sum(axis=-1) == 256).all()


def test_a_sample_is_the_sum_that_the_docstring_says():
    start, length, size, pixels = 3.3, 30.1, 8, 40
    weights = _weights(np.array([start]), np.array([length]), size, pixels)[0] / 256
    for s in range(size):
        c, r = start + (s + 0.5) * length / size, max(1, length / size)
        exact = np.array([max(0, 1 - abs(j + 0.5 - c) / r) for j in range(pixels)])
        np.testing.assert_allclose(weights[s], exact / exact.sum(), atol=1.01 / 256)


def test_the_sums_are_exact_in_float32_so_any_order_of_adding_gives_the_same_bits():
    images, parts = ArraySplit(6).pixels, boxes(6)
    rows, columns = (_weights(parts[:, axis], parts[:, axis + 2], 40, 64).astype(np.int64) for axis in (0, 1))
    sums = np.einsum("isj,ijkc,itk->istc", rows, images.astype(np.int64), columns)
    assert sums.max() < 2**24
    assert np.array_equal(resample(images, parts, (40, 40)), (sums + 2**15) >> 16)


def test_a_crop_depends_on_seed_epoch_and_index_and_not_on_the_rest_of_the_batch():
    images, indices, crops = ArraySplit(20, size=16).pixels, np.arange(100, 120), ResizedCrops(0.5)
    together = crops(images, indices, 5, 2)
    for i in range(20):
        assert np.array_equal(crops(images[i : i + 1], indices[i : i + 1], 5, 2)[0], together[i])
    for seed, epoch, shift in ((5, 4, 0), (6, 2, 0), (5, 2, 20)):
        assert not np.array_equal(crops(images, indices + shift, seed, epoch), together)


def test_crops_show_the_share_of_the_image_that_was_asked_for():
    """The shown part of a picture of its own coordinates tells the crop's sides."""
    line = np.arange(0, 256, 4, dtype=np.uint8)
    images = np.tile(np.stack([*np.meshgrid(line, line), np.zeros((64, 64), np.uint8)], axis=-1), (400, 1, 1, 1))
    shown = ResizedCrops(0.5)(images, np.arange(400), 0, 0).astype(int)
    width = np.abs(shown[:, 32, -1, 0] - shown[:, 32, 0, 0]) / 4 + 1
    height = (shown[:, -1, 32, 1] - shown[:, 0, 32, 1]) / 4 + 1
    area, ratio = width * height / 64**2, width / height
    assert 0.45 < area.min() < 0.55 and area.max() > 0.95
    assert area.mean() == pytest.approx(0.75, abs=0.03)
    assert 3 / 4 - 0.05 < ratio.min() < 0.85 and 1.18 < ratio.max() < 4 / 3 + 0.05


def test_all_of_the_image_is_shown_where_the_least_area_is_all_of_it_but_for_its_ratio():
    images = ArraySplit(30).pixels
    shown = ResizedCrops(1.0)(images, np.arange(30), 0, 0)
    assert shown.shape == images.shape


def test_an_image_is_mirrored_in_every_other_epoch_and_half_of_them_at_a_time():
    flipped = np.stack([alternating(0, epoch, np.arange(10_000)) for epoch in range(4)])
    assert np.array_equal(flipped[0], ~flipped[1]) and np.array_equal(flipped[0], flipped[2])
    assert flipped[0].mean() == pytest.approx(0.5, abs=0.02)


def test_sizes_grow_in_steps_of_eight_and_stay_at_the_last():
    sizes = [growing(40, 64, 68)(epoch) for epoch in range(80)]
    assert sizes == sorted(sizes)
    assert [sizes.count(size) for size in (40, 48, 56, 64)] == [23, 23, 22, 12]
    assert {growing(64, 64, 5)(epoch) for epoch in range(9)} == {growing(40, 64, 0)(0)} == {64}


def test_the_images_of_an_epoch_have_its_size():
    images = ArraySplit(4).pixels
    crops = ResizedCrops(0.5, growing(40, 64, 6))
    assert [crops(images, np.arange(4), 0, epoch).shape[1] for epoch in range(7)] == [40, 40, 48, 48, 56, 56, 64]


def test_one_augmentation_follows_the_other_at_its_epoch():
    images, indices = ArraySplit(4).pixels, np.arange(4)
    crops, online = ResizedCrops(0.5), OnlineAugment()
    both = followed(crops, online, 3)
    assert np.array_equal(both(images, indices, 0, 2), crops(images, indices, 0, 2))
    assert np.array_equal(both(images, indices, 0, 3), online(images, indices, 0, 3))


def test_a_run_ends_on_shifts_of_whole_images():
    data = SimpleNamespace(dataset=SimpleNamespace(image_shape=(64, 64, 3)))
    augment = make_augment(Config(augment="crops", start_size=40, epochs=80), data)
    images, indices = ArraySplit(2).pixels, np.arange(2)
    assert augment(images, indices, 0, 67).shape[1] == 56
    assert np.array_equal(augment(images, indices, 0, 68), OnlineAugment()(images, indices, 0, 68))
