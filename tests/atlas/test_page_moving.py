"""Moving about in the atlas: keys, the back button, search, zoom, sliders; wrong addresses and missing files."""

import numpy as np
import pytest

from tests.atlas.fake import Fake, colors
from tests.atlas.looking import number, sees, settled, show
from tests.atlas.test_page import links

pytestmark = pytest.mark.browser

MISSING = "ERR_FILE_NOT_FOUND"  # what the console says of a file that is not there


def test_arrows_go_from_unit_to_unit_and_escape_goes_up(windows, fake):
    _, index = fake()
    page = settled(windows.open(index, "stem/1"), "stem/1")
    page.keyboard.press("ArrowRight")
    settled(page, "stem/2")
    page.keyboard.press("ArrowLeft")
    settled(page, "stem/1")
    page.keyboard.press("Escape")
    settled(page, "stem")
    page.keyboard.press("Escape")
    settled(page, "")


@pytest.mark.parametrize("first, key", [("stem/0", "ArrowLeft"), ("stem/5", "ArrowRight")])
def test_arrows_stop_at_the_ends(windows, fake, first, key):
    _, index = fake()
    page = settled(windows.open(index, first), first)
    page.keyboard.press(key)
    page.wait_for_timeout(200)
    settled(page, first)


@pytest.mark.parametrize("address, after", [("class:1", "class:2"), ("image:8", "image:9")])
def test_arrows_go_from_class_to_class_and_from_image_to_image(windows, fake, address, after):
    _, index = fake()
    page = settled(windows.open(index, address), address)
    page.keyboard.press("ArrowRight")
    settled(page, after)


def test_arrows_walk_over_a_wall_and_enter_opens_the_unit(windows, fake):
    _, index = fake()
    page = settled(windows.open(index, "stem"), "stem")
    page.locator("#wall .cell").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.unit") == "stem/2"
    page.keyboard.press("Enter")
    settled(page, "stem/2")


def test_links_and_the_back_button(windows, fake):
    _, index = fake()
    page = settled(windows.open(index), "")
    page.locator('a.layer[data-layer="stem"]').first.click()
    settled(page, "stem")
    page.locator("#wall .cell").nth(3).click()
    settled(page, "stem/3")
    image = page.locator("#nine .shot").first.get_attribute("data-image")
    page.locator("#nine .shot").first.click()
    settled(page, f"image:{image}")
    for address in ("stem/3", "stem", ""):
        page.go_back()
        settled(page, address)
    page.go_forward()
    settled(page, "stem")


def test_back_from_a_unit_leads_to_the_place_on_the_wall(windows, fake):
    _, index = fake(units=320, images=30, snapshots=(), other=False)
    page = settled(windows.open(index, "stem"), "stem")
    page.locator("#wall .cell").nth(300).scroll_into_view_if_needed()
    there = page.evaluate("window.scrollY")
    assert there > 0
    page.locator("#wall .cell").nth(300).click()
    settled(page, "stem/300")
    assert page.evaluate("window.scrollY") == 0
    page.go_back()
    settled(page, "stem")
    assert page.evaluate("window.scrollY") == pytest.approx(there, abs=60)


def test_the_skip_link_leads_to_the_content_and_nowhere_else(windows, fake):
    _, index = fake()
    page = settled(windows.open(index, "stem/1"), "stem/1")
    page.locator("#skip").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    settled(page, "stem/1")


@pytest.mark.parametrize(
    "words, address",
    [
        ("class 3", "class:3"),
        ("n00000004", "class:4"),
        ("inception1.b3", "inception1.b3"),
        ("inception1.b3/4", "inception1.b3/4"),
        ("image 12", "image:12"),
    ],
)
def test_search_finds(windows, fake, words, address):
    _, index = fake()
    page = settled(windows.open(index), "")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type(words)
    page.keyboard.press("Enter")
    page.locator(f"#main a[href='#{address}']").first.wait_for()


def test_search_finds_dead_units(windows, fake):
    _, index = fake()
    page = settled(windows.open(index, "search:dead"), "search:dead")
    page.locator("#main [data-unit='stem/5']").first.wait_for()
    assert links(page.locator("#main [data-unit]")) == ["stem/5"]


def test_search_says_that_it_found_nothing(windows, fake):
    _, index = fake()
    page = settled(windows.open(index, "search:zzzz"), "search:zzzz")
    assert "zzzz" in page.locator("#main").inner_text()
    assert page.locator("#main [data-unit], #main [data-class]").count() == 0


