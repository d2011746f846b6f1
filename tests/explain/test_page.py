"""The page in Chromium: pointing, clicking and keys; and its sums, read back as text, are those of the way back."""

import re
from dataclasses import fields
from decimal import Decimal

import numpy as np
import pytest

from minidl.explain.records import Map
from tests.atlas.looking import fits
from tests.explain.network import CLASSES, HOSTILE, written

pytestmark = pytest.mark.browser
STAGES = ("conv", "pool", "norm", "relu", "join")

READ = """(id) => [...document.querySelectorAll(`#${id} td[data-at]`)].map(td => [td.dataset.at, td.textContent,
    td.getAttribute("aria-label"), td.classList.contains("padding")])"""
POINT = """([id, at]) => {
    const cell = document.querySelector(`#${id} td[data-at="${at}"]`);
    cell.dispatchEvent(new PointerEvent("pointerover", { bubbles: true, pointerType: "mouse" }));
}"""
SUM = """(id) => {
    const panel = document.getElementById(id);
    const term = (row) => row.querySelector(".term").textContent;
    return {
        title: panel.querySelector("h3").textContent,
        terms: [...panel.querySelectorAll("tbody tr")].map(term),
        own: [...panel.querySelectorAll("tbody tr.own")].map(term),
        total: term(panel.querySelector("tfoot tr")),
    };
}"""


def number(value, a_map, more=0):
    """A number as the page writes it."""
    if value == 0:
        return "0"
    text = f"{value / float(f'1e{a_map.exponent}'):.{a_map.decimals + more}f}"
    return text.lstrip("-") if float(text) == 0 else text


def maps_of(stage):
    return {f.name: getattr(stage, f.name) for f in fields(stage) if isinstance(getattr(stage, f.name), Map)}


def all_maps(page):
    """{id of the table: Map} of the page as it opens."""
    found = {}
    for name, stage in page.stages.items():
        shown = maps_of(stage)
        if name == "conv":
            shown |= {key: getattr(stage.channels[0], key) for key in ("x", "w", "dx")}
        if name == "join":
            shown |= {f"branch{i}": branch.dx for i, branch in enumerate(stage.branches)}
        found |= {f"{name}-{key}": a_map for key, a_map in shown.items()}
    return found


def sum_at(page, stage, name, at):
    page.evaluate(POINT, [f"{stage}-{name}", at])
    return page.evaluate(SUM, f"{stage}-sum")


def value_at(a_map, at):
    row, column = map(int, at.split(","))
    return a_map.values[row - a_map.row][column - a_map.column]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_fits_the_window_and_has_all_stages(windows, shown, width, theme):
    page = windows.open(shown[1], width=width, theme=theme)
    assert page.locator("section.stage").evaluate_all("all => all.map(s => s.id)") == list(STAGES)
    assert fits(page)
    text = page.locator("main").inner_text()
    assert not re.search(r"\b(undefined|null|NaN|Infinity|false)\b|\[object", text)
    assert "unit 2 of mix.b3" in text
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = np.mean([float(part) for part in background.strip("rgba()").split(",")[:3]])
    assert light < 80 if theme == "dark" else light > 175


def test_every_number_of_every_map_is_text_with_a_label(windows, shown):
    record, path = shown
    page = windows.open(path)
    for id_, a_map in all_maps(record).items():
        cells = page.evaluate(READ, id_)
        assert len(cells) == np.size(a_map.values), id_
        for at, text, label, padding in cells:
            if padding:
                assert label == "padding" and value_at(a_map, at) == 0
            else:
                row, column = at.split(",")
                assert text == number(value_at(a_map, at), a_map), (id_, at)
                assert label.startswith(f"row {row}, column {column}: {text}")


@pytest.mark.parametrize(
    "stage, name",
    [("conv", "dx"), ("conv", "y"), ("pool", "dx"), ("pool", "y"), ("norm", "dx"), ("relu", "dx"), ("join", "dx")],
)
def test_every_sum_adds_up_to_the_number_of_the_way_back(windows, shown, stage, name):
    record, path = shown
    page = windows.open(path)
    a_map = all_maps(record)[f"{stage}-{name}"]
    for at, _, _, padding in page.evaluate(READ, f"{stage}-{name}"):
        if not padding:
            found = sum_at(page, stage, name, at)
            assert found["title"].startswith(f"{name}[{at}]")
            assert found["total"] == number(value_at(a_map, at), a_map, 3)
            assert sum(map(Decimal, found["terms"])) == Decimal(found["total"]), found


def test_the_terms_at_a_pixel_are_weights_times_the_dy_of_its_windows(windows, shown):
    record, path = shown
    stage = record.stages["conv"]
    channel = stage.channels[0]
    page = windows.open(path)
    row, column = channel.dx.row + 1, channel.dx.column + 1
    found = sum_at(page, "conv", "dx", f"{row},{column}")
    expected = [
        value_at(stage.dy, f"{row + 1 - kh},{column + 1 - kw}") * channel.w.values[kh][kw]
        for kh in range(3)
        for kw in range(3)
    ]
    assert found["own"] == [number(term, channel.dx, 3) for term in expected]


def test_what_a_dy_sends_is_what_the_pixels_get(windows, shown):
    record, path = shown
    page = windows.open(path)
    stage, pool = record.stages["conv"], record.stages["pool"]
    at = f"{stage.dy.row + 2},{stage.dy.column + 2}"
    page.evaluate(POINT, ["conv-dy", at])
    dy, w = value_at(stage.dy, at), stage.channels[0].w.values
    expected = [number(dy * w[kh][kw], stage.dy, 3) for kh in range(3) for kw in range(3)]
    assert page.locator("#conv-sum .own .term").all_inner_texts() == expected
    at = f"{pool.dy.row + 1},{pool.dy.column + 1}"
    page.evaluate(POINT, ["pool-dy", at])
    row, column = pool.switches[1][1]
    assert page.locator("#pool-sum .own").all_inner_texts() == [
        f"dx[{row},{column}]\t{number(value_at(pool.dy, at), pool.dy, 3)}"
    ]


