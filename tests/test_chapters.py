"""The chapters of docs/learn: they run as scripts, open as notebooks, and end in the exercises of the registry."""

import inspect
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from minidl.kernels import reference
from minidl.learn.exercises import ORDER
from tests.test_docs import ROOT, exists, modules, paths

CHAPTERS = sorted((ROOT / "docs" / "learn").glob("[01][0-9]_*.py"))
each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)


def cells(chapter: Path) -> list[tuple[str, str]]:
    """("markdown" or "code", text) of every cell in percent format; the header of jupytext comes before them."""
    _, header, body = re.split(r"^# ---\n", chapter.read_text("utf-8"), flags=re.MULTILINE)
    assert "format_name: percent" in header
    before, *parts = re.split(r"^# %%(.*)\n", body, flags=re.MULTILINE)
    assert not before.strip()
    kinds = {"": "code", " [markdown]": "markdown"}
    return [(kinds[kind], text.strip()) for kind, text in zip(parts[::2], parts[1::2], strict=True)]


def prose(text: str) -> str:
    """A text cell without the sign of a comment before each line."""
    lines = text.splitlines()
    assert all(line == "#" or line.startswith("# ") for line in lines), text
    return "\n".join(line[2:] for line in lines)


def texts(chapter: Path) -> list[str]:
    return [prose(text) for kind, text in cells(chapter) if kind == "markdown"]


def test_there_is_a_chapter_for_every_group_of_exercises():
    assert [chapter.stem for chapter in CHAPTERS] == list(ORDER)


def test_the_index_says_of_every_chapter_what_the_chapter_says():
    index = (ROOT / "docs" / "learn" / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| \[(.+?)\]\((\w+)\.py\) \| (.*?) ?\| (\d+) \| (\d+) \|$", index, re.MULTILINE)
    assert [row[2] for row in rows] == list(ORDER)
    for number, title, name, needs, minutes, exercises in rows:
        first = texts(ROOT / "docs" / "learn" / f"{name}.py")[0]
        assert first.startswith(f"# {number}. {title}\n")
        assert re.findall(r"\[chapter (\d+)\]", first) == [part for part in needs.split(", ") if part]
        assert f"It takes about {minutes} minutes." in first
        assert int(exercises) == len(ORDER[name])


@each_chapter
def test_a_chapter_is_a_notebook(chapter):
    found = cells(chapter)
    assert found[0][0] == "markdown" and found[-1][0] == "markdown"
    for kind, text in found:
        assert text
        if kind == "code":
            compile(text, chapter.name, "exec")


@each_chapter
def test_a_chapter_begins_with_what_it_needs_and_gives(chapter):
    first = texts(chapter)[0]
    assert first.startswith(f"# {int(chapter.stem[:2])}. ")
    assert "**You need:**" in first and "**Afterwards you can**" in first


@each_chapter
def test_a_chapter_ends_in_its_exercises(chapter):
    _, end = texts(chapter)[-1].split("## Exercises\n")
    assert re.findall(r"^- `(\w+)`: ", end, re.MULTILINE) == list(ORDER[chapter.stem])
    assert {"minidl learn start", "minidl learn check", "minidl learn hint"} <= {
        command for command in re.findall(r"minidl learn \w+", end)
    }


@each_chapter
def test_a_chapter_shows_the_source_and_copies_none(chapter):
    found = cells(chapter)
    assert any("show(" in text for kind, text in found if kind == "code")
    for text in texts(chapter):
        assert not re.search(r"^\s*(def \w+\(|class \w+[:(])", text, re.MULTILINE)


@each_chapter
def test_what_a_chapter_names_exists(chapter):
    for text in texts(chapter):
        assert [path for path in sorted(paths(text)) if not (ROOT / path).exists()] == []
        assert [name for name in sorted(modules(text)) if not exists(name)] == []


def test_a_chapter_runs_and_prints_the_source_of_today(monkeypatch, tmp_path, capsys):
    (chapter,) = [path for path in CHAPTERS if path.stem == "01_linear"]
    monkeypatch.syspath_prepend(str(chapter.parent))
    monkeypatch.setattr(sys, "argv", [chapter.name, "--pictures", str(tmp_path)])
    runpy.run_path(str(chapter))
    assert inspect.getsource(reference.relu_dx) in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"01-one-number.png", "01-dw.png", "01-relu.png"}


@pytest.mark.slow
@each_chapter
def test_a_chapter_runs_as_a_script_in_any_folder(chapter, tmp_path):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, str(chapter), "--pictures", "pictures"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    drawn = [path.name for path in (tmp_path / "pictures").iterdir()]
    assert drawn and all(name.startswith(chapter.stem[:2]) and name.endswith(".png") for name in drawn)
