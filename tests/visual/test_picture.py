"""A picture of a few arrays."""

import numpy as np
import pytest

import minidl as md
from minidl.errors import ShapeError, UsageError

PIXELS = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)


def shown(*arrays):
    return np.asarray(md.picture(*arrays, tile=4))


def test_pixels_stay_and_zero_is_mid_gray():
    sheet = shown(PIXELS, np.zeros((2, 4, 4, 3)))
    assert sheet.shape == (4 + 8 + 8, 4 + 8 + 8, 3)
    np.testing.assert_array_equal(sheet[4:8, 4:8], PIXELS[0])
    np.testing.assert_array_equal(sheet[4:8, 12:16], PIXELS[1])
    assert (sheet[12:16, 4:8] == 128).all() and (sheet[:4] == 255).all()


def test_the_strongest_values_are_black_and_white():
    g = np.zeros((1, 4, 4, 3))
    g[0, 0, 0], g[0, 1, 1] = -5, 5
    tile = shown(g)[4:8, 4:8]
    assert (tile[0, 0] == 0).all() and (tile[1, 1] == 255).all() and (tile[2, 2] == 128).all()


def test_maps_are_gray_and_as_large_as_the_images():
    sheet = shown(PIXELS, np.eye(2)[None].repeat(2, axis=0))
    tile = sheet[12:16, 4:8]
    assert (tile[:2, :2] == 255).all() and (tile[:2, 2:] == 128).all()


def test_gray_pixels_stay_too():
    np.testing.assert_array_equal(shown(PIXELS[..., :1])[4:8, 4:8, 2], PIXELS[0, ..., 0])


def test_the_eleventh_image_begins_a_new_row():
    assert shown(np.zeros((11, 4, 4, 3))).shape == (4 + 2 * 8, 4 + 10 * 8, 3)
    assert shown(PIXELS[0]).shape == shown(PIXELS[0, ..., :1]).shape == (12, 12, 3)


@pytest.mark.parametrize(
    "arrays, said",
    [
        ((np.zeros((2, 4, 4, 16)),), "choose a unit"),
        ((PIXELS, np.zeros((3, 4, 4, 3))), r"\[2, 3\] images"),
        ((), "no images"),
        ((np.zeros((2, 5)),), "neither images"),
    ],
)
def test_what_is_no_picture_is_named(arrays, said):
    with pytest.raises(ShapeError, match=said):
        md.picture(*arrays)


def test_maps_three_pixels_wide_are_maps():
    assert shown(np.zeros((5, 3, 3))).shape[1] == 4 + 5 * 8
    assert shown(np.zeros((5, 4, 3), np.uint8)).shape[1] == 4 + 8  # one image of 5x4 pixels


@pytest.mark.parametrize("tile", [0, 8.0])
def test_the_width_of_a_tile_is_a_whole_number(tile):
    with pytest.raises(UsageError, match="tile is"):
        md.picture(PIXELS, tile=tile)


def test_channels_first_are_told_how_to_come_last():
    with pytest.raises(ShapeError, match=r"a.transpose\(0, 2, 3, 1\)"):
        md.picture(PIXELS.transpose(0, 3, 1, 2))
