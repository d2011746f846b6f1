"""Batches: their order, their bits, their threads."""

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minidl.data import Loader, OnlineAugment, Subset, channel_statistics, denormalise, normalise, subset
from minidl.data.arrays import as_split
from minidl.errors import DataError, UsageError
from tests.data.test_augment import ArraySplit

MEAN, STD = (0.48, 0.45, 0.40), (0.28, 0.27, 0.28)


def loader(n=50, batch_size=8, split=None, **options):
    return Loader(split or ArraySplit(n, size=8), batch_size, **({"mean": MEAN, "std": STD} | options))


def same(one, other):
    pairs = list(itertools.zip_longest(one, other))
    return bool(pairs) and all(np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1]) for a, b in pairs)


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("minidl-batches")]


def test_a_batch_is_float32_channels_last_with_int64_labels():
    x, y = next(loader().epoch(0))
    assert x.shape == (8, 8, 8, 3) and x.dtype == np.float32 and x.flags.c_contiguous
    assert y.shape == (8,) and y.dtype == np.int64


def test_an_epoch_shows_every_image_once_with_its_label():
    split = ArraySplit(50, size=8)
    batches = list(loader(split=split, drop_last=False).epoch(3))
    order = loader(split=split).order(3)
    assert np.array_equal(np.sort(order), np.arange(50))
    assert np.array_equal(np.concatenate([y for _, y in batches]), split.labels[order])
    pixels = denormalise(np.concatenate([x for x, _ in batches]), MEAN, STD)
    assert np.array_equal(pixels, split.pixels[order])


def test_the_order_is_a_function_of_seed_and_epoch():
    orders = {(seed, epoch): tuple(loader(seed=seed).order(epoch)) for seed in (0, 1) for epoch in (0, 1)}
    assert len(set(orders.values())) == 4
    assert orders[1, 1] == tuple(loader(seed=1, workers=0).order(1))


def test_without_shuffle_the_split_keeps_its_order():
    split = ArraySplit(20, size=8)
    batches = list(loader(split=split, shuffle=False, drop_last=False).epoch(7))
    assert np.array_equal(np.concatenate([y for _, y in batches]), split.labels)


@pytest.mark.parametrize("drop_last, batches", [(True, 6), (False, 7)])
def test_the_last_batch_is_left_out_if_it_is_not_full(drop_last, batches):
    one = loader(drop_last=drop_last)
    assert len(one) == len(list(one.epoch(0))) == batches


def test_a_limit_ends_the_epoch_early():
    assert len(loader(limit=2)) == len(list(loader(limit=2).epoch(0))) == 2
    assert same(loader(limit=2).epoch(1), list(loader().epoch(1))[:2])
    assert len(loader(limit=100)) == 6


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_any_number_of_workers_gives_the_same_bits(workers):
    options = {"n": 200, "augment": OnlineAugment(2), "seed": 3}
    assert same(loader(workers=workers, **options).epoch(2), loader(workers=0, **options).epoch(2))


@given(st.integers(0, 6), st.integers(0, 3))
def test_an_epoch_resumed_at_any_batch_continues_with_the_same_bits(start, workers):
    one = loader(augment=OnlineAugment(2), workers=workers)
    rest = list(one.epoch(1))[start:]
    assert same(one.epoch(1, start), rest) or rest == list(one.epoch(1, start)) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda images: None, "augment gave NoneType: must give uint8 images"),
        (lambda images: images * 0.9, r"augment gave float64 of the shape \(8, .*: must give uint8 images"),
        (lambda images: images[:4], "one for each of the 8"),
        (lambda images: images[..., 0], r"must give uint8 images \(N, H, W, C\)"),
    ],
)
def test_an_augmentation_that_gives_something_else_is_told_what_is_missing(change, line):
    one = loader(n=8, augment=lambda images, indices, seed, epoch: change(images))
    with pytest.raises(UsageError, match=line):
        list(one.epoch(0))


def test_augmentation_is_drawn_anew_each_epoch():
    one = loader(n=8, shuffle=False, augment=OnlineAugment(2))
    assert not same(one.epoch(0), one.epoch(1))
    assert same(one.epoch(1), one.epoch(1))


def test_unknown_labels_are_minus_one():
    split = ArraySplit(9, size=8)
    split.labels = None
    _, y = next(loader(split=split).epoch(0))
    assert y.tolist() == [-1] * 8 and y.dtype == np.int64


def test_threads_end_with_the_epoch_and_with_a_consumer_that_stops_early():
    list(loader(workers=2).epoch(0))
    assert not threads()
    batches = loader(n=400, workers=2).epoch(0)
    next(batches)
    assert threads()
    batches.close()
    assert not threads()


def test_workers_prepare_a_bounded_number_of_batches():
    split = ArraySplit(800, size=8)
    read = []
    batches = loader(split=split, workers=2).epoch(0)
    split.images = lambda indices: read.append(len(indices)) or split.pixels[indices]
    for _ in range(3):
        next(batches)
    batches.close()
    assert len(read) <= 3 + 2 * 2


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_what_fails_in_a_worker_is_raised_at_its_batch(workers):
    def fail_at_the_third(images, indices, seed, epoch):
        if 16 in indices:
            raise RuntimeError("no third batch")
        return images

    seen = 0
    with pytest.raises(RuntimeError, match="no third batch"):
        for _ in loader(shuffle=False, workers=workers, augment=fail_at_the_third).epoch(0):
            seen += 1
    assert seen == 2
    assert not threads()


