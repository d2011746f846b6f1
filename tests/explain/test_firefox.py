"""Firefox runs the page's script and shows its maps."""

import shutil

import numpy as np
import pytest

from tests.atlas.test_page_firefox import screenshot

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not shutil.which("firefox-esr"), reason="firefox-esr is not installed"),
]


def test_its_maps_are_in_the_screenshot(shown, tmp_path):
    strongest = np.round(0.45 * np.array([0xB3, 0x4C, 0x0B]) + 0.55 * 255)  # of --warm on white
    shot = screenshot(shown[1].as_uri(), tmp_path)
    assert (np.abs(shot - strongest).max(axis=2) <= 3).sum() > 400