def test_keys_in_the_search_field_are_letters(windows, fake):
    _, index = fake()
    page = settled(windows.open(index, "stem/1"), "stem/1")
    page.keyboard.press("/")
    page.keyboard.type("a/b")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#search").input_value() == "a/b"
    settled(page, "search:a%2Fb")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") != "search"


def test_escape_leaves_a_field_before_it_leaves_the_page(windows, fake):
    _, index = fake()
    page = settled(windows.open(index, "stem"), "stem")
    field = page.locator("#main input").first
    field.focus()
    page.keyboard.press("Escape")
    page.wait_for_timeout(200)
    settled(page, "stem")
    assert page.evaluate("document.activeElement === document.body")
    page.keyboard.press("Escape")
    settled(page, "")


def test_the_embedding_shows_every_image_and_thumbnails_when_one_zooms_in(windows, fake):
    atlas, index = fake(images=700, snapshots=(), other=False)
    page = settled(windows.open(index, "embedding:"), "embedding:")
    canvas = page.locator("#main canvas").first
    page.locator("canvas[data-mode=points][data-visible='700']").wait_for()
    canvas.hover()
    for _ in range(12):
        page.mouse.wheel(0, -200)
    page.locator("canvas[data-mode=thumbnails]").wait_for()
    assert int(canvas.get_attribute("data-visible")) < 400
    canvas.focus()
    page.keyboard.press("0")
    page.locator("canvas[data-mode=points]").wait_for()
    for _ in range(5):
        page.keyboard.press("+")
    page.locator("canvas[data-mode=thumbnails]").wait_for()


def test_a_click_on_a_point_of_the_embedding_leads_to_its_image(windows, fake):
    atlas, index = fake()
    page = settled(windows.open(index, "embedding:", height=2000), "embedding:")
    box = page.locator("#main canvas").first.bounding_box()
    x, y = atlas.files["embedding"].tsne[2 * 20 : 2 * 20 + 2]
    scale = 0.94 * min(box["width"], box["height"]) / 4096
    page.mouse.click(
        box["x"] + box["width"] / 2 + (x - 2048) * scale, box["y"] + box["height"] / 2 + (y - 2048) * scale
    )
    page.locator("#main[data-view='image'][aria-busy='false']").wait_for()
    found = page.locator("#main").get_attribute("data-address")
    near = np.reshape(atlas.files["embedding"].tsne, (-1, 2)) - [x, y]
    hidden_by = np.flatnonzero(np.hypot(*near.T) < 64 / scale)
    assert found in {f"#image:{image}" for image in hidden_by}


@pytest.mark.parametrize("color", ["correct", "unit", "class"])
def test_the_embedding_is_colored_by(windows, fake, color):
    _, index = fake(images=700, snapshots=(), other=False)
    page = settled(windows.open(index, "embedding:"), "embedding:")
    page.select_option("#embed-colour", color)
    page.locator("#main[aria-busy='false'] canvas[data-visible='700']").wait_for()
    assert page.locator("#embed-colour").input_value() == color


def test_the_slider_shows_the_unit_in_every_epoch(windows, fake):
    atlas, index = fake()
    page = settled(windows.open(index, "stem/2"), "stem/2")
    for step, epoch in enumerate((1, 4)):
        page.locator("#epochs").fill(str(step))
        seen = atlas.files[f"epoch-{epoch:03d}-000"][2]
        expected = [
            color
            for rank, (image, _) in enumerate(seen.top)
            for color in (colors("images", np.array(image)), colors(f"epoch-{epoch:03d}-000", np.array(18 + rank)))
        ]
        assert sees(page, "#through .tile", expected)
        assert f"epoch {epoch}" in page.locator("#epoch").inner_text()


def test_a_unit_shows_its_match(windows, fake):
    atlas, index = fake()
    page = settled(windows.open(index, "stem/2"), "stem/2")
    match = atlas.files["other-000"][2]
    text = page.locator("#match").inner_text()
    assert match.layer in text and f"/{match.unit}" in text and f"{match.correlation:.2f}" in text
    expected = [
        color
        for rank, (image, _) in enumerate(match.top)
        for color in (colors("images", np.array(image)), colors("other-000", np.array(18 + rank)))
    ]
    assert sees(page, "#match .tile", expected)


