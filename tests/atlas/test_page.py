"""Every kind of page shows its record: the same numbers, and the right tiles of the right sheets."""

import re

import numpy as np
import pytest

from tests.atlas.fake import PARTS, RULES, WIDTH, colors
from tests.atlas.looking import encoded, fits, number, sees, settled, show, too_wide, unit_address

pytestmark = pytest.mark.browser

ADDRESSES = {
    "network": "",
    "wall": "inception1.b3",
    "group": "inception1",
    "unit": "inception1.b3/1",
    "dead unit": "stem/5",
    "score": "logits/2",
    "class": "class:2",
    "image": "image:3",
    "embedding": "embedding:",
    "search": "search:class",
    "compare": "compare:",
    "trust": "trust:",
    "about": "about:",
}


def links(found):
    """The addresses of units as they stand in `data-unit`."""
    return found.evaluate_all("elements => elements.map(element => element.dataset.unit)")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("kind", ADDRESSES)
def test_every_kind_of_page_is_shown_in_both_themes_and_no_wider_than_the_window(windows, fake, kind, width, theme):
    _, index = fake()
    page = settled(windows.open(index, ADDRESSES[kind], width=width, theme=theme), ADDRESSES[kind])
    assert page.locator("#main h1").inner_text().strip()
    assert page.title().strip()
    assert fits(page)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = np.mean([float(part) for part in background.strip("rgba()").split(",")[:3]])
    assert light < 80 if theme == "dark" else light > 175


@pytest.mark.parametrize("width", [320, 400, 760, 1100, 1300, 1600])
def test_nothing_sticks_out_of_what_it_stands_in(windows, fake, width):
    _, index = fake()
    page = windows.open(index, "", width=width)
    for address in ADDRESSES.values():
        show(page, address)
        assert too_wide(page) == [], address


def test_the_network_has_a_link_to_every_layer_and_group(windows, fake):
    atlas, index = fake()
    page = settled(windows.open(index), "")
    names = page.locator("a.layer").evaluate_all("elements => elements.map(element => element.dataset.layer)")
    assert sorted(set(names)) == sorted([*atlas.layers, "inception1"])
    assert f"{100 * atlas.index.top1:.1f} %" in page.locator(".accuracy").inner_text()
    for label, text in atlas.index.facts:
        assert label in page.locator(".facts").inner_text() and text in page.locator(".facts").inner_text()


def test_a_wall_shows_every_unit_with_its_picture(windows, fake):
    atlas, index = fake()
    page = settled(windows.open(index, "inception1.b3"), "inception1.b3")
    assert links(page.locator("#wall .cell")) == [f"inception1.b3/{unit}" for unit in range(6)]
    assert sees(page, "#wall .cell .tile", colors("wall-002", np.arange(6)))


def test_a_group_shows_the_units_of_its_layers(windows, fake):
    atlas, index = fake()
    page = settled(windows.open(index, "inception1"), "inception1")
    expected = [f"inception1.{branch}/{unit}" for branch in ("b1", "b3") for unit in range(6)]
    assert links(page.locator("#wall .cell")) == expected


@pytest.mark.parametrize(
    "sort, value",
    [
        ("-selectivity", lambda unit: -unit.selectivity),
        ("selectivity", lambda unit: unit.selectivity),
        ("-strength", lambda unit: -unit.top[0][1]),
        ("likeness", lambda unit: unit.likeness["deconv"]),
    ],
    ids=["-selectivity", "selectivity", "-strength", "likeness"],
)
def test_a_wall_is_sorted(windows, fake, sort, value):
    atlas, index = fake()
    page = settled(windows.open(index, "stem"), "stem")
    page.select_option("#sort", sort)
    records = atlas.files["layer-000"].units
    order = sorted(range(6), key=lambda unit: value(records[unit]))
    assert links(page.locator("#wall .cell")) == [f"stem/{unit}" for unit in order]


def test_a_wall_is_filtered(windows, fake):
    atlas, index = fake()
    page = settled(windows.open(index, "stem"), "stem")
    page.select_option("#filter-state", "dead")
    assert links(page.locator("#wall .cell")) == ["stem/5"]
    page.select_option("#filter-state", "all")
    page.fill("#filter-class", "class 3")
    units = [k for k, unit in enumerate(atlas.files["layer-000"].units) if 3 in [c for c, _ in unit.classes[:3]]]
    assert links(page.locator("#wall .cell")) == [f"stem/{unit}" for unit in units]