@pytest.mark.parametrize(
    "options, line",
    [
        ({"n": 5}, "a batch of 8 needs more than the 5 images there are"),
        ({"n": 0, "drop_last": False}, "0 images"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"workers": -1}, "workers is -1"),
        ({"limit": 0}, "limit is 0"),
        ({"batch_size": "8"}, "batch_size is '8': it must be a whole number"),
        ({"workers": None}, "workers is None: it must be a whole number"),
    ],
)
def test_impossible_loaders_are_refused_in_one_line(options, line):
    with pytest.raises(UsageError, match=line) as caught:
        loader(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("epoch", [-1, 0.5, "0", None])
def test_an_epoch_that_cannot_be_is_refused_when_it_is_asked_for(epoch):
    for shuffle in (True, False):
        with pytest.raises(UsageError, match=f"epoch is {epoch!r}"):
            loader(shuffle=shuffle).epoch(epoch)


def test_fewer_images_than_a_batch_will_do_where_no_batch_is_left_out():
    x, _ = next(loader(n=5, drop_last=False).epoch(0))
    assert len(x) == 5


@given(arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.just(3))))
def test_normalise_is_its_formula_and_denormalise_undoes_it(images):
    x = normalise(images, MEAN, STD)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, (images / 255 - np.array(MEAN)) / np.array(STD), atol=2e-6)
    assert np.array_equal(denormalise(x, MEAN, STD), images)
    assert denormalise(x, MEAN, STD).dtype == np.uint8


def test_normalise_takes_one_image_and_statistics_of_any_type():
    image = ArraySplit(1, size=8).pixels[0]
    with_lists, with_float32 = (normalise(image, np.array(MEAN, kind), STD) for kind in (np.float64, np.float32))
    assert with_lists.shape == (8, 8, 3) and with_float32.dtype == np.float32
    np.testing.assert_allclose(with_lists, with_float32, atol=1e-6)


def test_denormalise_cuts_what_is_beyond_black_and_white():
    x = np.array([[[-9.0, 0, 9]]], np.float32)
    assert denormalise(x, (0.5, 0.5, 0.5), (1, 1, 1)).tolist() == [[[0, 128, 255]]]


def test_channel_statistics_are_mean_and_standard_deviation():
    split = ArraySplit(37, size=9)
    split.pixels[..., 1] //= 3
    mean, std = channel_statistics(split)
    pixels = split.pixels.reshape(-1, 3) / 255
    assert mean.dtype == std.dtype == np.float32
    np.testing.assert_allclose(mean, pixels.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(std, pixels.std(axis=0), rtol=1e-6)


@given(st.permutations(range(20)), st.integers(1, 25))
def test_channel_statistics_have_the_same_bits_in_any_order_and_batch(order, batch):
    split = ArraySplit(20, size=5)
    one, other = channel_statistics(split), channel_statistics(split, np.array(order), batch)
    assert np.array_equal(one, other)


def test_channel_statistics_of_chosen_images_are_those_of_their_subset():
    split, chosen = ArraySplit(20, size=5), np.array([1, 5, 7])
    assert np.array_equal(channel_statistics(split, chosen), channel_statistics(Subset(split, chosen)))


def test_a_constant_channel_has_the_deviation_of_one_gray_level():
    split = ArraySplit(4, size=8)
    split.pixels[..., 2] = 255
    mean, std = channel_statistics(split)
    assert mean[2] == 1 and std[2] == np.float32(1 / 255)


def test_a_white_image_of_many_pixels_does_not_overflow_its_sums():
    split = ArraySplit(1, size=8)
    split.pixels = np.full((1, 300, 300, 3), 255, np.uint8)
    assert channel_statistics(split)[0].tolist() == [1, 1, 1]


def test_statistics_of_no_images_are_refused():
    with pytest.raises(UsageError, match="no images"):
        channel_statistics(ArraySplit(3, size=8), np.array([], int))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_floats_have_statistics_in_their_own_units(scale):
    images = np.random.default_rng(0).normal(3, 2, (50, 4, 4, 3)) * scale
    mean, std = channel_statistics((images, None))
    np.testing.assert_allclose(mean, images.mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(std, images.std(axis=(0, 1, 2)), rtol=1e-5)
    assert channel_statistics((np.full((2, 4, 4, 1), scale), None))[1] == 1


def test_floats_that_are_no_numbers_are_named():
    images = np.zeros((2, 4, 4, 1))
    images[1, 2, 3] = np.nan
    with pytest.raises(DataError, match="an image has a number that isn't finite"):
        channel_statistics((images, None))


@pytest.mark.parametrize("seed", [-1, 1.5, "a"])
def test_a_seed_that_is_none_is_refused_at_once(seed):
    with pytest.raises(UsageError, match="seed is"):
        loader(seed=seed)


def test_parts_of_every_class_need_labels():
    with pytest.raises(UsageError, match="have no labels"):
        subset(as_split((np.zeros((4, 2, 2, 1)), None)), 0.5, 0)