def test_a_unit_that_is_not_drawn_shows_images_alone(windows, tmp_path):
    atlas = Fake()
    record = atlas.files["layer-000"].units[2]
    record.drawn = False
    page = settled(windows.open(atlas.write(tmp_path), "stem/2"), "stem/2")
    match, seen = atlas.files["other-000"][2], atlas.files["epoch-001-000"][2]

    def photos(top):
        return [colors("images", np.array(image)) for image, _ in top]

    assert sees(page, "#nine .tile", photos(record.top)) and sees(page, "#match .tile", photos(match.top))
    assert sees(page, ".deciles .tile", photos(record.deciles)) and page.locator("#control").count() == 0
    assert sees(page, "#through .tile", photos(record.top))
    page.locator("#epochs").fill("0")
    assert sees(page, "#through .tile", photos(seen.top))
    show(page, "compare:layer=stem")
    assert sees(page, ".match:has([data-unit='stem/2']) .tile", photos([record.top[0], match.top[0]]))


def test_the_comparison_shows_a_layer_beside_its_matches(windows, fake):
    atlas, index = fake()
    page = settled(windows.open(index, "compare:layer=stem"), "compare:layer=stem")
    text = page.locator("#main").inner_text()
    assert atlas.index.other.title in text
    assert set(links(page.locator("#main [data-unit]"))) >= {f"stem/{unit}" for unit in range(6)}


@pytest.mark.parametrize(
    "address",
    [
        "nothing",
        "stem/6",
        "stem/-1",
        "stem/1.5",
        "stem/x",
        "stem/1/2",
        "inception1/12",
        "class:5",
        "class:",
        "class:-1",
        "class:1e0",
        "image:70",
        "image:x",
        "%",
        "%E0%A4%A",
        "constructor",
        "__proto__",
        "toString:1",
        "embedding:unit=nothing/1",
        "embedding:class=99",
        "compare:layer=nothing",
        "<img src=x onerror=window.xss=1>",
        "javascript:window.xss=1",
    ],
)
def test_a_wrong_address_is_said_to_be_one(windows, fake, address):
    _, index = fake()
    page = windows.open(index, "stem/1")
    settled(page, "stem/1")
    page.evaluate("address => { location.hash = address; }", address)
    page.locator('#main[data-view="lost"][aria-busy="false"]').wait_for()
    assert page.evaluate("window.xss") is None
    show(page, "stem/2")  # and all goes on


@pytest.mark.parametrize(
    "file, address",
    [
        ("layer-000", "stem"),
        ("layer-000", "stem/1"),
        ("classes-000", "class:1"),
        ("images-000", "image:1"),
        ("embedding", "embedding:"),
        ("activity-000", "embedding:unit=stem/1"),
        ("other-000", "compare:layer=stem"),
    ],
)
def test_a_missing_file_is_named(windows, tmp_path, file, address):
    index = Fake().write(tmp_path)
    (tmp_path / "data" / f"{file}.js").unlink()
    page = windows.open(index, address, allowed=MISSING)
    page.get_by_text(f"data/{file}.js").first.wait_for()
    show(page, "about:")


@pytest.mark.parametrize("file", ["other-000", "images", "epoch-001-000"])
def test_a_page_does_without_what_is_optional(windows, tmp_path, file):
    index = Fake().write(tmp_path)
    (tmp_path / "data" / f"{file}.js").unlink()
    page = settled(windows.open(index, "stem/1", allowed=MISSING), "stem/1")
    assert page.locator("#nine .column .shot").count() > 9
    if file.startswith("epoch"):
        page.locator("#epochs").fill("0")
    page.get_by_text(f"data/{file}.js").first.wait_for()


def test_a_missing_index_is_named(windows, tmp_path):
    index = Fake().write(tmp_path)
    (tmp_path / "data" / "atlas.js").unlink()
    page = windows.open(index, allowed=MISSING)
    page.get_by_text("data/atlas.js").first.wait_for()
    page.locator("#main[data-view='broken'][aria-busy='false']").wait_for()


def test_a_missing_sheet_is_named_and_leaves_the_rest(windows, tmp_path):
    index = Fake().write(tmp_path)
    (tmp_path / "sheets" / "images-000.webp").unlink()
    page = settled(windows.open(index, "stem/1", allowed=MISSING), "stem/1")
    page.get_by_text("sheets/images-000.webp").first.wait_for()
    assert number(page.locator("#main p.lead b").first.inner_text()) >= 0


def test_a_file_of_another_kind_is_called_damaged(windows, tmp_path):
    index = Fake().write(tmp_path)
    (tmp_path / "data" / "layer-000.js").write_text("")
    page = windows.open(index, "stem/1")
    page.get_by_text("data/layer-000.js").first.wait_for()


def test_the_theme_can_be_changed_and_stays_from_page_to_page(windows, fake):
    _, index = fake()
    page = settled(windows.open(index), "")

    def background():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    before = background()
    page.click("#theme")
    assert background() != before
    show(page, "stem/1")
    assert background() != before
    page.click("#theme")
    assert background() == before
