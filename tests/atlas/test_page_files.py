"""What the files of the page may not contain, whichever part of them a browser test opens."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import minidl

PAGE = Path(minidl.__file__).parent / "atlas" / "page"
TEXTS = sorted(path for path in PAGE.rglob("*") if path.suffix in {".html", ".js", ".css"})
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'"
)
VOCABULARY = "http://www.w3.org/2000/svg"  # the name of a namespace, from which nothing is loaded


class Tags(HTMLParser):
    """All tags of index.html with their attributes."""

    def __init__(self):
        super().__init__()
        self.found = []
        self.feed((PAGE / "index.html").read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
@pytest.mark.parametrize(
    "pattern",
    [
        r"\b(https?|wss?):|[\"'(=]//",  # another machine
        r"\bfetch\s*\(|XMLHttpRequest|\bimport\b\s*[({*\"']|^\s*export\s|type=[\"']?module",  # what file:// refuses
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc",
        r"\beval\s*\(|new\s+Function",
        r"<style|\sstyle=|\son\w+=[\"']|[\"'(]data:|javascript:|@import",  # what the page's own policy refuses
    ],
)
def test_no_file_contains(path, pattern):
    found = re.search(pattern, path.read_text("utf-8").replace(VOCABULARY, ""), re.M)
    assert not found, f"{path.name}: {found.group()}"


def test_the_policy_lets_in_nothing_but_the_folder_and_comes_before_what_it_governs():
    tags = [(tag, attributes) for tag, attributes in Tags().found if tag in {"meta", "script", "link"}]
    assert tags[0] == ("meta", {"charset": "utf-8"})
    assert tags[1] == ("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY})


def test_index_loads_every_script_and_style_sheet_and_no_other():
    named = {a.get("src") or a.get("href") for tag, a in Tags().found if tag in {"script", "link"}}
    files = {f"page/{path.relative_to(PAGE)}" for path in TEXTS if path.suffix != ".html"}
    assert named == files
