"""The exercises as notebooks for a class: a notebook a chapter, in the form that nbgrader takes.

The cells of a notebook are marked. A solution cell holds the real body between two marks, which nbgrader replaces by
"YOUR CODE HERE". A test cell after it is read-only and gives a point; between two other marks it holds a test with
other inputs, which nbgrader takes out of what students get, and puts back to grade.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minidl.errors import UsageError
from minidl.learn.exercise import Exercise
from minidl.learn.exercises import EXERCISES, ORDER
from minidl.learn.source import body, given, imports, opening
from minidl.storage.files import atomic

HIDDEN_SEED = 1


def write_notebooks(course: Path) -> list[Path]:
    """Writes course/source/CHAPTER/CHAPTER.ipynb for every chapter, and returns their paths.

    Raises UsageError if one of them exists: a teacher may have changed it.
    """
    paths = [course / "source" / chapter / f"{chapter}.ipynb" for chapter in ORDER]
    if there := [path for path in paths if path.exists()]:
        raise UsageError(f"{there[0]} exists already: give another folder")
    for path, names in zip(paths, ORDER.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            temporary.write_text(json.dumps(notebook([EXERCISES[name] for name in names]), indent=1) + "\n", "utf-8")
    return paths


def notebook(exercises: list[Exercise]) -> dict[str, Any]:
    """A notebook of these exercises of one chapter, as nbformat 4.5."""
    chapter = exercises[0].chapter
    cells = [
        _cell("markdown", f"{chapter}-title", f"# {chapter}\n\nRead docs/learn/{chapter}.py first."),
        _cell("code", f"{chapter}-check", "from minidl.learn import check"),
    ]
    for exercise in exercises:
        solution = ["### BEGIN SOLUTION", *(line[4:] for line in body(exercise)), "### END SOLUTION"]
        code = [
            *imports(exercise),
            *given(exercise),
            "",
            "",
            *opening(exercise),
            *("    " + line if line else "" for line in solution),
        ]
        cells += [
            _cell("markdown", f"{exercise.name}-task", f"## {exercise.name}\n\n{exercise.task}"),
            _cell("code", exercise.name, "\n".join(code), solution=True),
            _cell("code", f"{exercise.name}-test", _test(exercise.name), points=1),
        ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def _test(name: str) -> str:
    return "\n".join(
        [
            "from minidl.learn import check",
            "",
            f"verdict = check({name})",
            "print(verdict)",
            f'assert verdict.solved, "{name} is not right yet"',
            "### BEGIN HIDDEN TESTS",
            f'assert check({name}, seed={HIDDEN_SEED}).solved, "{name} is not right for other inputs"',
            "### END HIDDEN TESTS",
        ]
    )


def _cell(kind: str, name: str, source: str, solution: bool = False, points: int = 0) -> dict[str, Any]:
    """A cell; nbgrader's mark says whether students write it, and what it is worth."""
    cell: dict[str, Any] = {"cell_type": kind, "id": name.replace("_", "-"), "metadata": {}}
    if solution or points:
        mark = {"schema_version": 3, "grade_id": name, "grade": bool(points), "locked": not solution, "task": False}
        cell["metadata"]["nbgrader"] = mark | {"solution": solution} | ({"points": points} if points else {})
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    cell["source"] = source.splitlines(keepends=True)
    return cell
