"""Every failure inside a command ends in one line and an exit code."""

import errno
import io
import logging
import os
import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import minidl
import train
import visualize
from minidl.cli.boundary import run_guarded
from minidl.cli.parser import Command, Program
from minidl.cli.programs import MINIDL, TRAIN_PY, VISUALIZE_PY
from minidl.errors import DataError, DivergedError, UsageError, printable
from minidl.storage.files import append_line
from minidl.text import calls, console

ROOT = Path(__file__).parents[2]


def fails(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("--lr 7"), 2, "train.py: --lr 7"),
        (DataError("a.png: damaged"), 3, "train.py: a.png: damaged"),
        (DivergedError("no number"), 4, "train.py: no number"),
        (MemoryError(), 5, "train.py: out of memory"),
        (PermissionError(errno.EACCES, "Permission denied", "her/run"), 3, "train.py: her/run: Permission denied"),
        (FileExistsError(errno.EEXIST, "File exists", b"caf\xe9"), 3, r"train.py: caf\udce9: File exists"),
        (OSError(errno.ENOSPC, "No space left on device"), 3, "the output can't be written: No space left"),
        (UnicodeEncodeError("utf-8", "\udce9", 0, 1, "surrogates not allowed"), 3, "surrogates not allowed"),
        (RuntimeError("Could not determine home directory."), 3, "MINIDL_CACHE"),
        (RuntimeError("can't start new thread"), 5, "--threads"),
        (OverflowError("too large"), 1, "internal error (OverflowError: too large): please report it"),
        (KeyError("lr"), 1, "internal error (KeyError: 'lr')"),
        (RecursionError(), 1, "internal error (RecursionError)"),
        (DataError("two\nlines \x1b[31m"), 3, r"two\nlines \x1b[31m"),
    ],
)
def test_every_failure_is_one_line_and_the_exit_code_of_its_class(error, code, said, capsys):
    assert run_guarded("train.py", fails(error)) == code
    line = capsys.readouterr().err
    assert line.startswith("train.py: ") and said in line and line.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (BrokenPipeError(), 141), (SystemExit(0), 0)]
)
def test_what_the_user_did_needs_no_line(error, code, capsys):
    assert run_guarded("train.py", fails(error)) == code
    assert capsys.readouterr().err == ""


def test_the_traceback_of_an_error_is_there_for_who_asks(monkeypatch, capsys):
    monkeypatch.setenv("MINIDL_TRACEBACK", "1")
    assert run_guarded("train.py", fails(KeyError("lr"))) == 1
    assert "Traceback" in capsys.readouterr().err


class Refuses(io.RawIOBase):
    """A file that takes nothing, as a full disk or a pipe without a reader does."""

    def __init__(self, number):
        self.number = number

    def writable(self):
        return True

    def write(self, data):
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 3), (errno.EIO, 3), (errno.EPIPE, 141)])
@pytest.mark.parametrize(
    "command", [lambda: run_guarded("train.py", lambda: print("answer") or 0), lambda: train.main(["--help"])]
)
def test_output_that_is_lost_when_the_program_ends_is_no_success(number, code, command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(Refuses(number))))
    assert command() == code
    assert capsys.readouterr().err.count("\n") == (code == 3)
    monkeypatch.setattr(sys.stdout.buffer.raw, "write", len)  # so that closing it raises nothing


