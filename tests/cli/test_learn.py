"""The command `learn`, and `train --with`: a learner's whole way."""

import re
from pathlib import Path

import pytest

from minidl.cli.programs import MINIDL
from minidl.learn import EXERCISES
from minidl.learn.source import filled
from tests.learn.started import started


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A started folder, which is the working directory."""
    monkeypatch.chdir(started(tmp_path / "mine").path)
    return tmp_path / "mine"


def run(capsys, *words):
    """(exit code, stdout, stderr) of `minidl learn`."""
    code = MINIDL.main(["learn", *words])
    return code, *capsys.readouterr()


def solve(*names):
    for name in names:
        Path(f"{name}.py").write_text(filled(EXERCISES[name]), "utf-8")


def test_start_says_where_to_begin(tmp_path, capsys):
    assert MINIDL.main(["learn", "start", str(tmp_path / "new")]) == 0
    out = capsys.readouterr().out
    file = tmp_path / "new" / "linear_forward.py"
    assert f"{len(EXERCISES)} new exercises in" in out and f"minidl learn check {file}" in out


def test_what_to_type_next_can_be_typed(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    _, out, _ = run(capsys, "start", "~/my course")
    assert f"minidl learn check '{tmp_path / 'my course' / 'linear_forward.py'}'" in out
    code, out, _ = run(capsys, "check", "my course/relu.py", "my course/relu.py")
    assert code == 1 and out.count("relu: not begun") == 1
    assert "minidl learn hint 'my course/linear_forward.py'" in out
    assert "hint 1 of 3" in run(capsys, "hint", "my course/linear_forward.py")[1]
    assert run(capsys, "list", "--folder", "my course", "relu")[1].count("[.]") == 1
    assert "my course is a folder: minidl learn check --folder 'my course'" in run(capsys, "check", "my course")[2]
    code, _, err = run(capsys, "check", "my course/relu.py", "relu")
    assert code == 2 and "name exercises of one folder, not of . and my course" in err


def test_a_wrong_answer_is_diagnosed_and_a_right_one_leads_on(folder, capsys):
    (folder / "relu_dx.py").write_text("def relu_dx(dy, mask):\n    return -dy * mask\n", "utf-8")
    code, out, _ = run(capsys, "check", "relu_dx")
    assert code == 1 and "relu_dx: not yet" in out and "wrong sign" in out
    solve("relu_dx")
    code, out, _ = run(capsys, "check", "relu_dx.py")
    assert code == 0 and "relu_dx: right" in out and "next: linear_forward.py" in out


def test_a_check_of_all_is_brief_about_what_is_not_begun(folder, capsys):
    solve("relu")
    code, out, _ = run(capsys, "check")
    assert code == 1 and f"1 of {len(EXERCISES)} solved, 0 not yet right" in out
    assert len(out.splitlines()) < 8


def test_a_file_that_python_cannot_read_is_not_yet_right_in_every_count(folder, capsys):
    Path("relu.py").write_text("def relu(x:\n", "utf-8")
    code, out, _ = run(capsys, "check")
    assert code == 1 and "relu: not yet" in out and f"0 of {len(EXERCISES)} solved, 1 not yet right" in out
    assert "[~] relu " in run(capsys, "list", "relu")[1]


@pytest.mark.slow
def test_a_check_of_all_is_zero_when_all_are_solved(folder, capsys):
    solve(*EXERCISES)
    code, out, _ = run(capsys, "check")
    assert code == 0 and "All exercises are solved." in out
    code, out, _ = run(capsys, "list")
    assert code == 0 and f"{len(EXERCISES)} of {len(EXERCISES)} solved" in out


def test_hints_come_in_their_order(folder, capsys):
    for number, hint in enumerate(EXERCISES["relu"].hints, 1):
        code, out, _ = run(capsys, "hint", "relu")
        assert code == 0 and f"hint {number} of 3" in out and hint[:30] in out


def test_the_solution_is_shown_after_asking_only(folder, capsys):
    code, out, err = run(capsys, "show", "relu")
    assert code == 2 and "xp.maximum" not in out and "Add --yes" in err
    code, out, _ = run(capsys, "show", "relu", "--yes")
    assert code == 0 and "xp.maximum" in out and re.match(r"# minidl/kernels/reference\.py, line \d+", out)
    assert "solution seen" in run(capsys, "list")[1]


def test_a_reset_asks_too_and_keeps_the_file(folder, capsys):
    (folder / "relu.py").write_text("mine", "utf-8")
    assert run(capsys, "reset", "relu")[0] == 2
    code, out, _ = run(capsys, "reset", "relu", "--yes")
    assert code == 0 and "relu.1.old" in out and (folder / "relu.1.old").read_text("utf-8") == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check", "rleu"], "no exercise 'rleu': did you mean relu"),
        (["hint"], "name one exercise: minidl learn hint NAME"),
        (["start"], "give the folder to make"),
        (["check", "--folder", "nowhere"], "has no exercises"),
        (["chekc"], "invalid choice"),
    ],
)
def test_wrong_words_are_one_line(folder, capsys, words, message):
    code, _, err = run(capsys, *words)
    assert code == 2 and message in err and len(err.splitlines()) == 1


@pytest.mark.slow
def test_watch_checks_a_file_at_each_save_and_ends_when_all_is_solved(folder, capsys, monkeypatch):
    from minidl.cli import learn

    solve(*EXERCISES)
    run(capsys, "check")
    (folder / "relu.py").write_text("def relu(x):\n    return x, x > 0\n", "utf-8")
    run(capsys, "check", "relu")
    texts = iter(["def relu(x):\n    return -x, x > 0\n", filled(EXERCISES["relu"])])
    monkeypatch.setattr(learn.time, "sleep", lambda seconds: (folder / "relu.py").write_text(next(texts), "utf-8"))
    code, out, _ = run(capsys, "watch")
    assert code == 0 and out.count("relu: not yet") == 1 and out.count("relu: right") == 1


def test_a_terminal_gets_colours_and_a_file_none(folder, capsys, monkeypatch):
    import sys

    solve("relu")
    assert "\x1b" not in run(capsys, "check", "relu")[1]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "\x1b[32mrelu: right\x1b[0m" in run(capsys, "check", "relu")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in run(capsys, "check", "relu")[1]


@pytest.mark.slow
def test_a_network_trains_on_the_learners_functions(folder, capsys):
    solve(*EXERCISES)
    flags = ["--epochs", "1", "--subset", "0.02", "--batch-size", "16", "--threads", "1", "--output", "runs"]
    assert MINIDL.main(["train", "--with", ".", *flags]) == 0
    out = capsys.readouterr().out
    assert "convnet" in out and "numpy plain" in out
    yours = next(line for line in out.splitlines() if line.startswith("yours"))
    for name in (
        "im2col",
        "col2im",
        "conv2d",
        "batch_norm_dx",
        "max_pool",
        "adam",
        "train_step",
        "sequential_backward",
    ):
        assert f"{name} (" in yours


def test_with_is_for_the_plain_engine(folder, capsys):
    assert MINIDL.main(["train", "--with", ".", "--engine", "fused"]) == 2
    assert "leave out --engine" in capsys.readouterr().err


@pytest.mark.parametrize(("folder_", "why"), [("nowhere", "has no exercises"), (".", "nothing in . is solved yet")])
def test_a_training_without_a_solved_exercise_does_not_begin(folder, capsys, folder_, why):
    assert MINIDL.main(["train", "--with", folder_, "--epochs", "1", "--subset", "0.01"]) == 2
    assert why in capsys.readouterr().err and not Path("runs").exists()
