"""An exercise's file is the real source: without its body, or with it."""

import ast
import inspect

import pytest

from minidl.kernels import reference
from minidl.learn import EXERCISES, show
from minidl.learn.check import check_function
from minidl.learn.running import load
from minidl.learn.source import blanked, filled, real_source

every_exercise = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda e: e.name)


@every_exercise
def test_the_blanked_file_can_be_imported_and_says_that_it_is_not_begun(exercise, tmp_path):
    (path := tmp_path / f"{exercise.name}.py").write_text(blanked(exercise), "utf-8")
    verdict = check_function(exercise, load(path, exercise.name))
    assert not verdict.solved and verdict.found == "not begun"


@every_exercise
def test_the_file_with_the_real_body_is_right(exercise, tmp_path):
    (path := tmp_path / f"{exercise.name}.py").write_text(filled(exercise), "utf-8")
    verdict = check_function(exercise, load(path, exercise.name))
    assert verdict.solved, str(verdict)


@every_exercise
def test_the_blanked_file_has_the_docstring_and_no_line_of_the_body(exercise):
    text = blanked(exercise)
    (function,) = [n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)]
    assert ast.get_docstring(function)
    node = ast.parse(real_source(exercise.reference)).body[0]
    lines = {
        ast.unparse(n) for n in node.body if not isinstance(n, ast.Expr) or not isinstance(n.value, ast.Constant)
    }
    assert not {line for line in lines if line in text.rpartition('"""')[2]}


def test_a_file_says_how_the_functions_it_is_given_are_called():
    text = blanked(EXERCISES["im2col"])
    assert "# out_size(x_shape, kernel, stride, padding): (OH, OW): how many windows fit" in text
    assert "# offsets(kernel, stride, out): Yields (k, rows, columns)" in text


def test_show_prints_the_place_and_the_source_of_today(capsys):
    show(reference.col2im)
    first, _, rest = capsys.readouterr().out.partition("\n")
    assert first.startswith("# minidl/kernels/reference.py, line ")
    assert rest.strip() == inspect.getsource(reference.col2im).strip()