def test_the_three_paths_and_the_branches_are_the_terms(windows, shown):
    record, path = shown
    page = windows.open(path)
    for name, parts in (("norm", ["direct", "variance", "mean"]), ("join", ["branch0", "branch1", "branch2"])):
        a_map = record.stages[name].dx
        at = f"{a_map.row},{a_map.column + 1}"
        expected = [value_at(all_maps(record)[f"{name}-{part}"], at) for part in parts]
        assert sum_at(page, name, "dx", at)["own"] == [number(term, a_map, 3) for term in expected]


def test_another_channel_has_its_own_numbers(windows, shown):
    record, path = shown
    page = windows.open(path)
    channel = record.stages["conv"].channels[1]
    page.click(f'#conv button[data-channel="{channel.channel}"]')
    assert page.get_attribute(f'#conv button[data-channel="{channel.channel}"]', "aria-pressed") == "true"
    cells = page.evaluate(READ, "conv-dx")
    assert [text for _, text, _, _ in cells] == [number(v, channel.dx) for row in channel.dx.values for v in row]
    at = cells[5][0]
    assert sum_at(page, "conv", "dx", at)["total"] == number(value_at(channel.dx, at), channel.dx, 3)


def cell(page, table, at):
    return page.locator(f'#{table} td[data-at="{at}"]')


def places(a_map):
    return [f"{a_map.row + i},{a_map.column + j}" for i, row in enumerate(a_map.values) for j in range(len(row))]


def title(page, stage="conv"):
    return page.locator(f"#{stage}-sum h3").inner_text()


def test_pointing_shows_a_sum_and_marks_what_it_is_made_of(windows, shown):
    record, path = shown
    page = windows.open(path)
    first, second = places(record.stages["conv"].channels[0].dx)[8:10]
    cell(page, "conv-dx", first).hover()
    assert title(page).startswith(f"dx[{first}]")
    assert page.locator("#conv-dy .part").count() == page.locator("#conv-w .part").count() == 9
    assert page.locator("#conv-dx .chosen").get_attribute("data-at") == first
    cell(page, "conv-dx", second).hover()
    assert title(page).startswith(f"dx[{second}]")
    out = places(record.stages["conv"].y)[8]
    cell(page, "conv-y", out).hover()
    assert title(page).startswith(f"y[{out}]") and page.locator("#conv-x .part").count() == 9


def test_a_click_pins_and_escape_frees(windows, shown):
    record, path = shown
    page = windows.open(path)
    first, second, third = places(record.stages["conv"].channels[0].dx)[8:11]
    cell(page, "conv-dx", first).click()
    cell(page, "conv-dx", second).hover()
    assert title(page).startswith(f"dx[{first}]") and "Pinned" in page.inner_text("#conv-sum")
    cell(page, "conv-dx", second).click()
    assert title(page).startswith(f"dx[{second}]")
    page.keyboard.press("Escape")
    cell(page, "conv-dx", third).hover()
    assert title(page).startswith(f"dx[{third}]") and "Pinned" not in page.inner_text("#conv-sum")
    cell(page, "conv-dx", third).click()
    cell(page, "conv-dx", third).click()
    cell(page, "conv-dx", first).hover()
    assert title(page).startswith(f"dx[{first}]")


def test_the_keys_move_pin_and_free(windows, shown):
    record, path = shown
    page = windows.open(path)
    a_map = record.stages["pool"].dx
    start = f"{a_map.row},{a_map.column}"
    cell(page, "pool-dx", start).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    there = f"{a_map.row + 1},{a_map.column + 1}"
    assert title(page, "pool") == f"dx[{there}]"
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowLeft")
    assert title(page, "pool") == f"dx[{there}]"
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowUp")
    assert title(page, "pool") == f"dx[{start}]"
    page.keyboard.press("ArrowUp")  # the edge of what is shown
    assert page.evaluate("document.activeElement.dataset.at") == start


def test_tab_goes_from_map_to_map(windows, shown):
    _, path = shown
    page = windows.open(path)
    page.locator("#relu-x td[tabindex='0']").focus()
    seen = []
    for _ in range(5):
        seen.append(page.evaluate("document.activeElement.closest('table')?.id"))
        page.keyboard.press("Tab")
    assert seen == ["relu-x", "relu-mask", "relu-y", "relu-dx", "relu-dy"]
    assert page.evaluate("document.activeElement.id") == "relu-sum"


def test_the_page_asks_for_nothing(windows, shown, chromium):
    context = chromium.new_context(offline=True)
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(shown[1].as_uri())
    page.hover("#conv-dx td[tabindex='0']")
    assert [url for url in asked if not url.startswith("data:image/png")] == [shown[1].as_uri()]
    context.close()


def test_names_are_text(windows, tmp_path):
    _, path = written(tmp_path, words=[HOSTILE] * CLASSES)
    page = windows.open(path)
    assert f"It shows: {HOSTILE}." in page.locator(".lead").inner_text()
    assert page.locator(".lead b").count() == 0


def test_a_stage_that_is_missing_says_why(windows, tmp_path):
    _, path = written(tmp_path, layer="stem.conv", unit=1, start="unit")
    page = windows.open(path)
    for stage in ("pool", "norm", "relu", "join"):
        assert "The way back begins at stem.conv" in page.inner_text(f"#{stage}")
    assert page.locator("#conv-dx td").count() > 0
