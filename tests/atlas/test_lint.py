"""The lint of the page refuses what a page on file:// can't do, and what would make HTML of a name."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
USE = "document.title = name;\n"


def oxlint(path):
    command = [Path(sys.executable).with_name("oxlint"), "-c", ROOT / ".oxlintrc.json", "--format=unix", path]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    "line, rule",
    [
        ("document.body.innerHTML = name;", "innerHTML"),
        ("document.body['outerHTML'] = name;", "outerHTML"),
        ("document.body.insertAdjacentHTML('beforeend', name);", "insertAdjacentHTML"),
        ("document.write(name);", "document.write"),
        ("eval(name);", "no-eval"),
        ("new Function(name)();", "no-new-func"),
        ("setTimeout('name', 1);", "no-implied-eval"),
        ("fetch(name);", "fetch"),
        ("window.fetch(name);", "fetch"),
        ("document.title = new XMLHttpRequest();", "XMLHttpRequest"),
        ("var title = name; document.title = title;", "no-var"),
        ("let title = name; document.title = title;", "prefer-const"),
        ("const title = name;", "no-unused-vars"),
        ("document.title = nmae;", "no-undef"),
        ("document.hidden = name == '1';", "eqeqeq"),
    ],
)
def test_it_refuses(tmp_path, line, rule):
    (tmp_path / "page.js").write_text(f'"use strict";\nconst name = window.location.hash;\n{line}\n{USE}')
    result = oxlint(tmp_path / "page.js")
    assert result.returncode == 1 and rule in result.stdout, result.stdout + result.stderr


def test_it_lets_plain_code_pass(tmp_path):
    (tmp_path / "page.js").write_text(f'"use strict";\nconst name = window.location.hash;\n{USE}')
    assert oxlint(tmp_path / "page.js").returncode == 0
