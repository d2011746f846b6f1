"""Firefox shows three kinds of page from the disk: their pictures are in its screenshots."""

import os
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from tests.atlas.fake import colors
from tests.conftest import HANGS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not shutil.which("firefox-esr"), reason="firefox-esr is not installed"),
]


def screenshot(address, folder):
    """What Firefox shows at the moment at which the page is loaded, (H, W, 3)."""
    command = ["firefox-esr", "--headless", "--no-remote", "--profile", folder, "--window-size=1280,2400"]
    subprocess.run(
        [*command, "--screenshot", folder / "shot.png", address],
        env={**os.environ, "HOME": str(folder)},
        check=True,
        capture_output=True,
        timeout=HANGS,
    )
    return np.asarray(Image.open(folder / "shot.png").convert("RGB")).astype(int)


@pytest.mark.parametrize("kind", ["wall", "unit", "class"])
def test_its_pictures_are_in_the_screenshot(fake, tmp_path, kind):
    atlas, index = fake()
    unit, record = atlas.files["layer-002"].units[4], atlas.files["classes-000"][2]
    address, expected = {
        "wall": ("inception1.b3", colors("wall-002", np.arange(6))),
        "unit": ("inception1.b3/4", colors("images", np.array([image for image, _ in unit.top]))),
        "class": ("class:2", colors("images", np.array([*record.surest, *record.worst]))),
    }[kind]
    shot = screenshot(f"{index.as_uri()}#{address}", tmp_path)
    for color in expected.astype(int):
        assert (np.abs(shot - color).max(axis=2) <= 12).sum() > 400, f"no tile of the color {color}"
