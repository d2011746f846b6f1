"""A data set's name means one thing, wherever a run is taken up."""

import os

import pytest

from minidl.data import load_dataset, portable, resolve
from minidl.errors import UsageError
from tests.tiny_fixture import make_folders


@pytest.fixture
def beside_a_folder(tmp_path, monkeypatch):
    """The working directory has a folder of images called shapes."""
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return make_folders(tmp_path / "shapes")


def test_the_bare_word_is_the_embedded_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve("shapes") == "shapes"


def test_everything_else_becomes_an_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert resolve("pets") == str(tmp_path / "pets")
    assert resolve("../pets.zip") == str(tmp_path.parent / "pets.zip")
    assert resolve("~/pets") == str(tmp_path / "home" / "pets")


@pytest.mark.parametrize("text", ["./shapes", "shapes/", ".//shapes", "../{here}/shapes"])
def test_a_folder_called_shapes_is_meant_by_any_path_to_it(beside_a_folder, text):
    text = text.format(here=beside_a_folder.parent.name)
    assert resolve(text) == str(beside_a_folder)
    for name in (text, resolve(text)):
        assert load_dataset(name, image_size=8, progress=False).classes == ["cat", "dog"]


def test_a_path_object_is_never_the_embedded_set(beside_a_folder):
    assert load_dataset(beside_a_folder.relative_to(os.getcwd()), image_size=8, progress=False).classes[0] == "cat"


@pytest.mark.parametrize("kind", ["folder", "file", "broken link"])
def test_the_bare_word_beside_something_of_that_name_is_asked_back(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "shapes"
    {"folder": place.mkdir, "file": place.touch, "broken link": lambda: place.symlink_to("gone")}[kind]()
    with pytest.raises(UsageError, match=r"Write \./shapes for the latter"):
        resolve("shapes")


def test_a_stored_name_is_the_embedded_set_whatever_files_are_there(beside_a_folder):
    assert len(load_dataset("shapes").classes) == 20


@pytest.mark.parametrize(
    "stored, name",
    [
        ("shapes", "shapes"),
        ("/home/me/shapes", "./shapes"),
        ("/data/tiny-imagenet-200.zip", "./tiny-imagenet-200"),
        ("/data/pets.v2.tar.gz", "./pets.v2"),
        ("/data/pets.TGZ", "./pets"),
    ],
)
def test_a_name_that_is_passed_on_holds_no_folders_and_stays_apart_from_the_embedded_set(
    stored, name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert portable(stored) == name
    assert (resolve(name) == "shapes") == (stored == "shapes")
