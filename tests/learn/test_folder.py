"""A learner's folder: nothing that was written is lost, and the progress is kept."""

import json

import pytest

from minidl.errors import DataError, UsageError
from minidl.learn import EXERCISES
from minidl.learn.folder import CHANGED, NEW, SOLVED, TRIED, Folder, start
from minidl.learn.source import blanked, filled
from tests.learn.started import started

RELU = EXERCISES["relu"]


@pytest.fixture
def folder(tmp_path):
    return started(tmp_path / "mine")


def test_a_folder_has_every_exercise_a_readme_and_the_progress(folder):
    names = {path.name for path in folder.path.iterdir()}
    assert names == {f"{name}.py" for name in EXERCISES} | {"README.md", "progress.json"}
    assert all(f"`{name}.py`" in (folder.path / "README.md").read_text("utf-8") for name in EXERCISES)


def test_starting_again_completes_a_folder_and_changes_no_file(folder):
    folder.file(RELU).write_text("mine", "utf-8")
    folder.file(EXERCISES["conv2d"]).unlink()
    assert start(folder.path)[1] == 1
    assert folder.file(RELU).read_text("utf-8") == "mine"


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(UsageError, match="not empty .thesis.txt.: give a new folder"):
        start(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "f").touch()
    with pytest.raises(UsageError, match="f is a file: give a folder"):
        start(tmp_path / "f")


def test_a_folder_without_its_progress_is_one_still(folder):
    (folder.path / "progress.json").unlink()
    assert Folder(folder.path).check(RELU).found == "not begun" and start(folder.path)[1] == 0
    (folder.path / "README.md").write_text("# Another", "utf-8")
    with pytest.raises(UsageError, match="is not empty"):
        start(folder.path)


def test_two_programs_keep_the_progress_of_both(folder):
    other = Folder(folder.path)
    other.hint(RELU)
    folder.hint(EXERCISES["conv2d"])
    folder.file(RELU).write_text(filled(RELU), "utf-8")
    assert other.check(RELU).solved
    kept = Folder(folder.path)
    assert kept.progress["relu"].hints == kept.progress["conv2d"].hints == 1 and kept.state(RELU) == SOLVED


def test_a_verdict_is_worth_more_than_the_progress(folder, capsys):
    folder.file(RELU).write_text(filled(RELU), "utf-8")
    (folder.path / "progress.json").unlink()
    (folder.path / "progress.json").mkdir()
    assert folder.check(RELU).solved
    assert "your progress isn't kept" in capsys.readouterr().err
    assert folder.hint(RELU)[1] == RELU.hints[0]


def test_the_progress_outlives_the_program(folder):
    path = folder.file(RELU)
    assert folder.state(RELU) == NEW
    path.write_text(blanked(RELU).replace('raise NotImplementedError("write relu")', "return x, x > 0"), "utf-8")
    assert not folder.check(RELU).solved and Folder(folder.path).state(RELU) == TRIED
    path.write_text(filled(RELU), "utf-8")
    assert folder.check(RELU).solved and Folder(folder.path).state(RELU) == SOLVED
    path.write_text(filled(RELU) + "\n# a thought\n", "utf-8")
    assert Folder(folder.path).state(RELU) == CHANGED


def test_a_file_that_is_not_begun_is_no_try(folder):
    assert folder.check(RELU).found == "not begun" and folder.state(RELU) == NEW


def test_the_next_exercise_is_the_first_that_is_not_solved(folder):
    first, second, *_ = EXERCISES.values()
    assert folder.next() is first
    folder.file(first).write_text(filled(first), "utf-8")
    folder.check(first)
    assert folder.next() is second


def test_hints_come_one_at_a_time_and_the_last_one_stays(folder):
    assert [folder.hint(RELU) for _ in range(4)] == [*enumerate(RELU.hints, 1), (3, RELU.hints[2])]
    assert Folder(folder.path).progress["relu"].hints == 3


def test_a_reset_keeps_what_stood_in_the_file(folder):
    assert folder.reset(RELU) is None
    kept = []
    for text in ("first", "second"):
        folder.file(RELU).write_text(text, "utf-8")
        kept.append(folder.reset(RELU))
    assert [path.read_text("utf-8") for path in kept] == ["first", "second"]
    assert folder.file(RELU).read_text("utf-8") == blanked(RELU)


def test_a_folder_without_exercises_says_how_to_make_one(tmp_path):
    with pytest.raises(UsageError, match="has no exercises: `minidl learn start DIR`"):
        Folder(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"exercises": 1}', '{"exercises": {"relu": {"hints": "x"}}}'])
def test_a_damaged_progress_is_named(folder, text):
    (folder.path / "progress.json").write_text(text, "utf-8")
    with pytest.raises(DataError, match=r"progress\.json is damaged"):
        Folder(folder.path)


def test_what_another_version_knew_is_kept(folder):
    known = {"exercises": {"gone": {"hints": 1}, "relu": {"hints": 2, "seconds": 7}}}
    (folder.path / "progress.json").write_text(json.dumps(known), "utf-8")
    assert Folder(folder.path).hint(RELU)[0] == 3
    kept = json.loads((folder.path / "progress.json").read_text("utf-8"))["exercises"]
    assert kept["gone"] == {"hints": 1} and kept["relu"]["seconds"] == 7 and kept["relu"]["hints"] == 3