@pytest.mark.parametrize("layer, unit", [(0, 0), (1, 1), (2, 4), (3, 2)])
def test_a_unit_shows_its_images_and_projections(windows, fake, layer, unit):
    atlas, index = fake()
    address = unit_address(atlas, layer, unit)
    page = settled(windows.open(index, address), address)
    record, series = atlas.files[f"layer-{layer:03d}"].units[unit], f"units-{layer:03d}"
    expected = []
    for rank, (image, _) in enumerate(record.top):
        parts = [PARTS[rule][0] + rank for rule in RULES]
        expected += [colors("images", np.array(image))]
        expected += [colors(series, np.array(unit * WIDTH + part)) for part in parts if part not in record.blank]
    assert sees(page, "#nine .tile:not(.none)", expected)
    assert page.locator("#nine .tile.none").count() == len([t for t in record.blank if t < 27])


def test_a_unit_shows_the_control(windows, fake):
    atlas, index = fake()
    page = settled(windows.open(index, "stem/2"), "stem/2")
    record = atlas.files["layer-000"].units[2]
    tiles = [PARTS[part][0] + rank for rule in RULES for part in (rule, f"random {rule}") for rank in range(3)]
    assert sees(page, "#control .tile", colors("units-000", 2 * WIDTH + np.array(tiles)))
    shown = page.locator("#control .verdict b").all_inner_texts()
    assert [number(text) for text in shown] == pytest.approx(list(record.likeness.values()), rel=0.006)


def test_the_numbers_of_a_unit_are_those_of_its_record(windows, fake):
    atlas, index = fake()
    page = settled(windows.open(index, "inception1.b1/3"), "inception1.b1/3")
    record = atlas.files["layer-001"].units[3]

    def shown(selector):
        return [number(text) for text in page.locator(selector).all_inner_texts()]

    assert shown("#main p.lead b") == pytest.approx([record.selectivity], rel=0.006)
    assert shown("#nine .words > small:last-child") == pytest.approx([value for _, value in record.top], rel=0.006)
    assert shown(".deciles .words > small:last-child") == pytest.approx(
        [value for _, value in record.deciles], rel=0.006
    )
    for side, stored in (("incoming", record.incoming), ("outgoing", record.outgoing)):
        assert shown(f"#{side} .unit small") == pytest.approx([weight for *_, weight in stored], rel=0.006)
        expected = [f"{atlas.layers[layer]}/{unit}" for layer, unit, _ in stored]
        assert links(page.locator(f"#{side} .unit")) == expected
    tables = page.locator("table.bars")
    for table, stored in ((tables.nth(0), record.classes), (tables.nth(1), record.effects)):
        values = [number(text) for text in table.locator("td.value").all_inner_texts()]
        assert values == pytest.approx([value for _, value in stored], rel=0.006)
        assert table.locator("a.class").evaluate_all("all => all.map(a => Number(a.dataset.class))") == [
            c for c, _ in stored
        ]
    titles = page.locator("svg.histogram title").all_text_contents()
    assert [int(title.split()[0]) for title in titles] == record.histogram


def test_every_page_says_how_well_the_estimates_of_its_layer_agree_with_setting_units_to_zero(windows, fake):
    atlas, index = fake()
    said = atlas.index.effects
    page = settled(windows.open(index, "inception1.b1/3"), "inception1.b1/3")
    words = f"For {said.layers[1].units} units of this layer that were really set to zero on {said.images} images"
    assert f"{words}, its correlation with the real change is {said.layers[1].correlation:.2f}." in (
        page.locator("#main").inner_text()
    )
    show(page, f"{atlas.layers[-1]}/0")
    assert "For a score it is exact." in page.locator("#main").inner_text()
    show(page, "trust:")
    assert f"is {said.all.correlation:.2f}." in page.locator("#trust-effects").inner_text()
    cells = page.locator("#agreement tbody td").all_inner_texts()
    assert cells == [t for of in said.layers[:-1] for t in (str(of.units), f"{of.correlation:.2f}")]


