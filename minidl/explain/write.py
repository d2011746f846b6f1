"""Puts the page into one file that loads nothing."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import asdict
from html import escape
from importlib.resources import files
from pathlib import Path

from minidl.explain.records import Page
from minidl.storage.files import atomic
from minidl.storage.metadata import to_json

# Of the atlas's page this one has the style, the function that makes elements, and the switch to dark colors.
STYLES = ("atlas/page/atlas.css", "explain/page/explain.css")
SCRIPTS = (
    "explain/page/start.js",
    "atlas/page/dom.js",
    "atlas/page/theme.js",
    *(f"explain/page/{name}.js" for name in ("numbers", "map", "sums", "stage")),
    *(f"explain/page/{name}.js" for name in ("strip", "conv", "pool", "norm", "relu", "join", "main")),
)


def html(page: Page) -> str:
    """The page with all it needs. Its policy lets it run its own script and style, and load nothing.

    The texts in the record are a stranger's. It is JSON in ASCII in which no < is left, so nothing in it can end the
    element that it stands in.
    """
    style, script = "".join(map(_text, STYLES)), "".join(map(_text, SCRIPTS))
    parts = {
        "TITLE": escape(f"{page.layer} {page.unit} of {page.title}"),
        "STYLE-HASH": _hash(style),
        "SCRIPT-HASH": _hash(script),
        "STYLE": style,
        "SCRIPT": script,
        "RECORD": to_json(asdict(page)).replace("<", "\\u003c"),
    }
    before, *rest = _text("explain/page/index.html").split("{{")
    for piece in rest:  # each part is put in once, and not looked at again
        name, _, after = piece.partition("}}")
        before += parts[name] + after
    return before


def write_page(page: Page, path: Path) -> Path:
    """Writes the page to the file `path`; DataError if it can't be written."""
    with atomic(path) as temporary:
        temporary.write_text(html(page), encoding="utf-8")
    return path


def _text(name: str) -> str:
    return (files("minidl") / name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
