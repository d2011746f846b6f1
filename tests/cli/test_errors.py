"""Every wrong request ends in one line on stderr that names it, and in the exit code of its class."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import train
from minidl.storage.weights import load_arrays, save_arrays
from tests.conftest import ENGINE
from tests.small_runs import PART

pytestmark = pytest.mark.usefixtures("sketches")
SMALL = [*PART, "--epochs", "1"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small finished run."""
    output = tmp_path_factory.mktemp("runs")
    assert train.main([*SMALL, "--output", str(output), "--name", "run"]) == 0
    return output / "run"


def answer(capsys, *argv):
    """(exit code, the one line on stderr) of a command that must fail."""
    capsys.readouterr()
    try:
        code = train.main([str(a) for a in argv])
    except SystemExit as stop:  # argparse
        code = stop.code
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert "Traceback" not in error
    return code, error


@pytest.mark.parametrize("command", ["fit", "eval", "predict"])
def test_a_command_that_refuses_tf32_has_the_flag_that_it_advises(finished, command, capsys):
    argv = {"fit": SMALL, "eval": ["eval", finished], "predict": ["predict", finished, "--split", "val"]}[command]
    argv = [*argv, "--output", finished.parent / command] if command != "eval" else argv
    code, line = answer(capsys, *argv, "--tf32")
    assert code == 2 and line.endswith("--tf32 is for --backend cupy: leave it out, or give --no-tf32\n")
    assert train.main([str(a) for a in [*argv, "--tf32", "--no-tf32"]]) == 0


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--epochs", "0"], "'0' is not a whole number of at least 1"),
        (["--epochs", "ten"], "'ten'"),
        (["--batch-size", "-1"], "--batch-size"),
        (["--batch-size", "1.5"], "'1.5'"),
        (["--lr", "0"], "--lr"),
        (["--lr", "nan"], "'nan'"),
        (["--lr", "inf"], "'inf'"),
        (["--weight-decay", "-1"], "--weight-decay"),
        (["--dropout", "1"], "--dropout"),
        (["--val-split", "1"], "--val-split"),
        (["--subset", "0"], "--subset"),
        (["--subset", "1.1"], "--subset"),
        (["--label-smoothing", "2"], "--label-smoothing"),
        (["--seed", "-3"], "--seed"),
        (["--seed", "18446744073709551616"], "18446744073709551616 is too large: give at most 18446744073709551615"),
        (["--epochs", "99999999999"], "99999999999 is too large"),
        (["--epochs", "9" * 5000], "--epochs"),
        (["--image-size", "4097"], "4097 is too large"),
        (["--threads", "1000000"], "1000000 is too large"),
        (["--workers", "1025"], "1025 is too large"),
        (["--lr", "1e400"], "'1e400'"),
        (["--name", "a" * 201], "'aaaa"),
        (["--name", "a\nb"], "'a\\nb'"),
        (["--name", ""], "--name"),
        (["--dropout", "nan"], "'nan'"),
        (["--threads", "-1"], "--threads"),
        (["--model", "resnet"], "choose from baseline, refined"),
        (["--optimizer", "lion"], "choose from"),
        (["--schedule", "poly"], "choose from"),
        (["--augment", "mixup"], "choose from"),
        (["--gray", "drop"], "choose from"),
        (["--engine", "warp"], "choose from"),
        (["--backend", "torch"], "choose from"),
        (["--preset", "fast"], "choose from"),
        (["--learning-rate", "1"], "--learning-rate"),
        (["--ema", "1"], "--ema"),
        (["--crop-area", "0"], "--crop-area"),
        (["--start-size", "40"], "add --augment crops"),
        (["--preset", "best", "--augment", "none"], "or --start-size 0"),
        (["--augment", "crops", "--start-size", "72"], "--start-size 72: images of 64 pixels"),
        (["--augment", "crops", "--start-size", "4"], "4x4"),
        (["--warmup-epochs", "1"], "--warmup-epochs 1"),
        (["--batch-size", "100000"], "100000"),
        (["--name", "a/b"], "'a/b'"),
        (["--name", ".."], "'..'"),
        (["trian"], "trian"),
    ],
)
def test_a_wrong_setting_is_named_and_exits_with_2(flags, named, tmp_path, capsys):
    base = [] if flags == ["trian"] else [*SMALL, "--output", tmp_path]
    code, error = answer(capsys, *base, *flags)
    assert code == 2
    assert named in error.replace("'", "") or named in error


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--data", "nowhere"], 3),
        (["--resume", "nowhere"], 3),
        (["eval", "nowhere"], 3),
        (["predict", "nowhere", "photo.jpg"], 3),
        (["check-data", "nowhere"], None),  # its list of problems is its answer, on stdout
        (["--init-from", "nowhere"], 3),
        (["download", "--url", "ftp://nowhere/file.zip"], 2),
    ],
)
def test_what_is_not_there_is_named(argv, code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if code is None:
        assert train.main(argv) == 3
        assert "nowhere" in capsys.readouterr().out
        return
    base = [*SMALL] if argv[0].startswith("--") else []
    got, error = answer(capsys, *argv, *base)
    assert got == code
    assert "nowhere" in error


def damaged(finished, tmp_path, change):
    """A copy of the run whose last and best checkpoints were changed."""
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    for file in (copy / "checkpoints").iterdir():
        change(file)
    return copy


def cut(file: Path):
    file.write_bytes(file.read_bytes()[:1000])


def garbage(file: Path):
    file.write_bytes(b"\0" * 4096)


def empty(file: Path):
    file.write_bytes(b"")


def html(file: Path):
    file.write_text("<html>404 not found</html>")


def only_weights(file: Path):
    save_file({"fc.weight": np.zeros((2, 2), np.float32)}, file)


def other_format(file: Path):
    edit(file, lambda header: header.update(format=99))


def no_state(file: Path):
    edit(file, lambda header: header.pop("state"))


def odd_state(file: Path):
    edit(file, lambda header: header["state"].update(colour="red"))


def other_model(file: Path):
    edit(file, lambda header: header["about"].update(model="refined"))


def unknown_model(file: Path):
    edit(file, lambda header: header["about"].update(model="resnet"))


def fewer_classes(file: Path):
    edit(file, lambda header: header["about"].update(classes=["a", "b"], words=["a", "b"]))


def not_json(file: Path):
    arrays, _ = load_arrays(file)
    save_arrays(file, arrays, {"minidl": "{"})


def edit(file: Path, change):
    arrays, metadata = load_arrays(file)
    header = json.loads(metadata["minidl"])
    change(header)
    save_arrays(file, arrays, {"minidl": json.dumps(header)})


@pytest.mark.parametrize("command", ["eval", "resume"])
@pytest.mark.parametrize(
    "change",
    [cut, garbage, empty, html, only_weights, other_format, no_state, odd_state, not_json, fewer_classes],
)
def test_a_damaged_checkpoint_is_named_and_exits_with_3(command, change, finished, tmp_path, capsys):
    copy = damaged(finished, tmp_path, change)
    code, error = answer(capsys, *(["--resume", copy] if command == "resume" else ["eval", copy]))
    assert code == 3
    assert "safetensors" in error


def test_a_checkpoint_of_another_model_names_what_is_missing(finished, tmp_path, capsys):
    code, error = answer(capsys, "eval", damaged(finished, tmp_path, other_model))
    assert code == 3
    assert "missing" in error and "unexpected" in error


def test_an_unknown_model_in_a_checkpoint_is_named(finished, tmp_path, capsys):
    code, error = answer(capsys, "eval", damaged(finished, tmp_path, unknown_model))
    assert code == 3
    assert "'resnet'" in error


def test_a_checkpoint_name_that_is_not_there_lists_those_that_are(finished, capsys):
    code, error = answer(capsys, "eval", finished, "--checkpoint", "epoch-007")
    assert code == 3
    assert "best, last" in error


@pytest.mark.parametrize(("text", "code"), [("{", 3), ('{"colour": "red"}', 3), ("[]", 3)])
def test_a_damaged_config_is_named(text, code, finished, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    (copy / "config.json").write_text(text)
    got, error = answer(capsys, "--resume", copy)
    assert got == code
    assert "config.json" in error


def test_a_folder_that_is_no_run_is_named(tmp_path, capsys):
    code, error = answer(capsys, "eval", tmp_path)
    assert code == 3
    assert str(tmp_path) in error


def test_a_run_folder_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code, error = answer(capsys, *SMALL, "--output", tmp_path / "file")
    assert code == 3
    assert str(tmp_path / "file") in error


def test_predict_needs_images_or_a_split_and_not_both(finished, capsys):
    assert answer(capsys, "predict", finished)[0] == 2
    assert answer(capsys, "predict", finished, "a.jpg", "--split", "val")[0] == 2
    assert answer(capsys, "predict", finished, "--split", "test")[0] == 2  # shapes has none


@pytest.mark.parametrize(
    ("flags", "named"),
    [(["--engine", "warp"], "fused"), (["--threads", "-1"], "--threads"), (["--threads", "two"], "two")],
)
@pytest.mark.parametrize("command", ["eval", "predict"])
def test_a_wrong_engine_or_number_of_threads_is_named(command, flags, named, finished, capsys):
    code, error = answer(capsys, command, finished, *flags)
    assert code == 2
    assert named in error


def test_a_photo_that_is_none_is_named(finished, tmp_path, capsys):
    for name, content in (("a.jpg", b"not a picture"), ("b.png", b"")):
        (tmp_path / name).write_bytes(content)
        code, error = answer(capsys, "predict", finished, tmp_path / name)
        assert code == 3
        assert name in error
    assert answer(capsys, "predict", finished, tmp_path / "missing.jpg")[0] == 3


def test_classes_named_in_html_do_no_harm(finished, tmp_path, capsys):
    """Words with markup, commas and quotes pass through eval and the predictions' CSV unharmed."""
    import csv

    words = ['<script>alert("1")</script>', "a, b", 'say "no"', "naïve", "$x_1$"] * 4
    copy = damaged(finished, tmp_path, lambda file: edit(file, lambda header: header["about"].update(words=words)))
    assert train.main(["eval", str(copy), *ENGINE]) == 0
    assert train.main(["predict", str(copy), "--split", "val", *ENGINE]) == 0
    with (copy / "predictions" / "val.csv").open(newline="", encoding="utf-8") as file:
        assert {row["words1"] for row in csv.DictReader(file)} <= set(words)


def test_names_can_neither_act_on_a_terminal_nor_make_lines_nor_be_formulas(finished, tmp_path, capsys):
    hostile = ["\x1b]0;owned\x07", "a\n 99.9 %  b", "=1+1", "\u202egpj", "@SUM(A1)\r"] * 4
    copy = damaged(finished, tmp_path, lambda file: edit(file, lambda header: header["about"].update(words=hostile)))
    for argv in (["eval", str(copy)], ["predict", str(copy), "--split", "val"]):
        capsys.readouterr()
        assert train.main([*argv, *ENGINE]) == 0
        out, err = capsys.readouterr()
        assert (out + err).replace("\n", "").isprintable()
        assert not any(line.startswith(" 99.9 %  b") for line in out.splitlines()), out
    for name in ("val.csv", "val.txt"):
        text = (copy / "predictions" / name).read_text(encoding="utf-8")
        assert text.replace("\n", "").isprintable() and not {",=", ",@"} & {text[i : i + 2] for i in range(len(text))}
    assert "'=1+1" in (copy / "predictions" / "val.csv").read_text(encoding="utf-8")