def test_a_closed_stdout_and_stderr_are_as_if_they_went_nowhere(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert run_guarded("train.py", lambda: print("answer") or print("line", file=sys.stderr) or 0) == 0
    assert run_guarded("train.py", fails(DataError("nobody hears"))) == 3


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_characters_that_stdout_lacks_are_written_as_escapes(encoding, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    assert run_guarded("train.py", lambda: print("日本 caf\udce9") or 0) == 0
    assert stream.buffer.getvalue().decode(encoding).endswith("caf\\udce9\n")


def test_names_for_the_screen_have_no_control_characters():
    assert printable("a\nb\t\x1b\x00é日 \udce9") == r"a\nb\t\x1b\x00é日 \udce9"


HOSTILE = "\x1b]0;owned\x07\u202e\nepoch 9"
ESCAPED = r"\x1b]0;owned\x07\u202e\nepoch 9"


def test_everything_printed_is_one_line_without_control_characters(capsys):
    console.print_lines(HOSTILE, "two")
    assert console.show(HOSTILE) and console.warn(HOSTILE)
    assert capsys.readouterr() == (f"{ESCAPED}\ntwo\n{ESCAPED}\n", f"{ESCAPED}\n")


@pytest.mark.parametrize("tell", [lambda text: warnings.warn(text, stacklevel=1), logging.getLogger("PIL").warning])
def test_what_a_library_warns_of_or_logs_is_one_line_too(tell, monkeypatch, capsys):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own
    assert run_guarded("train.py", lambda: tell(HOSTILE) or 0) == 0
    assert capsys.readouterr().err == f"warning  {ESCAPED}\n"


def test_a_line_of_a_log_is_one_line(tmp_path):
    append_line(tmp_path / "log.txt", HOSTILE)
    assert (tmp_path / "log.txt").read_text(encoding="utf-8") == f"{ESCAPED}\n"


# ------------------------------------------------------------- the command line itself


@pytest.mark.parametrize(
    ("script", "argv", "named"),
    [
        (train, ["--epochz", "3"], ["--epochz", "did you mean --epochs?", "train.py fit --help"]),
        (train, ["fit", "--nonsense"], ["--nonsense", "train.py fit --help"]),
        (train, ["predict", "run", "--splt", "val"], ["did you mean --split?", "train.py predict --help"]),
        (train, ["find-lr", "--pictur=x.jpg", "--mdel", "refined"], ["--mdel", "--model", "find-lr --help"]),
        (train, ["check-data"], ["DATA", "train.py check-data --help"]),
        (train, ["evaluate"], ["'evaluate'", "eval", "train.py --help"]),
        (visualize, ["deconv", "run", "--unti", "3"], ["did you mean --unit?", "visualize.py deconv --help"]),
        (train, ["deconv", "run"], ["`python visualize.py deconv`"]),
        (visualize, ["eval", "run"], ["`python train.py eval`"]),
        (MINIDL, ["deconv", "run", "--unti", "3"], ["did you mean --unit?", "minidl deconv --help"]),
        (MINIDL, ["fit", "--nonsense"], ["--nonsense", "minidl fit --help"]),
        (MINIDL, ["learn"], ["required: ACTION (see minidl learn --help)"]),
        (MINIDL, ["layers", "run", "--output", "figures"], ["--output"]),  # it draws nothing
        (MINIDL, ["evaluate"], ["'evaluate'", "did you mean eval?", "minidl --help"]),
        (MINIDL, ["--epochs", "3"], ["'--epochs'", "choose train, eval", "minidl --help"]),
    ],
)
def test_a_wrong_flag_points_to_the_help_that_lists_the_right_ones(script, argv, named, capsys):
    assert script.main(argv) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and all(name in line for name in named), line
    assert line.startswith("minidl: " if script is MINIDL else f"{script.__name__}.py: ")


@pytest.mark.parametrize("program", [MINIDL, TRAIN_PY, VISUALIZE_PY], ids=lambda program: program.name)
def test_help_is_printed_for_a_program_and_for_every_command(program, capsys):
    assert program.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in program.commands)
    for name in [*program.commands, *program.aliases]:
        assert program.main([name, "--help"]) == 0
        assert f"{program.name} {name}" in capsys.readouterr().out


@pytest.mark.parametrize("program", [MINIDL, VISUALIZE_PY], ids=lambda program: program.name)
def test_without_a_command_the_help_is_printed(program, capsys):
    assert program.main(["--help"]) == 0
    text = capsys.readouterr().out
    for argv in ([], ["-h"], ["help"]):
        assert program.main(argv) == 0
        assert capsys.readouterr().out == text


@pytest.mark.parametrize("columns", [1, 60, 100])
def test_the_help_is_as_wide_as_the_terminal(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert max(map(len, MINIDL.help().splitlines())) <= max(columns, 56)


def test_help_with_a_command_is_the_help_of_the_command(capsys):
    assert MINIDL.main(["help", "eval"]) == 0
    text = capsys.readouterr().out
    assert MINIDL.main(["eval", "--help"]) == 0
    assert capsys.readouterr().out == text and "--whole" in text


def test_minidl_has_every_command_of_the_scripts_and_says_its_version(capsys):
    names = {"fit": "train", "search": "search-plot"}
    assert {names.get(name, name) for name in VISUALIZE_PY.commands} <= set(MINIDL.commands)
    assert {"train" if name == "fit" else name for name in TRAIN_PY.commands} <= set(MINIDL.commands)
    assert MINIDL.aliases == {"fit": "train"}
    assert MINIDL.main(["--version"]) == 0
    assert capsys.readouterr().out == f"minidl {minidl.__version__}\n"


@pytest.mark.parametrize(
    ("program", "argv", "said"),
    [
        (TRAIN_PY, ["fit", "--data", "nowhere"], "`python train.py download`"),
        (VISUALIZE_PY, ["top", "--pretrained", "refined", "--data", "nowhere"], "`python train.py download`"),
        (VISUALIZE_PY, ["top", "--pretrained", "refined", "--layer", "no"], "`python visualize.py layers RUN`"),
        (VISUALIZE_PY, ["top", "--help"], "`python visualize.py layers`"),
        (VISUALIZE_PY, ["search", "--help"], "`python train.py search`"),
        (MINIDL, ["train", "--data", "nowhere"], "`minidl download`"),
        (MINIDL, ["top", "--pretrained", "refined", "--layer", "no"], "`minidl layers RUN`"),
        (MINIDL, ["gradcam", "--help"], "`minidl layers`"),
        (MINIDL, ["search-plot", "--help"], "`minidl search`"),
    ],
)
def test_what_to_type_next_is_a_command_of_the_program_that_was_called(
    program, argv, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    program.main(argv)
    text = "".join(capsys.readouterr())
    assert said in " ".join(text.split())
    assert program is not MINIDL or ".py" not in text


def test_no_command_loads_what_draws_and_what_only_other_people_need_before_it_runs():
    heavy = "{'torch', 'cupy', 'sklearn', 'matplotlib', 'optuna'}"
    code = f"import sys, minidl.cli.programs; print({heavy} & {{*sys.modules}})"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "set()\n"


@pytest.mark.parametrize("program", ["train.py", "visualize.py", "minidl/__main__.py"])
def test_an_interrupt_while_the_program_is_loaded_needs_no_line(program, monkeypatch, capsys):
    class Interrupted:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == "minidl.cli.programs":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "minidl.cli.programs")
    monkeypatch.setattr(sys, "meta_path", [Interrupted, *sys.meta_path])
    monkeypatch.setattr(sys, "argv", [program])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / program), run_name="__main__")
    assert ended.value.code == 130 and capsys.readouterr() == ("", "")


