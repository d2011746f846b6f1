"""docs/recipes.md and the notebook: every block of code runs as it stands."""

import ast
import json
import re
from pathlib import Path

import pytest

import minidl as md
import train
from minidl.data import load_shapes
from tests.text.test_html import Seen

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "recipes.md").read_text("utf-8")
BLOCKS = re.findall(r"## (.*?)\n.*?```python\n(.*?)```", PAGE, re.DOTALL)
NOTEBOOK = ROOT / "examples" / "minidl.ipynb"
RUN = ["--model", "convnet", "--subset", "0.02", "--batch-size", "8", "--epochs", "2", "--threads", "1"]


@pytest.fixture
def folder(tmp_path, monkeypatch, sketches):
    """A folder with a finished run in it, as the working directory."""
    monkeypatch.chdir(tmp_path)
    assert train.main([*RUN, "--output", "runs", "--name", "x"]) == 0
    return tmp_path


def run(source, names):
    """Runs a block, and returns what a notebook would show: the value of its last line."""
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "<block>", "exec"), names)
    return last and eval(compile(ast.Expression(last.value), "<block>", "eval"), names)


def test_every_recipe_runs(folder):
    names = {}
    run(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL).group(1), names)
    for _, source in BLOCKS:
        run(source, names)
    assert names["maps"]["inception2.b5"].shape == (4, 16, 16, 16)
    assert names["saliency"].shape == names["deconv"].shape == (4, 64, 64, 3) and names["deconv"].any()
    assert len(names["run"].history["epoch"]) == 2 and (folder / "unit.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name, source", BLOCKS, ids=[name for name, _ in BLOCKS])
def test_a_recipe_is_five_statements_at_most(name, source):
    assert 1 <= len(ast.parse(source).body) <= 5


def test_the_notebook_runs_and_shows_tables_and_pictures(monkeypatch):
    monkeypatch.setattr(md, "load_shapes", lambda **_: load_shapes(train=96, val=32))  # to be done sooner
    names, tables, pictures = {}, 0, 0
    for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            shown = run("".join(cell["source"]), names)
            if hasattr(shown, "_repr_html_"):
                assert "td" in Seen(shown._repr_html_()).tags
                tables += 1
            pictures += hasattr(shown, "_repr_png_") and bool(shown._repr_png_())
    assert tables >= 3 and pictures >= 1
