"""The atlas of a real network, as the library makes it, in the browser."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from minidl.atlas.build import make_atlas
from minidl.atlas.versions import State
from tests.atlas.looking import number, settled, show
from tests.atlas.reading import read, tile
from tests.atlas.test_build import IMAGES, network, viewed

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """An atlas of a small convnet on `shapes`, with a snapshot and another network beside it."""
    folder = tmp_path_factory.mktemp("atlas") / "out"
    other = viewed(model=network(0), title="other", top1=0.5)
    return folder, make_atlas(viewed(), folder, snapshots=[State(3, 0.25, lambda: network(1))], other=other)


def test_every_page_is_there(windows, real):
    folder, index = real
    layers, classes = read(folder, "atlas")["layers"], read(folder, "atlas")["classes"]
    page = windows.open(index)
    units = [f"{layer['name']}/{unit}" for layer in layers for unit in range(0, layer["units"], 3)]
    places = [f"class:{k}" for k in range(0, len(classes), 4)] + [f"image:{k}" for k in range(0, IMAGES, 8)]
    others = ["", "embedding:", "search:dead", "compare:", "trust:", "about:", *(layer["name"] for layer in layers)]
    for address in [*units, *places, *others]:
        show(page, address)
        text = page.locator("#main").inner_text()
        assert not re.search(r"\b(undefined|(?<!the )null|NaN|Infinity)\b|\[object", text), f"{address}: {text}"


@pytest.mark.parametrize("layer, unit", [(0, 1), (1, 3), (2, 7), (3, 12)])
def test_a_unit_shows_the_numbers_and_pictures_of_its_files(windows, real, layer, unit):
    folder, index = real
    name, record = read(folder, "atlas")["layers"][layer]["name"], read(folder, f"layer-{layer:03}")["units"][unit]
    page = settled(windows.open(index, f"{name}/{unit}"), f"{name}/{unit}")
    values = [number(text) for text in page.locator("#nine .words > small:last-child").all_inner_texts()]
    assert values == pytest.approx([value for _, value in record["top"]], rel=0.006)
    images = page.locator("#nine .column .shot:first-child").evaluate_all("all => all.map(a => +a.dataset.image)")
    assert images == [image for image, _ in record["top"]]
    page.wait_for_function("url => atlas.sheet(url).complete", arg="sheets/images-000.webp")
    shown = Image.open(io.BytesIO(page.locator("#nine .column .tile").first.screenshot())).convert("RGB")
    stored = Image.fromarray(tile(folder, "images", images[0])).resize(shown.size)
    assert np.abs(np.asarray(shown).astype(int) - np.asarray(stored)).mean() < 12
