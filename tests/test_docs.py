"""README and docs: what they quote stands in the code, what they name exists, what they show runs."""

import importlib.util
import inspect
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minidl import errors
from minidl.cli.programs import MINIDL, TRAIN_PY, VISUALIZE_PY
from minidl.diagnostics.gradcheck import gradcheck
from minidl.kernels import reference
from minidl.layers.base import Layer, Parameter

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/learn").glob("*.md"))]
README = PAGES[0].read_text("utf-8")
PROGRAMS = {program.name: program for program in (MINIDL, TRAIN_PY, VISUALIZE_PY)}
FOLDERS = ("minidl", "models", "tests", "benchmarks", "docs", "examples")


def paths(text: str) -> set[str]:
    """Names of the project's own files and folders, such as minidl/layers/conv.py."""
    found = re.findall(rf"(?<![\w/.-])(?:{'|'.join(FOLDERS)})/[\w/.*-]*", text)
    return {path.rstrip(".,") for path in found if "*" not in path}


def short_paths(text: str) -> set[str]:
    """Names such as `kernels/reference.py`, which leave out minidl/."""
    return set(re.findall(r"`((?!https?:)[a-z]\w*(?:/\w+)*/\w+\.py)`", text))


def modules(text: str) -> set[str]:
    """Dotted names in code, such as minidl.data or benchmarks.ladder."""
    return set(re.findall(r"(?<![\w/.:-])(?:minidl|models|benchmarks|tests)(?:\.[a-z_]\w*)+\b(?!/)", text))


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or a name in one."""
    module, _, last = name.rpartition(".")
    try:
        return importlib.util.find_spec(name) is not None or hasattr(importlib.import_module(module), last)
    except ModuleNotFoundError:
        return False


def code(first_words: str) -> str:
    """README's block of Python that contains `first_words`."""
    (block,) = [b for b in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if first_words in b]
    return block


def commands(text: str) -> list[list[str]]:
    """The commands of minidl in a page's blocks of code, as words: ["train.py", "eval", "runs/x"]."""
    block = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
    code = "".join(code for language, code in block.findall(text) if language == "sh")
    code += "\n".join(line for line in block.sub("", text).splitlines() if line.startswith("    "))
    code = re.sub(r"\\\n|\"|#.*", "", code)
    found = re.findall(r"(?:^|[ (/=])(minidl|train\.py|visualize\.py) ([^|&)\n]+)", code, re.MULTILINE)
    return [[program, *re.sub(r"\$\w+", "1", flags).split()] for program, flags in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page):
    text = page.read_text("utf-8")
    assert [path for path in sorted(paths(text)) if not (ROOT / path).exists()] == []
    roots = [ROOT, ROOT / "minidl", ROOT / "minidl" / "engine"]
    assert [path for path in sorted(short_paths(text)) if not any((r / path).exists() for r in roots)] == []
    links = re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_module_that_a_page_names_exists(page):
    assert [name for name in sorted(modules(page.read_text("utf-8"))) if not exists(name)] == []


def test_a_name_that_does_not_exist_is_seen():
    assert paths("see `minidl/fused/stem.py`.") == {"minidl/fused/stem.py"}
    assert short_paths("`fused/stem.py`, `train.py`") == {"fused/stem.py"}
    assert modules("`minidl.fused.stem`, `minidl.trace(model)`") == {"minidl.fused.stem", "minidl.trace"}
    assert not exists("minidl.fused.stem") and not exists("minidl.layers.Conv4D") and exists("minidl.trace")


def test_the_commands_of_a_page_are_seen():
    shown = (
        "```sh\npython train.py eval RUN  # why\n```\n\n    mpiexec -n 2 minidl train \\\n        --name x | head\n"
    )
    assert commands(shown) == [["train.py", "eval", "RUN"], ["minidl", "train", "--name", "x"]]


def test_the_glossary_is_in_alphabetical_order():
    words = re.findall(r"^\| \*\*(.+?)\*\*", (ROOT / "docs/glossary.md").read_text("utf-8"), re.MULTILINE)
    assert len(words) > 40
    assert words == sorted(words, key=str.lower)


