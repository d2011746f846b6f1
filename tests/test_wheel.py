"""The wheel in a fresh environment, beside a user's own models.py; then a checkout installed to be edited."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
SOURCES = ("minidl", "models", "setup.py", "pyproject.toml", "README.md", "LICENSE", "train.py", "visualize.py")


def run(*command, cwd):
    """stdout of a command that must succeed, started in `cwd` without a trace of this environment."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    result = subprocess.run([*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the sources, as a build leaves files among them."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, checkout, cwd=folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def programs(wheel, tmp_path_factory):
    """bin/ of an environment with nothing but the wheel and what it needs."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    run(folder / "bin" / "pip", "install", "--quiet", wheel, cwd=folder)
    return folder / "bin"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A user's folder, with a module whose name minidl once took."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "models.py").write_text("MINE = True\n")
    return folder


def test_the_wheel_holds_one_import_name_and_all_its_files(wheel):
    names = set(ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"minidl"}
    files = [path for folder in ("minidl", "models") for path in (ROOT / folder).rglob("*") if path.is_file()]
    wanted = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    assert {name if name.startswith("minidl/") else f"minidl/{name}" for name in wanted} <= names


def test_what_a_new_user_types_works(programs, home):
    minidl, python = programs / "minidl", programs / "python"
    assert "--backend cupy" in run(minidl, "doctor", cwd=home)
    run(minidl, "train", "--epochs", "1", "--subset", "0.02", "--name", "first", cwd=home)
    assert "top-1" in run(minidl, "eval", "runs/first", cwd=home)
    assert "wrote runs/first/figures/deconv-" in run(minidl, "deconv", "runs/first", "--unit", "0", cwd=home)
    assert run(minidl, "--help", cwd=home) == run(python, "-m", "minidl", "--help", cwd=home)
    code = "import models, minidl.models as m; print(models.MINE, len(m.build('refined').named_parameters()))"
    assert run(python, "-c", code, cwd=home).split()[0] == "True"
    assert "fc" in run(minidl, "layers", "--pretrained", "refined", cwd=home)


def test_a_checkout_that_is_installed_to_be_edited_works_everywhere(programs, checkout, home):
    run(programs / "pip", "install", "--quiet", "--no-deps", "-e", checkout, cwd=home)
    code = "import models, minidl.models as m; print(getattr(models, 'MINE', models is m), m.__file__)"
    wanted = f"True {checkout / 'models' / '__init__.py'}\n"
    for place in (home, checkout):
        assert run(programs / "python", "-c", code, cwd=place) == wanted
        assert "fc" in run(programs / "minidl", "layers", "--pretrained", "refined", cwd=place)
    assert "fc" in run(programs / "python", checkout / "visualize.py", "layers", "--pretrained", "refined", cwd=home)
