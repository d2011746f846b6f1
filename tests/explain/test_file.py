"""The file that holds the page: one that loads nothing, in which a stranger's names are text."""

import base64
import hashlib
import json
import re
from dataclasses import asdict

import numpy as np
import pytest

import minidl as md
from minidl.errors import DataError, ShapeError, UsageError
from minidl.explain.write import SCRIPTS, html, write_page
from tests.explain.network import CLASSES, HOSTILE, LABELS, images, network, page_of, record_in


@pytest.fixture(scope="module")
def page():
    return page_of("mix.b3", 2, words=[HOSTILE] * CLASSES)


def test_the_record_in_the_page_is_the_page(page):
    assert record_in(html(page)) == json.loads(json.dumps(asdict(page)))


def test_names_end_no_element(page):
    text = html(page)
    assert page.label == HOSTILE and HOSTILE not in text
    assert text.count("</script>") == 2  # the record's and the script's own
    page.title = "{{SCRIPT}}" + HOSTILE
    assert "<title>mix.b3 2 of {{SCRIPT}}&lt;/script&gt;&lt;b&gt;&amp;amp;</title>" in html(page)


def test_the_policy_lets_in_the_scripts_of_the_page_and_no_other(page):
    text = html(page)
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', text).group(1)
    parts = dict(part.split(" ", 1) for part in policy.split("; "))
    for kind, tag in (("script-src", "script"), ("style-src", "style")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert parts[kind] == f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
    assert parts["default-src"] == "'none'" and parts["img-src"] == "data:"
    assert text.index("Content-Security-Policy") < text.index("<title>")


def test_nothing_in_the_page_is_an_address_elsewhere(page):
    text = html(page).replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"\b(https?|wss?):|@import|\bfetch\s*\(|<link|\ssrc=", text)


def test_all_scripts_of_the_folder_are_in_the_page():
    folder = {f"explain/page/{path.name}" for path in _page_folder().glob("*.js")}
    assert folder == {name for name in SCRIPTS if name.startswith("explain")}


def _page_folder():
    from pathlib import Path

    return Path(md.__file__).parent / "explain" / "page"


def test_a_page_of_ones_own_network(tmp_path):
    path = md.explain_unit(
        network(), images().astype(np.float32), tmp_path / "page.html", layer="mix.b3", unit=2, labels=LABELS,
        classes=["a", "b", "c", "d", "e"], title="mine",
    )  # fmt: skip
    record = record_in(path.read_text("utf-8"))
    assert (record["title"], record["layer"], record["unit"], record["label"]) == ("mine", "mix.b3", 2, "c")
    assert path.stat().st_size < 2_000_000


@pytest.mark.parametrize("labels", [[1.5, 0, 0, 0], [1], "abcd"])
def test_wrong_labels_are_told(tmp_path, labels):
    with pytest.raises(UsageError, match="4 whole numbers"):
        md.explain_unit(network(), images(), tmp_path / "page.html", labels=labels)


def test_numbers_of_numpy_are_units_and_names(tmp_path):
    unit, options = np.int64(2), {"labels": LABELS, "classes": np.arange(10, 15)}
    path = md.explain_unit(network(), images(), tmp_path / "page.html", layer="mix.b3", unit=unit, **options)
    record = record_in(path.read_text("utf-8"))
    assert record["unit"] == 2 and record["label"] == "12"


def test_names_with_commas_stay_whole(tmp_path):
    names = ["red, left", "red, right", "blue", "cyan", "green"]
    path = md.explain_unit(network(), images(), tmp_path / "page.html", labels=[1, 0, 0, 0], classes=names)
    assert record_in(path.read_text("utf-8"))["label"] == "red, right"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"labels": [-7, 0, 0, 0]}, "labels from -7 to 0: "),
        ({"labels": [5, 0, 0, 0]}, "labels from 0 to 5: "),
        ({"classes": ["a"]}, "1 names of classes"),
        ({"images": images()[0]}, r"images have the shape \(\d+, \d+, 3\)"),
    ],
)
def test_what_fits_no_network_is_told(tmp_path, given, line):
    with pytest.raises((ShapeError, UsageError), match=line):
        md.explain_unit(**{"model": network(), "images": images(), "path": tmp_path / "page.html", **given})


def test_an_image_with_nan_is_refused(tmp_path):
    x = images()
    x[1, 2, 3, 0] = np.nan
    with pytest.raises(DataError, match="isn't finite"):
        md.explain_unit(network(), x, tmp_path / "page.html")


def test_gray_images_and_images_that_are_all_the_same(tmp_path):
    from minidl.explain.facts import shown

    assert shown(np.ones((4, 5, 1))).shape == (4, 5, 3)
    assert shown(np.arange(20.0).reshape(4, 5, 1)).max() == 255


def test_a_file_that_cannot_be_written_is_named(page, tmp_path):
    with pytest.raises(DataError, match=r"no/page\.html"):
        write_page(page, tmp_path / "no" / "page.html")
