"""What `export` and `import-torch` may replace, and what they never do."""

import os
import signal

import numpy as np
import pytest

import models
import train
from minidl.cli import export as exporting
from minidl.exchange.torch_writer import write_state_dict
from minidl.storage.weights import to_torch_state_dict
from minidl.training.checkpoints import export_checkpoint
from minidl.training.config import Config
from minidl.training.runs import Run
from tests.exchange.trained import trained
from tests.strategies import randomized


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with a run of a convnet, the file convnet.pth, and its old checkpoint convnet.safetensors."""
    monkeypatch.chdir(tmp_path)
    run = Run.create(tmp_path, "run", Config(model="convnet"))
    for name in ("best", "last"):
        export_checkpoint(run.checkpoint(name), trained()[0])
    network = randomized(models.build("convnet", classes=2), np.random.default_rng(1))
    write_state_dict("convnet.pth", to_torch_state_dict(network))
    (tmp_path / "convnet.safetensors").write_text("precious")
    return tmp_path


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


IMPORT = ("import-torch", "convnet.pth", "--model", "convnet")


def refused(capsys, *argv, code=2):
    capsys.readouterr()
    assert train.main([*argv]) == code
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (("export", "run"), "convnet.safetensors is there already: give --output another name"),
        (("export", "run", "--to", "torch"), "convnet.pth is there already"),
        (IMPORT, "convnet.safetensors is there already"),
        (("export", "run", "--output", "run/checkpoints/best.safetensors"), "the file itself would be overwritten"),
        (
            ("export", "run", "--output", "run/checkpoints/last.safetensors"),
            "only training writes to the checkpoints",
        ),
        (("export", "run", "--output", "run/checkpoints/new.pth"), "only training writes to the checkpoints"),
        ((*IMPORT, "--output", "run/checkpoints/last.safetensors"), "only training writes to the checkpoints"),
        (("export", "run", "--output", "x.h5"), "the ending .h5 is none of .safetensors, .pth, .pt, .onnx: say the"),
        (("export", "run", "--output", "new/"), "--output new/: a folder"),
        (
            ("export", "convnet.safetensors", "--checkpoint", "last"),
            "--checkpoint last: convnet.safetensors isn't a run",
        ),
        (
            ("export", "--pretrained", "refined", "--checkpoint", "last"),
            "--checkpoint last: refined isn't a run folder",
        ),
        (("export", "run", "--checkpoint", "../../run/checkpoints/last"), "a plain name"),
    ],
)
def test_what_nobody_said_may_be_replaced_is_kept(place, capsys, argv, line):
    before = contents(place)
    assert line in refused(capsys, *argv)
    assert contents(place) == before


@pytest.mark.parametrize("output", [".", "./", "run", "nowhere/net.safetensors"])
def test_a_place_that_takes_no_file_is_one_line_before_anything_is_read(place, capsys, monkeypatch, output):
    monkeypatch.setattr(exporting, "load_checkpoint", lambda path: pytest.fail("it was read"))
    monkeypatch.setattr("minidl.exchange.imports.import_weights", lambda *a: pytest.fail("it was read"))
    code = 2 if output.endswith("/") else 3
    for argv in (("export", "run"), IMPORT):
        assert output.rstrip("/") in refused(capsys, *argv, "--output", output, code=code)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_is_not_replaced_and_a_link_is_followed(place, capsys):
    os.mkfifo(place / "pipe.safetensors")
    for argv in (("export", "run"), IMPORT):
        assert "pipe" in refused(capsys, *argv, "--output", "pipe.safetensors", code=3)
        (place / "link.safetensors").unlink(missing_ok=True)
        (place / "link.safetensors").symlink_to("convnet.safetensors")
        (place / "convnet.safetensors").write_text("old")
        assert train.main([*argv, "--output", "link.safetensors"]) == 0
        assert (place / "link.safetensors").is_symlink() and (place / "convnet.safetensors").stat().st_size > 1000
    assert (place / "pipe.safetensors").is_fifo()


def test_a_card_replaces_a_card_and_nothing_else(place, capsys):
    (place / "net.pth.md").write_text("My notes.\n")
    assert "a file of yours" in refused(capsys, "export", "run", "--output", "net.pth")
    assert (place / "net.pth.md").read_text() == "My notes.\n" and not (place / "net.pth").exists()
    (place / "net.pth.md").unlink()
    for _ in range(2):
        assert train.main(["export", "run", "--output", "net.pth"]) == 0


@pytest.mark.usefixtures("hears_ctrl_c")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_leaves_nothing_behind_and_is_answered_by_a_line(place, capsys, monkeypatch, name, code):
    def stopped(*arguments):
        assert [path for path in os.listdir() if path.startswith(".tmp-")]
        signal.raise_signal(getattr(signal, name))

    monkeypatch.setattr("minidl.exchange.export.card", stopped)
    before, handler = contents(place), signal.getsignal(signal.SIGTERM)
    assert "interrupted" in refused(capsys, "export", "run", "--output", "net.pth", code=code)
    assert contents(place) == before and not [path for path in os.listdir() if path.startswith(".tmp-")]
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_printed_command_can_be_pasted(place, capsys):
    assert train.main([*IMPORT, "--output", "g ö.safetensors"]) == 0
    assert "predict 'g ö.safetensors' PHOTO" in capsys.readouterr().out


def test_what_imported_weights_and_onnx_files_lack_is_said(place, capsys):
    assert train.main([*IMPORT, "--output", "net.safetensors"]) == 0
    assert "net.safetensors: imported weights, which have no data set: give --data" in refused(
        capsys, "eval", "net.safetensors", code=3
    )
    (place / "net.onnx").write_bytes(b"\x08\x08\x12\x06minidl" + bytes(100))
    for argv in (("predict", "net.onnx", "photo.jpg"), ("export", "net.onnx", "--output", "a.pth")):
        assert "an ONNX file, which can't be read back" in refused(capsys, *argv, code=3)
