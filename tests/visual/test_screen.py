"""Signed projections as shades on the screen."""

import numpy as np
import pytest

from minidl.errors import DataError, UsageError
from minidl.visual.screen import to_screen

RNG = np.random.default_rng(0)
NOISE = RNG.standard_normal((4, 10, 10, 3))


def ramp(peak):
    """A projection (1, 10, 20, 3) with q = `peak`: 1 value in 200 is larger, and they come in both signs."""
    values = np.linspace(-peak, peak, 600)
    values[-2:] = 50 * peak
    return values.reshape(1, 10, 20, 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", ["image", "grid"])
def test_shades_are_what_the_formula_says(dtype, scale):
    g = NOISE.astype(dtype)
    shades, blank = to_screen(g, scale)
    assert shades.dtype == np.uint8 and shades.shape == g.shape and not blank.any()
    for i in range(len(g)):
        q = np.percentile(np.abs(g[i] if scale == "image" else g), 99.5)
        expected = 255 * (0.5 + 0.5 * np.clip(g[i] / q, -1, 1))
        assert np.abs(shades[i] - expected).max() <= 0.501


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_zero_is_mid_gray_and_the_ends_are_black_and_white(dtype):
    g = np.array([0.0, -0.0, 1.0, -1.0, 3.0, -9.0] + 594 * [1.0], dtype).reshape(1, 10, 20, 3)
    shades = to_screen(g)[0].ravel()
    assert shades[:6].tolist() == [128, 128, 255, 0, 255, 0]


def test_one_value_in_two_hundred_is_cut_off():
    shades = to_screen(ramp(1.0))[0].ravel()
    assert shades[-2:].tolist() == [255, 255]
    assert shades[0] == 0 and shades[-3] == 255  # had the two largest counted, all others would be gray


def test_a_sign_turned_is_the_shade_mirrored():
    there, back = (to_screen(sign * NOISE)[0].astype(int) for sign in (1, -1))
    assert set((there + back).ravel()) <= {255, 256}


def test_a_larger_projection_looks_the_same_by_image_and_stronger_in_the_grid():
    g = np.concatenate([ramp(1.0), ramp(4.0)])
    alone, together = to_screen(g, "image")[0], to_screen(g, "grid")[0]
    np.testing.assert_array_equal(alone[0], alone[1])
    weak, strong = np.abs(together.astype(int) - 128).reshape(2, -1)[:, :-2].max(axis=1)
    assert strong >= 127 and 30 < weak < 34


def test_a_projection_of_zeros_is_mid_gray_and_blank():
    g = NOISE.copy()
    g[2] = 0
    for scale in ("image", "grid"):
        shades, blank = to_screen(g, scale)
        assert blank.tolist() == [False, False, True, False]
        assert (shades[2] == 128).all()
    shades, blank = to_screen(np.zeros((2, 4, 4, 3), np.float32), "grid")
    assert blank.all() and (shades == 128).all()


def test_a_unit_that_sees_a_few_pixels_shows_them():
    g = np.zeros((1, 64, 64, 3), np.float32)
    g[0, 10, 10] = 2, -1, 0.5  # 3 values in 12,288: the percentile is zero
    shades, blank = to_screen(g)
    assert shades[0, 10, 10].tolist() == [255, 64, 159] and not blank[0]
    assert (shades != 128).sum() == 3


def test_the_projections_stay_as_they_are():
    g = NOISE.copy()
    to_screen(g, "grid")
    np.testing.assert_array_equal(g, NOISE)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_no_number_is_refused(wrong):
    g = NOISE.copy()
    g[1, 2, 3, 0] = wrong
    with pytest.raises(DataError, match="NaN or infinity"):
        to_screen(g)


def test_an_unknown_scale_is_refused():
    with pytest.raises(UsageError, match="'unit': choose image or grid"):
        to_screen(NOISE, "unit")
