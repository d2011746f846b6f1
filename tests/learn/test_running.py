"""Whatever a learner's code does, a check ends, in one line that says what happened."""

import numpy as np
import pytest

from minidl.errors import UsageError
from minidl.learn import EXERCISES, check, running
from minidl.learn.check import check_function
from minidl.learn.running import load

RELU = EXERCISES["relu"]


def written(tmp_path, text):
    (path := tmp_path / "relu.py").write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def relu(x:\n", r"relu\.py, line 1: "),
        ("import nothing_of_this_name\n", r"can't be imported: ModuleNotFoundError in line 1: No module named"),
        ("raise SystemExit(3)\n", r"can't be imported: SystemExit in line 1: 3"),
        ("def rely(x): ...\n", r"has no function relu: keep the name"),
        ("relu = 3\n", r"has no function relu"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path, text, message):
    with pytest.raises(UsageError, match=message) as caught:
        load(written(tmp_path, text), "relu")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_gone_says_how_to_get_it_back(tmp_path):
    with pytest.raises(UsageError, match="`minidl learn reset relu` writes it anew"):
        load(tmp_path / "relu.py", "relu")


def test_bytes_that_are_no_text_are_named(tmp_path):
    (path := tmp_path / "relu.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="can't be read"):
        load(path, "relu")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("    y = x\n    return undefined, y\n", "NameError in line 3: name 'undefined'"),
        ("    raise SystemExit\n", "SystemExit in line 2"),
        ("    assert False\n", "AssertionError in line 2"),
        ("    return relu(x)\n", "RecursionError in line 2"),
        ("    return x\n", "Return y, mask: yours returns an array"),
        ("    pass\n", "Return y, mask: yours returns None"),
    ],
)
def test_what_a_function_raises_is_said_with_its_line(tmp_path, body, said):
    function = load(written(tmp_path, f"def relu(x):\n{body}"), "relu")
    verdict = check_function(RELU, function)
    assert not verdict.solved and said in str(verdict)


def test_an_endless_loop_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "SECONDS", 0.05)
    function = load(
        written(tmp_path, "def relu(x):\n    while True:\n        try: x + x\n        except Exception: pass\n"),
        "relu",
    )
    verdict = check_function(RELU, function)
    assert verdict.found == "raises" and "doesn't end within 0.05 seconds" in str(verdict)


def test_prints_are_shown_for_the_first_input_only(capsys):
    def relu(x):
        print("x is", x.shape)
        return np.maximum(x, 0), x > 0

    assert check(relu).solved
    assert capsys.readouterr().out.count("x is") == 1


def test_a_function_without_an_exercise_gets_a_name_near_it():
    def conv2d_xd(): ...

    with pytest.raises(UsageError, match="did you mean conv2d_dx"):
        check(conv2d_xd)
