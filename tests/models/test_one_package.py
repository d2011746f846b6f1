"""minidl.models is the folder models/, and `import models` in a checkout gives the same modules."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import minidl.models
import models

ROOT = Path(models.__file__).parents[1]
MODULES = [path.stem for path in (ROOT / "models").glob("*.py") if path.stem != "__init__"]


def test_the_folder_is_one_package_under_two_names():
    assert models is minidl.models
    assert models.__name__ == "minidl.models"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_of_it_is_the_same_object(name):
    assert importlib.import_module(f"models.{name}") is importlib.import_module(f"minidl.models.{name}")


@pytest.mark.parametrize("order", ["models.convnet, minidl.models", "minidl.models, models.convnet"])
def test_whichever_name_is_imported_first_in_a_bare_checkout_there_is_one_registry(order, tmp_path):
    code = f"import {order}; import models; print(models.REGISTRY is minidl.models.REGISTRY, minidl.models.__file__)"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert result.stdout == f"True {ROOT / 'models' / '__init__.py'}\n", result.stderr