def test_a_class_shows_its_images_and_mistakes(windows, fake):
    atlas, index = fake()
    page = settled(windows.open(index, "class:2"), "class:2")
    record, summary = atlas.files["classes-000"][2], atlas.index.classes[2]
    shown = page.locator(".figures .shot").evaluate_all("all => all.map(a => Number(a.dataset.image))")
    assert shown == [*record.surest, *record.worst]
    assert sees(page, ".figures .tile", colors("images", np.array(shown)))
    text = page.locator("#main").inner_text()
    assert f"{100 * summary.accuracy:.1f} %" in text and summary.id in text and summary.words in text
    predicted = page.locator("#mistakes h3 a.class").evaluate_all("all => all.map(a => Number(a.dataset.class))")
    assert predicted == [mistake.predicted for mistake in record.mistakes]
    assert links(page.locator("#mistakes .unit")) == [
        f"{atlas.layers[layer]}/{unit}" for mistake in record.mistakes for layer, unit, _ in mistake.units
    ]
    assert links(page.locator("#modules .unit")) == [
        f"{atlas.layers[layer]}/{unit}" for _, units in record.selective for layer, unit, _ in units
    ]


def test_an_image_shows_its_prediction_and_what_units_see_in_it(windows, fake):
    atlas, index = fake()
    page = settled(windows.open(index, "image:3"), "image:3")
    record = atlas.files["images-000"][3]
    shown = [number(text) / 100 for text in page.locator("#prediction td.value").all_inner_texts()]
    assert shown == pytest.approx([p for _, p in record.best], abs=0.0006)
    assert record.name in page.locator("#main").inner_text()
    assert sees(page, ".portrait .tile", colors("images", np.array([3])))
    if page.locator("#more").count():
        page.click("#more")
    tiles = {}  # of each unit, in the order in which the units are first shown
    for layer, unit, tile in record.shown:
        tiles.setdefault((layer, unit), []).append(colors(f"units-{layer:03d}", np.array(unit * WIDTH + tile)))
    assert sees(page, "#seen .tile", sum(tiles.values(), []))


def test_a_unit_that_was_not_drawn_says_so_and_shows_no_empty_tiles(windows, fake):
    _, index = fake(drawn=1)
    page = settled(windows.open(index, "stem/1"), "stem/1")
    assert "no projections of this unit" in page.locator("#main").inner_text()
    assert page.locator("#nine [style*=units-], #main .deciles [style*=units-]").count() == 0


def test_fifty_units_by_their_addresses(windows, fake):
    atlas, index = fake(units=40)
    page = windows.open(index)
    rng = np.random.default_rng(0)
    for _ in range(50):
        layer = int(rng.integers(len(atlas.layers)))
        unit = int(rng.integers(atlas.units[layer]))
        show(page, unit_address(atlas, layer, unit))
        record = atlas.files[f"layer-{layer:03d}"].units[unit]
        assert page.locator("h1").inner_text().replace("\n", "") == f"{atlas.layers[layer]}/{unit}"
        images = page.locator("#nine .shot[data-image]").evaluate_all("all => all.map(a => Number(a.dataset.image))")
        assert set(images) == ({image for image, _ in record.top} if not record.dead else set())


@pytest.mark.parametrize(
    "options",
    [
        {"classes": 2, "images": 12},
        {"classes": 1000, "images": 300, "snapshots": (), "other": False},
        {"labelled": False},
        {"projections": False},
        {"drawn": 1},
        {"snapshots": (), "other": False, "embedding": False},
        {"images": 3, "classes": 2},
    ],
    ids=str,
)
def test_other_kinds_of_atlas_have_all_their_pages(windows, fake, options):
    atlas, index = fake(**options)
    page = windows.open(index)
    for kind, address in ADDRESSES.items():
        if atlas.index.other is None and kind == "compare" or not atlas.index.embedding and kind == "embedding":
            continue
        for there, fewer in (("logits/2", "logits/1"), ("class:2", "class:1"), ("image:3", "image:2")):
            address = address.replace(there, fewer)
        show(page, address)
        text = page.locator("#main").inner_text()
        assert page.locator("#main h1").inner_text().strip()
        assert not re.search(r"\b(undefined|(?<!the )null|NaN|Infinity)\b|\[object", text), text


def test_names_of_layers_come_back_from_addresses(windows, fake):
    names = ("a/b", "c:d", "100%", "e#f?g&h=1+2", "with space", "main", "__proto__", "class:1", "ä'()!*~")
    atlas, index = fake(layers=names)
    page = windows.open(index)
    for layer, name in enumerate(names):
        show(page, encoded(name))
        assert page.locator("h1").inner_text() == name
        page.locator("#wall .cell").first.click()
        settled(page, unit_address(atlas, layer, 0))
        assert page.locator("h1").inner_text().replace("\n", "") == f"{name}/0"
