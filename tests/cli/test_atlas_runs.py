"""The command `atlas` as its users call it: what it takes, what it refuses in one line, and how it goes on."""

import os
import shutil

import numpy as np
import pytest

import train
import visualize
from minidl.atlas.pictures import Pictures
from tests.atlas.reading import read
from tests.tiny_fixture import write_image

CLASSES = ("<img src=x onerror=alert(1)>", "\u202e\u05d0 \U0001f600")
FEW = ("--layers", "conv1,,fc", "--units", "1", "--threads", "1")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a data set of hostile names, and with two runs of other image sizes on it."""
    root = tmp_path_factory.mktemp("atlas")
    for split in ("train", "val"):
        for name in CLASSES:
            (root / "data" / split / name).mkdir(parents=True)
            for file in ("0", "<script>", os.fsdecode(b"\xff"), "\u2028"):
                write_image(root / "data" / split / name / f"{file}.png", size=(16, 16))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIDL_CACHE", str(root / "cache"))
        for size in ("16", "24"):
            flags = ["--data", str(root / "data"), "--image-size", size, "--model", "convnet", "--batch-size", "4"]
            more = [
                "--epochs",
                "2",
                "--snapshot-epochs",
                "1",
                "--threads",
                "1",
                "--output",
                str(root),
                "--name",
                size,
            ]
            assert train.main([*flags, *more]) == 0
        yield root


def atlas(run, *flags):
    return visualize.main(["atlas", str(run), *FEW, *map(str, flags)])


def line(capsys):
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Traceback" not in error, error
    return error


def test_names_of_strangers_are_those_of_the_data(place, tmp_path):
    assert atlas(place / "16", "--checkpoint", "last", "--output", f"{tmp_path / 'out'}/") == 0
    index = read(tmp_path / "out", "atlas")
    assert {c["id"] for c in index["classes"]} == set(CLASSES)
    assert any("\udcff" in name for name in read(tmp_path / "out", "images")["names"])
    assert [state["epoch"] for state in index["snapshots"]] == [1]


@pytest.mark.slow
def test_interrupted_it_says_that_it_goes_on_and_does(place, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(Pictures, "draw", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert atlas(place / "16", "--output", tmp_path / "out") == 130
    assert line(capsys) == "interrupted: the same command goes on from here\n"
    kept = tmp_path / "out.unfinished" / "numbers" / "scan.npz"
    before = kept.stat().st_mtime_ns
    assert atlas(place / "16", "--output", tmp_path / "out") == 0
    assert (tmp_path / "out" / "numbers" / "scan.npz").stat().st_mtime_ns == before


def test_a_snapshot_that_cannot_be_read_is_left_out(place, tmp_path, capsys):
    run = shutil.copytree(place / "16", tmp_path / "run")
    snapshot = run / "checkpoints" / "epoch-001.safetensors"
    snapshot.write_bytes(snapshot.read_bytes()[:1000])
    assert atlas(run, "--checkpoint", "last", "--no-projections") == 0
    assert "left out: " in line(capsys)
    assert read(run / "atlas-checkpoint=last", "atlas")["snapshots"] == []


@pytest.mark.parametrize(
    "flags, code, message",
    [
        (["--layers", "nope"], 2, "no layer 'nope'"),
        (["--units", "0"], 2, "--units"),
        (["--split", "test"], 2, "no test images"),
        (["--output", "."], 2, "exists and is not an atlas"),
        (["--output", os.sep], 2, "can't be there"),
        (["--output", "16/config.json/x"], 3, "give another --output"),
        (["--compare", "24"], 2, "24x24 pixels, and the others 16x16"),
        (["--compare", "data"], 3, "not a run folder"),
        (["--data", "nowhere"], 3, "no such data set"),
        (["--checkpoint", "nope"], 3, "no checkpoint 'nope'"),
    ],
)
def test_what_is_wrong_is_a_line_and_leaves_nothing(flags, code, message, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    assert atlas("16", *flags) == code
    assert message in line(capsys)
    assert sorted(place.rglob("*")) == before


def test_a_diverged_network_is_a_line(place, tmp_path, monkeypatch, capsys):
    from minidl.training.checkpoints import Checkpoint

    build = Checkpoint.build

    def diverged(self, make):
        model = build(self, make)
        next(iter(model.named_parameters().values())).value[...] = np.nan
        return model

    monkeypatch.setattr(Checkpoint, "build", diverged)
    assert atlas(place / "16", "--output", tmp_path / "out") == 4
    assert "not finite numbers, so the network has diverged" in line(capsys)