def test_the_name_of_a_program_lasts_as_long_as_it_runs():
    seen = []
    show = Command(lambda args: seen.append(calls.program()) or 0, lambda parser: None, "Shows.")
    assert Program("other", "", {"": {"show": show}}).main(["show"]) == 0
    assert (seen, calls.program(), calls.call("eval")) == (["other"], "minidl", "minidl eval")


@pytest.mark.parametrize(
    "argv",
    [
        ["predict", "run", "--checkpoint", "last", "a.png", "--threads", "2", "b.png"],
        ["predict", "--checkpoint", "last", "run", "a.png", "b.png", "--threads", "2"],
        ["predict", "--checkpoint=last", "--threads=2", "run", "--", "a.png", "b.png"],
    ],
)
def test_flags_may_stand_anywhere_between_the_arguments(argv):
    args = TRAIN_PY.parse(argv)
    assert (args.paths, args.checkpoint, args.threads) == (["run", "a.png", "b.png"], "last", 2)


def test_flags_may_stand_before_or_after_an_argument_that_is_needed():
    for argv in (["check-data", "pets", "--image-size", "8"], ["check-data", "--image-size", "8", "pets"]):
        args = TRAIN_PY.parse(argv)
        assert (args.folder, args.image_size) == ("pets", 8)
