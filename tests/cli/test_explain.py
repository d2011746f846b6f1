"""The command `explain`, as its users call it."""

import pytest

import train
import visualize
from minidl.cli.programs import MINIDL
from tests.conftest import ENGINE
from tests.explain.network import record_in
from tests.tiny_fixture import write_image


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small run of the plain net on `shapes`."""
    root = tmp_path_factory.mktemp("explain")
    flags = ["--model", "convnet", "--threads", "1", "--subset", "0.02", "--batch-size", "8", "--epochs", "1"]
    assert train.main([*flags, *ENGINE, "--output", str(root), "--name", "run"]) == 0
    return root / "run"


def explained(folder, *flags):
    """The record in the page that the command writes into `folder`."""
    assert MINIDL.main(["explain", *map(str, flags), "--output", f"{folder}/"]) == 0
    (page,) = folder.iterdir()
    return record_in(page.read_text("utf-8"))


@pytest.mark.slow
def test_it_has_defaults_for_everything_and_writes_into_the_run(finished, capsys):
    assert visualize.main(["explain", str(finished)]) == 0
    (page,) = (finished / "figures").glob("explain-*.html")
    record = record_in(page.read_text("utf-8"))
    assert page.name == f"explain-conv2-{record['unit']}-image-0.html"
    assert f"wrote {page}" in capsys.readouterr().out
    assert (record["layer"], record["image"], record["start"]) == ("conv2", "image 0 of val", "loss")
    assert record["label"] and record["stages"]["norm"]["images"] == 8


def test_it_shows_what_was_asked_for(finished, tmp_path):
    flags = ["--layer", "relu3", "--unit", "3", "--image", "5", "--split", "train", "--start", "unit"]
    record = explained(tmp_path / "pages", finished, *flags)
    assert (record["layer"], record["unit"], record["image"]) == ("relu3", 3, "image 5 of train")
    assert record["stages"]["conv"]["name"] == "conv3" and record["loss"] is None
    assert [path.name for path in (tmp_path / "pages").iterdir()] == [
        "run-explain-relu3-3-image-5-split=train-start=unit.html"
    ]


def test_pages_of_other_checkpoints_and_images_have_other_names(finished, tmp_path):
    flags = ["--layer", "relu3", "--unit", "3", "--output", f"{tmp_path}/"]
    for more in ([], ["--checkpoint", "last"], ["--whole"]):
        assert MINIDL.main(["explain", str(finished), *flags, *more]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "run-explain-relu3-3-image-0-checkpoint=last.html",
        "run-explain-relu3-3-image-0-whole=True.html",
        "run-explain-relu3-3-image-0.html",
    ]


def test_units_count_from_0_and_data_that_are_named_are_needed(finished, tmp_path, capsys):
    assert explained(tmp_path / "pages", finished, "--layer", "relu3", "--unit", "0")["unit"] == 0
    photo = write_image(tmp_path / "photo.png")
    assert MINIDL.main(["explain", str(finished), "--image", str(photo), "--data", str(tmp_path / "no")]) == 3
    assert "no such data set" in capsys.readouterr().err


def test_it_takes_a_photo_and_a_file_name(finished, tmp_path):
    photo = write_image(tmp_path / "my photo.png", size=(90, 70))
    page = tmp_path / "new" / "page.html"
    assert MINIDL.main(["explain", str(finished), "--image", str(photo), "--output", str(page)]) == 0
    record = record_in(page.read_text("utf-8"))
    assert record["image"] == "my photo.png" and record["label"] == "" and record["predicted"]
    assert record["stages"]["norm"]["images"] == 8  # others of the data set make the batch


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--layer", "conv4"], "did you mean conv3"),
        (["--layer", "fc"], "fc: its output has the shape (20,)"),
        (["--layer", "conv1", "--unit", "16"], "conv1 has units 0 to 15"),
        (["--image", "100000"], "image 100000: val has images 0 to"),
        (["--image", "-1"], "image -1: val has images 0 to"),
        (["--image", "no.png"], "no.png"),
        (["--start", "end"], "--start"),
    ],
)
def test_a_wrong_request_gets_one_line(finished, tmp_path, capsys, flags, words):
    assert MINIDL.main(["explain", str(finished), *flags, "--output", str(tmp_path / "page.html")]) in (2, 3)
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_page_is_an_html_file(finished, tmp_path, capsys):
    weights = tmp_path / "best.safetensors"
    weights.write_bytes(b"weights")
    assert MINIDL.main(["explain", str(finished), "--output", str(weights)]) == 2
    assert f"--output {weights}: a page is an .html file" in capsys.readouterr().err
    assert weights.read_bytes() == b"weights"
