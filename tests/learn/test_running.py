"""Whatever a learner's code does, a check ends, in one line that says what happened."""

import functools
import sys

import numpy as np
import pytest

from minidl.errors import UsageError
from minidl.learn import EXERCISES, check, limits, running
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


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "latin-1"])
def test_bytes_that_are_no_text_are_named(tmp_path, codec):
    (path := tmp_path / "relu.py").write_bytes('def relu(x):\n    return "\u00e4"\n'.encode(codec))
    with pytest.raises(UsageError, match="is not a text in UTF-8: save it as one"):
        load(path, "relu")


@pytest.mark.parametrize(("codec", "newline"), [("utf-8", "\r\n"), ("utf-8-sig", "\n"), ("utf-8-sig", "\r\n")])
def test_a_file_of_another_editor_is_as_good(tmp_path, codec, newline):
    (path := tmp_path / "relu.py").write_bytes(newline.join(["def relu(x):", "\treturn 1", ""]).encode(codec))
    assert load(path, "relu")(0) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("    y = x\n    return undefined, y\n", "NameError in line 3: name 'undefined'"),
        ("    raise SystemExit\n", "SystemExit in line 2"),
        ("    assert False\n", "AssertionError in line 2"),
        ("    return x @ 1\n", "one side of @ is no array (that of a parameter is its .value)"),
        ("    return relu(x)\n", "RecursionError in line 2"),
        ("    return x\n", "Return y, mask: yours returns an array"),
        ("    pass\n", "Return y, mask: yours returns None"),
    ],
)
def test_what_a_function_raises_is_said_with_its_line(tmp_path, body, said):
    function = load(written(tmp_path, f"def relu(x):\n{body}"), "relu")
    verdict = check_function(RELU, function)
    assert not verdict.solved and said in str(verdict)


@pytest.mark.parametrize("caught", ["except Exception"] + ["except"] * (sys.version_info >= (3, 11)))
def test_an_endless_loop_ends(tmp_path, monkeypatch, caught):
    monkeypatch.setattr(limits, "SECONDS", 0.05)
    monkeypatch.setattr(limits, "AGAIN", 0.01)
    text = f"def relu(x):\n    while True:\n        try: x + x\n        {caught}: pass\n"
    function = load(written(tmp_path, text), "relu")
    verdict = check_function(RELU, function)
    assert verdict.found == "raises" and "doesn't end within 0.05 seconds" in str(verdict)


def test_an_endless_loop_is_waited_for_once(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 0.05)
    calls = []

    def relu(x):
        calls.append(1)
        while True:
            pass

    check_function(RELU, relu)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("    os._exit(0)\n", "SystemExit in line 3: 0"),
        ("    _exit(0)\n", "SystemExit in line 3: 0"),
        ("    input('x? ')\n", "EOFError in line 3: nobody types during a check"),
        ("    sys.stdin.readline()\n", "EOFError in line 3: nobody types during a check"),
        ("    raise BaseException('mine')\n", "BaseException in line 3: mine"),
        ("    raise type('Bad', (Exception,), {'__str__': lambda e: 1 / 0})\n", "Bad in line 3"),
        ("    np.zeros((10**6, 10**7))\n", "MemoryError in line 3"),
    ],
)
def test_whatever_a_function_does_the_program_goes_on(tmp_path, body, said):
    text = f"import os, sys; from os import _exit; import numpy as np\ndef relu(x):\n{body}"
    verdict = check_function(RELU, load(written(tmp_path, text), "relu"))
    assert not verdict.solved and said in str(verdict)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc/self/statm is Linux's")
@pytest.mark.slow
def test_a_list_without_end_runs_out_of_memory_not_the_machine(monkeypatch):
    monkeypatch.setattr(limits, "MEMORY", 1 << 28)

    def relu(x):
        kept = []
        while True:
            kept.append(bytearray(1 << 20))

    assert "It raises MemoryError" in str(check(relu))


def test_a_file_may_import_its_neighbours_as_they_are_now(tmp_path):
    text = "from dataclasses import dataclass\nimport relu_dx\n@dataclass\nclass A:\n    x: 'int'\n"
    text += "def relu(x):\n    from relu_dx import relu_dx as f\n    return relu_dx.number, f\n"
    path = written(tmp_path, text)
    for number in (1, 2):
        (tmp_path / "relu_dx.py").write_text(f"number = {number}\nrelu_dx = {10 * number}\n", "utf-8")
        assert load(path, "relu")(0) == (number, 10 * number)


def test_a_neighbour_that_is_not_begun_is_said():
    def relu(x):
        raise NotImplementedError("write relu_dx")

    assert "NotImplementedError" in str(check(relu)) and check(relu).found == "raises"


def test_of_long_prints_the_first_lines_are_shown(capsys):
    def relu(x):
        print("x\n" * 10000)
        print("y", file=sys.stderr)
        return np.maximum(x, 0), x > 0

    assert check(relu).solved
    out, err = capsys.readouterr()
    assert out.splitlines() == ["x"] * running.PRINTED + ["... and 9,972 more lines"] and not err


def test_prints_are_shown_for_the_first_input_only(capsys):
    def relu(x):
        print("x is", x.shape)
        return np.maximum(x, 0), x > 0

    assert check(relu).solved
    assert capsys.readouterr().out.count("x is") == 1


@pytest.mark.parametrize("given", [lambda x: x, functools.partial(max), "relu", None])
def test_what_has_no_name_is_refused(given):
    with pytest.raises(UsageError, match="give a function that has the name of its exercise"):
        check(given)


def test_a_function_without_an_exercise_gets_a_name_near_it():
    def conv2d_xd(): ...

    with pytest.raises(UsageError, match="did you mean conv2d_dx"):
        check(conv2d_xd)
