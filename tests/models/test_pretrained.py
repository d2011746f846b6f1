"""The trained network that comes with minidl: its file says what it is, and every command takes it by name."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import models
import train
import visualize
from minidl.errors import DataError, UsageError
from minidl.training.checkpoints import load_checkpoint
from tests.tiny_fixture import make_tiny, write_image, zip_folder

FILE = models.weights_file("refined")


@pytest.fixture(scope="module")
def checkpoint():
    return load_checkpoint(FILE)


@pytest.fixture(scope="module")
def data(checkpoint, tmp_path_factory):
    """Noise with the names of Tiny ImageNet's classes, one image a class."""
    return make_tiny(tmp_path_factory.mktemp("tiny"), tuple(checkpoint.about.classes), train=1, val=1, test=1)


def test_the_file_holds_the_papers_network_and_nothing_else(checkpoint):
    net = models.load_pretrained("refined")
    own = net.named_parameters() | net.named_buffers()
    assert checkpoint.arrays.keys() == own.keys()
    assert sum(p.value.size for p in net.named_parameters().values()) == 568_000
    assert FILE.stat().st_size <= 3e6
    assert Path(checkpoint.about.config["data"]).parent == Path()  # no path of the machine it was trained on


def test_the_file_says_what_its_outputs_and_inputs_are(checkpoint):
    about = checkpoint.about
    assert len(set(about.classes)) == len(about.words) == 200
    assert all(re.fullmatch(r"n\d{8}", wnid) for wnid in about.classes) and all(about.words)
    assert about.image_shape == [64, 64, 3]
    assert all(0 < value < 1 for value in about.mean + about.std)


def test_every_array_is_finite_and_none_is_as_a_new_network_has_it(checkpoint):
    new = models.build("refined", seed=checkpoint.about.config["seed"])
    for name, array in (new.named_parameters() | new.named_buffers()).items():
        trained = checkpoint.arrays[name]
        assert np.isfinite(trained).all() and not np.array_equal(trained, getattr(array, "value", array)), name


def test_the_accuracy_beside_it_is_that_of_its_last_epoch(checkpoint):
    text = FILE.with_name("README.md").read_text("utf-8")
    last = checkpoint.state.history[-1]
    assert last["epoch"] == checkpoint.about.config["epochs"]
    assert f"{100 * last['val_top1']:.2f} %" in text and f"{100 * last['val_top5']:.2f} %" in text


@pytest.mark.slow
def test_eval_takes_it_by_name(data, capsys):
    assert train.main(["eval", "--pretrained", "refined", "--data", str(data), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["images"] == 200 and 0 <= report["top1"] <= report["top5"] <= 1


def test_eval_finds_what_download_leaves(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train.main(["eval", "--pretrained", "refined"]) == DataError.exit_code
    assert "`python train.py download data`" in capsys.readouterr().err
    (tmp_path / "data").mkdir()
    zip_folder(data, tmp_path / "data" / "tiny-imagenet-200.zip")
    assert train.main(["eval", "--pretrained", "refined"]) == 0
    assert "val: 200 images\n" in capsys.readouterr().out


def test_predict_takes_it_by_name(checkpoint, tmp_path, capsys):
    photos = [str(write_image(tmp_path / name, size=(80, 50))) for name in ("one.png", "two.png")]
    assert train.main(["predict", "--pretrained", "refined", *photos]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == photos
    assert len(lines) == 2 * (1 + 5) and all(line.split()[2] in checkpoint.about.classes for line in lines[1:6])


def test_visualize_takes_it_by_name(tmp_path, capsys):
    photo = str(write_image(tmp_path / "photo.png", size=(80, 50)))
    common = ["--pretrained", "refined", "--output", str(tmp_path / "figures")]
    assert visualize.main(["deconv", *common, "--layer", "inception3.b3", "--unit", "17", "--image", photo]) == 0
    assert [path.suffix for path in (tmp_path / "figures").iterdir()] == [".png"]


@pytest.mark.parametrize(
    ("command", "said", "code"),
    [
        (["eval", "--pretrained", "refined"], "tiny-imagenet-200", DataError.exit_code),  # without the data
        (["eval", "--pretrained", "refined", "--data", "shapes"], "200 classes", DataError.exit_code),
        (["eval"], "--pretrained", UsageError.exit_code),
        (["eval", "a/run", "--pretrained", "refined"], "--pretrained", UsageError.exit_code),
        (["eval", "--pretrained", "finer"], "refined", UsageError.exit_code),
    ],
)
def test_what_is_missing_is_said_in_one_line(command, said, code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        found = train.main(command)
    except SystemExit as exit:
        found = exit.code
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert found == code and said in last
