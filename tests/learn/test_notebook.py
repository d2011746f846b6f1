"""The notebooks of a class: nbgrader's marks, the real bodies between the marks of a solution."""

import json

import pytest

from minidl.errors import UsageError
from minidl.learn import EXERCISES
from minidl.learn.exercises import ORDER
from minidl.learn.notebook import write_notebooks
from minidl.learn.source import body


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory):
    paths = write_notebooks(tmp_path_factory.mktemp("course"))
    return {path.stem: json.loads(path.read_text("utf-8")) for path in paths}


def test_every_exercise_is_a_solution_and_a_locked_test_of_one_point(notebooks):
    assert list(notebooks) == list(ORDER)
    for chapter, names in ORDER.items():
        marks = [c["metadata"]["nbgrader"] for c in notebooks[chapter]["cells"] if c["metadata"]]
        assert [m["grade_id"] for m in marks] == [f"{name}{end}" for name in names for end in ("", "-test")]
        assert [(m["solution"], m["locked"], m["grade"]) for m in marks] == [
            (True, False, False),
            (False, True, True),
        ] * len(names)
        assert sum(m.get("points", 0) for m in marks) == len(names)


def test_the_ids_of_the_cells_differ(notebooks):
    for notebook in notebooks.values():
        ids = [cell["id"] for cell in notebook["cells"]]
        assert len(set(ids)) == len(ids)


def test_the_solution_stands_between_the_marks_and_nowhere_else(notebooks):
    for notebook in notebooks.values():
        for cell in notebook["cells"]:
            if not cell["metadata"].get("nbgrader", {}).get("solution"):
                continue
            exercise = EXERCISES[cell["metadata"]["nbgrader"]["grade_id"]]
            before, _, rest = "".join(cell["source"]).partition("    ### BEGIN SOLUTION\n")
            inside, _, after = rest.partition("    ### END SOLUTION")
            assert inside.splitlines() == body(exercise) and after == ""
            assert body(exercise)[-1] not in before


def test_a_notebook_with_its_solutions_passes_its_tests(notebooks):
    names: dict = {}
    for cell in notebooks["01_linear"]["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "cell", "exec"), names)


def test_notebooks_that_exist_are_left_alone(tmp_path):
    first, *_ = write_notebooks(tmp_path)
    first.write_text("a teacher's", "utf-8")
    with pytest.raises(UsageError, match="exists already: give another folder"):
        write_notebooks(tmp_path)
    assert first.read_text("utf-8") == "a teacher's"
