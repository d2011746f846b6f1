"""A user's own arrays: what is taken, and what is said of what isn't."""

import numpy as np
import pytest

from minidl.data import Loader, channel_statistics, load_shapes
from minidl.errors import DataError, ShapeError, UsageError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (10, 6, 5, 3), dtype=np.uint8)
LABELS = np.arange(10) % 4


def batches(x, y, **options):
    return list(Loader((x, y), 5, shuffle=False, **options).epoch(0))


def test_pixels_become_shares_of_255_and_floats_stay():
    (x, y), _ = batches(PIXELS, LABELS)
    assert x.dtype == np.float32 and y.dtype == np.int64 and list(y) == list(LABELS[:5])
    np.testing.assert_allclose(x, PIXELS[:5] / 255, rtol=1e-6)
    floats = RNG.normal(size=PIXELS.shape)
    np.testing.assert_array_equal(batches(floats, LABELS)[1][0], floats[5:].astype(np.float32))


@pytest.mark.parametrize("images", [PIXELS, PIXELS / 255, (PIXELS / 255).astype(np.float32)])
def test_mean_and_std_of_the_images_bring_them_to_0_and_1(images):
    mean, std = channel_statistics((images, None))
    x = np.concatenate([x for x, _ in batches(images, None, mean=mean, std=std)])
    np.testing.assert_allclose(x.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(axis=(0, 1, 2)), 1, rtol=1e-5)


def test_one_number_stands_for_all_channels():
    one, three = (batches(PIXELS, LABELS, mean=m, std=s)[0][0] for m, s in ((0.5, 0.25), ([0.5] * 3, [0.25] * 3)))
    np.testing.assert_array_equal(one, three)


def test_other_kinds_of_numbers_are_taken_where_they_are_whole():
    for labels in (list(LABELS), LABELS.astype(np.uint8), LABELS.astype(np.float32), LABELS > 1):
        y = batches(PIXELS, labels)[1][1]
        assert y.dtype == np.int64 and list(y) == [int(v) for v in labels[5:]]
    assert list(batches(PIXELS, None)[0][1]) == [-1] * 5


def test_the_users_array_is_not_written_to():
    before = PIXELS.copy()
    x, _ = batches(PIXELS, LABELS)[0]
    x[...] = 0
    np.testing.assert_array_equal(PIXELS, before)


@pytest.mark.parametrize(
    "images, labels, error, said",
    [
        (PIXELS.transpose(0, 3, 1, 2), LABELS, ShapeError, "channels first.*transpose"),
        (PIXELS[..., 0], LABELS, ShapeError, r"x\[..., None\]"),
        (PIXELS[:0], LABELS[:0], ShapeError, "there are no images"),
        ([], [], ShapeError, "there are no images"),
        (PIXELS.reshape(10, -1), LABELS, ShapeError, r"\(N, H, W, C\)"),
        (PIXELS.astype(np.int64), LABELS, DataError, "int64.*uint8"),
        (PIXELS, LABELS[:-1], ShapeError, "one for each of the 10 images"),
        (PIXELS, np.eye(10), ShapeError, "argmax"),
        (PIXELS, LABELS + 0.5, DataError, "a label is 0.5"),
        (PIXELS, np.full(10, np.nan), DataError, "NaN"),
        (PIXELS, LABELS - 3, DataError, "a label is -3"),
        (PIXELS, ["cat"] * 10, DataError, "np.unique"),
    ],
)
def test_what_does_not_fit_is_named_with_what_is_meant(images, labels, error, said):
    with pytest.raises(error, match=said):
        Loader((images, labels), 5)


@pytest.mark.parametrize(
    "options, error, said",
    [
        ({"mean": [0.5, 0.5]}, ShapeError, r"mean has the shape \(2,\).*3 channels"),
        ({"std": [[1, 1, 1]]}, ShapeError, "std has the shape"),
        ({"std": [1, 0, 1]}, UsageError, "above 0"),
        ({"std": -1}, UsageError, "above 0"),
        ({"std": np.nan}, UsageError, "std is nan: give finite numbers"),
        ({"mean": None}, UsageError, "mean is None: give finite numbers"),
        ({"mean": "gray"}, UsageError, "mean is 'gray': give a number for each channel"),
        ({"mean": [125.3, 123, 113.9]}, UsageError, "in units of 255, from 0 to 1"),
        ({"std": 63}, UsageError, "in units of 255, from 0 to 1"),
    ],
)
def test_a_mean_or_std_that_does_not_fit_is_named_at_once(options, error, said):
    with pytest.raises(error, match=said):
        Loader((PIXELS, LABELS), 5, **options)


def test_a_loader_is_asked_for_an_epoch():
    with pytest.raises(UsageError, match="loader.epoch"):
        next(iter(Loader((PIXELS, LABELS), 5)))


def test_images_of_different_sizes_are_named():
    with pytest.raises(ShapeError, match="one height and width"):
        Loader(([PIXELS[0], PIXELS[0, :4]], [0, 1]), 1)
    assert len(Loader((list(PIXELS), LABELS), 5)) == 2


def test_other_things_than_arrays_are_named():
    with pytest.raises(DataError, match=".train or .val"):
        Loader(load_shapes(20, 20), 5)
    with pytest.raises(DataError, match="ndarray.*tuple"):
        Loader(PIXELS, 5)
    with pytest.raises(UsageError, match="floats"):
        Loader((PIXELS / 255, LABELS), 5, augment=lambda *a: a[0])