@pytest.mark.parametrize("function", [reference.conv2d_dw, reference.conv2d_dx], ids=lambda f: f.__name__)
def test_the_backward_pass_in_the_readme_stands_in_the_code(function):
    assert inspect.getsource(function) in README


def test_the_gradient_check_in_the_readme_passes(capsys):
    exec(code("md.gradcheck("), {})
    head, error, rest = re.match(r"(.* worst relative error )(\S+)(.*)", capsys.readouterr().out).groups()
    assert float(error) < 1e-7
    assert re.search(rf"# {re.escape(head)}\S+{re.escape(rest)}\n", README)


def test_the_layer_in_the_docstring_of_layer_passes_its_gradient_check():
    lines = inspect.getdoc(Layer).splitlines()
    start = lines.index("    class Scale(Layer):")
    end = next(i for i, line in enumerate(lines) if i > start and line and not line.startswith("    "))
    names = {"Layer": Layer, "Parameter": Parameter, "np": np}
    exec(textwrap.dedent("\n".join(lines[start:end])), names)
    scale = names["Scale"](3, np.float64)
    assert gradcheck(scale, np.random.default_rng(0).normal(size=(2, 4, 5, 3))).error < 1e-7
    assert gradcheck(scale, np.random.default_rng(0).normal(size=(2, 3))).error < 1e-7


def test_the_training_loop_in_the_readme_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = (
        code("optimizer.step()").replace("train=2000, val=200", "train=64, val=20").replace("range(5)", "range(1)")
    )
    names = {}
    exec(small.replace("range(5)", "range(1)"), names)
    assert "epoch 1: loss" in capsys.readouterr().out
    assert names["seen"].shape == names["x"].shape and (tmp_path / "convnet.safetensors").is_file()


def test_the_exit_codes_in_the_docs_are_those_of_the_errors():
    page = " ".join((ROOT / "docs/runs.md").read_text("utf-8").split())
    said = dict(re.findall(r"(\d) for ([^,.]+)", page.partition("exit codes are ")[2].partition(".")[0]))
    words = {"Usage": "flag", "Shape": "shape", "Backend": "backend", "Data": "data", "Diverged": "loss",
             "OutOfMemory": "memory", "Rank": "rank"}  # fmt: skip
    found = {name: word in said[str(getattr(errors, f"{name}Error").exit_code)] for name, word in words.items()}
    assert all(found.values()), found


def test_check_data_says_what_the_docs_quote(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = {
        "train/cat": 9,
        "train/cat/sub": 1,
        "train/dog": 9,
        "train/emu": 8,
        "val/cat": 4,
        "val/dog": 4,
        "val/emu": 4,
    }
    for name, images in folders.items():
        (folder := tmp_path / "pets" / name).mkdir(parents=True)
        for k in range(1, images + 1):
            Image.new("RGB", (16, 16), (k, 40, 200)).save(folder / f"{k}.png")
    page = (ROOT / "docs/data.md").read_text("utf-8")
    quoted = page.partition("$ python train.py check-data pets\n")[2].partition("```")[0]
    assert TRAIN_PY.main(["check-data", "pets"]) == 0
    assert capsys.readouterr().out.replace(str(tmp_path), "/home/me") == quoted


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_a_page_shows_can_be_typed(page):
    for program, *flags in commands(page.read_text("utf-8")):
        if not {"help", "--help"} & {*flags}:
            args = PROGRAMS[program].parse(flags)
            assert vars(args).get("paths", True) or args.pretrained, f"{' '.join(flags)}: which RUN?"


def test_the_atlas_in_the_docs_has_the_page_of_today():
    page, shown = ROOT / "minidl" / "atlas" / "page", ROOT / "docs" / "atlas"
    for path in page.iterdir():
        copy = shown / path.name if path.name == "index.html" else shown / "page" / path.name
        assert copy.read_bytes() == path.read_bytes(), (
            f"docs/atlas/{path.name}: docs/atlas/README.md says how it is made"
        )
