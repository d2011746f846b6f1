"""Names are a stranger's bytes: on every page they are text, whatever they contain."""

import pytest

from tests.atlas.fake import HOSTILE
from tests.atlas.looking import encoded, fits, settled, show

pytestmark = pytest.mark.browser

LAYERS = tuple(name for name in HOSTILE if name.strip() and name.isprintable())
ADDRESSES = [
    "",
    *(encoded(name) for name in LAYERS[:3]),
    *(f"{encoded(name)}/1" for name in LAYERS),
    "inception1",
    "logits/0",
    *(f"class:{k}" for k in range(len(HOSTILE))),
    *(f"image:{k}" for k in range(len(HOSTILE))),
    "embedding:",
    "embedding:class=0",
    f"embedding:unit={encoded(LAYERS[0])}/1",
    "search:",
    "search:img",
    "search:w",
    "compare:",
    f"compare:layer={encoded(LAYERS[0])}",
    "trust:",
    "about:",
]


@pytest.fixture
def hostile(fake):
    return fake(classes=len(HOSTILE), images=60, names=HOSTILE, layers=LAYERS)


@pytest.mark.parametrize("width", [400, 1280])
def test_no_name_is_ever_html_or_wider_than_the_window(windows, hostile, width):
    _, index = hostile
    page = windows.open(index, width=width)
    for address in ADDRESSES:
        show(page, address)
        assert page.evaluate("window.xss") is None, address
        assert page.locator("#main img, #main script, #main svg[onload]").count() == 0, address
        assert fits(page), address


@pytest.mark.parametrize("k", range(len(HOSTILE)))
def test_every_name_of_a_class_is_shown_as_it_is(windows, hostile, k):
    atlas, index = hostile
    page = settled(windows.open(index, f"class:{k}"), f"class:{k}")
    for name in (atlas.index.classes[k].id, atlas.index.classes[k].words):
        if name.strip():
            assert clean(name) in clean(page.evaluate("document.getElementById('main').textContent"))


@pytest.mark.parametrize("k", range(len(LAYERS)))
def test_every_name_of_a_layer_is_shown_as_it_is(windows, hostile, k):
    atlas, index = hostile
    address = f"{encoded(LAYERS[k])}/1"
    page = settled(windows.open(index, address), address)
    assert page.locator("h1").text_content() == f"{LAYERS[k]}/1"


@pytest.mark.parametrize("k", range(len(HOSTILE)))
def test_every_name_of_an_image_is_shown_as_it_is(windows, hostile, k):
    atlas, index = hostile
    page = settled(windows.open(index, f"image:{k}"), f"image:{k}")
    name = atlas.files["images-000"][k].name
    if name.strip():
        assert clean(name) in clean(page.evaluate("document.getElementById('main').textContent"))


def clean(text):
    """Without what is lost on the way from the browser: half a surrogate pair."""
    return text.encode("utf-8", "replace").decode().replace("\ufffd", "?")
