"""eval, predict and export on small runs: which images, which names, which files."""

import csv
import json
import os
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest

import models
import train
from minidl.cli.programs import TRAIN_PY
from minidl.data import Loader, load_dataset
from minidl.training import run_data
from minidl.training.checkpoints import load_checkpoint
from minidl.training.config import Config
from minidl.training.network import initialise_from
from minidl.training.prediction import BATCH, names_in_split
from minidl.training.runs import started
from tests.conftest import ENGINE
from tests.small_runs import OWN
from tests.tiny_fixture import make_folders, make_tiny, write_image

pytestmark = pytest.mark.usefixtures("sketches")
FLAGS = [*OWN, "--epochs", "1"]
CLASSES = ("cat", "dog", "emu")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the data set pets, and with a run on a part of it: runs/part."""
    root = tmp_path_factory.mktemp("commands")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIDL_CACHE", str(root / "cache"))
        patch.chdir(root)
        make_folders(root / "pets", CLASSES, train=12, val=3, size=(16, 16))
        part = ["--classes", "emu,cat", "--val-split", "0.5", "--subset", "0.5", "--gray", "skip"]
        assert train.main([*FLAGS, "--data", "pets", *part, "--name", "part"]) == 0
        assert train.main([*FLAGS, "--data", "pets", "--name", "all"]) == 0
        yield root


@pytest.fixture(autouse=True)
def here(place, monkeypatch):
    monkeypatch.setenv("MINIDL_CACHE", str(place / "cache"))
    monkeypatch.chdir(place)


def run(capsys, *argv):
    """(exit code, stdout, stderr)"""
    capsys.readouterr()
    code = train.main([str(a) for a in argv])
    return code, *capsys.readouterr()


def report(capsys, *argv):
    code, out, _ = run(capsys, "eval", *argv, "--json", "--threads", "1", *ENGINE)
    assert code == 0
    return json.loads(out)


# ------------------------------------------------------------- which images are measured


def test_eval_measures_the_images_that_the_run_measured(place, capsys):
    found = report(capsys, "runs/part")
    row = load_checkpoint(place / "runs/part/checkpoints/best.safetensors").state.history[-1]
    assert (found["loss"], found["top1"]) == pytest.approx((row["val_loss"], row["val_top1"]), rel=1e-6)
    assert found["images"] == 6 and found["extent"] == "50 % of 50 % of train, held out"
    assert list(found["class_accuracy"]) == ["emu", "cat"]
    assert found["data"] == str(place / "pets")


def test_eval_says_what_part_it_measures_and_takes_all_on_request(capsys):
    text = run(capsys, "eval", "runs/part", *ENGINE)[1]
    assert "val: 6 images (50 % of 50 % of train, held out, as in training; --whole takes all of val)" in text
    text = run(capsys, "eval", "runs/part", "--whole", *ENGINE)[1]
    assert "val: 6 images\n" in text  # the 3 of val of each class
    assert "val: 9 images\n" in run(capsys, "eval", "runs/all", *ENGINE)[1]


def test_no_more_is_offered_than_there_is(place, tmp_path, capsys):
    shutil.copytree(place / "pets", tmp_path / "pets")
    shutil.rmtree(tmp_path / "pets" / "val")
    for flags in ([], ["--whole"]):
        text = run(capsys, "eval", "runs/all", "--data", tmp_path / "pets", *flags, *ENGINE)[1]
        assert (
            "val: 3 images (8.33 % of train, held out, as in training)\n" in text
        )  # a tenth of 12, 1, of each class


def test_training_and_saved_data_hold_the_same_images(place):
    config = Config(**load_checkpoint(place / "runs/part/checkpoints/best.safetensors").about.config)
    trained = run_data.load_data(config, progress=False)
    saved = run_data.saved_data(load_checkpoint(place / "runs/part/checkpoints/best.safetensors"), progress=False)
    for one, two in ((trained.train, saved.train), (trained.val, saved.val)):
        assert one.names == two.names and np.array_equal(one.labels, two.labels)
    assert not set(saved.train.names) & set(saved.val.names)


def test_without_val_every_image_is_trained_on_or_held_out(tmp_path):
    make_folders(tmp_path / "own", CLASSES, train=8, val=0, size=(16, 16))
    for share, held_out in ((0.0, 3), (0.25, 6)):
        config = Config(data=str(tmp_path / "own"), image_size=16, val_split=share)
        data = run_data.load_data(config, progress=False)
        assert (len(data.train), len(data.val)) == (24 - held_out, held_out)
        assert not set(data.train.names) & set(data.val.names)
        assert data.extent["val"] == f"{100 * held_out / 24:.3g} % of train, held out"


def test_a_share_is_that_of_the_images_that_were_taken(tmp_path):
    make_folders(tmp_path / "own", ("cat", "dog"), train=5, val=0, size=(16, 16))
    config = Config(data=str(tmp_path / "own"), image_size=16)
    assert run_data.load_data(config, progress=False).extent == {
        "train": "train without the 20 % held out",
        "val": "20 % of train, held out",
    }  # one image of each class
    part = run_data.load_data(replace(config, subset=0.01, val_split=0.4), progress=False).extent
    assert part == {"train": "33.3 % of train without the 40 % held out", "val": "50 % of 40 % of train, held out"}
    make_folders(tmp_path / "more", ("cat", "dog"), train=5, val=1, size=(16, 16))
    extent = run_data.load_data(Config(data=str(tmp_path / "more"), image_size=16, subset=0.3), progress=False).extent
    assert extent == {"train": "40 % of train"}  # all of val, where each class has one image


def test_a_class_called_held_out_is_a_class(tmp_path):
    make_folders(tmp_path / "own", ("cat", "held out"), size=(16, 16))
    shutil.rmtree(tmp_path / "own" / "val" / "held out")
    assert run_data.load_data(Config(data=str(tmp_path / "own"), image_size=16), progress=False).extent == {}


def test_data_elsewhere_is_said_and_taken_in_the_same_parts(place, tmp_path, capsys):
    shutil.copytree(place / "pets", tmp_path / "moved")
    code, text, _ = run(capsys, "eval", "runs/part", "--data", tmp_path / "moved", *ENGINE)
    assert code == 0 and f"of {tmp_path / 'moved'}, in place of {place / 'pets'}\n" in text
    assert "50 % of 50 % of train" in text
    assert report(capsys, "runs/part", "--data", str(tmp_path / "moved"))["data"] == str(tmp_path / "moved")
    assert ", in place of" not in run(capsys, "eval", "runs/part", "--data", place / "pets", *ENGINE)[1]


def test_data_that_has_moved_is_asked_for(place, tmp_path, monkeypatch, capsys):
    shutil.copytree(place / "pets", tmp_path / "pets")
    monkeypatch.chdir(tmp_path)
    assert run(capsys, *FLAGS, "--data", "pets", "--name", "mine")[0] == 0
    monkeypatch.chdir(place)
    assert run(capsys, "eval", tmp_path / "runs" / "mine", *ENGINE)[0] == 0  # the path is absolute
    (tmp_path / "pets").rename(tmp_path / "dogs")
    code, _, error = run(capsys, "eval", tmp_path / "runs" / "mine")
    assert code == 3 and str(tmp_path / "pets") in error and "--data" in error and error.count("\n") == 1


def test_an_export_knows_its_data_by_name_and_looks_here_and_in_data(place, tmp_path, monkeypatch, capsys):
    file = tmp_path / "net.safetensors"
    assert run(capsys, "export", "runs/part", "--output", file)[0] == 0
    assert str(place).encode() not in file.read_bytes()
    first = report(capsys, file)
    monkeypatch.chdir(tmp_path)
    code, _, error = run(capsys, "eval", file)
    assert code == 3 and "neither here nor in data/: give --data" in error
    shutil.make_archive(str(tmp_path / "data" / "pets"), "zip", place, "pets")
    again = report(capsys, file)
    assert (again["loss"], again["images"]) == (first["loss"], first["images"])
    assert again["data"] == str(tmp_path / "data" / "pets.zip")
    assert f"\nof {again['data']}\ntop-1" in run(capsys, "eval", file, *ENGINE)[1]
    assert run(capsys, "predict", file, "--split", "val", "--data", "data/pets.zip", *ENGINE)[0] == 0
    assert (tmp_path / "predictions" / "net-val.csv").is_file()  # of data with this name, so they aren't in it


def test_a_folder_called_shapes_stays_one_in_a_run_and_its_export(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_folders(tmp_path / "shapes", CLASSES, train=4, val=2, size=(16, 16))
    assert run(capsys, *FLAGS, "--data", "./shapes", "--name", "mine")[0] == 0
    assert run(capsys, "export", "runs/mine", "--output", "mine.safetensors")[0] == 0
    assert report(capsys, "runs/mine")["images"] == report(capsys, "mine.safetensors")["images"] == 6
    about = load_checkpoint(tmp_path / "mine.safetensors").about
    assert about.config["data"] == "./shapes" and about.classes == list(CLASSES)


@pytest.mark.parametrize("flag", [["--data", "shapes"], ["--whole"]], ids=lambda f: f[0])
def test_flags_of_the_data_set_are_refused_beside_photos(flag, capsys):
    code, _, error = run(capsys, "predict", "runs/all", "photo.png", *flag)
    assert code == 2 and f"{flag[0]} goes with --split" in error


@pytest.mark.parametrize("command", ["fit", "find-lr", "search", "show-batch"])
def test_every_command_keeps_an_absolute_path(command):
    args = TRAIN_PY.parse([command, "--data", "pets", "--init-from", "runs/all"])
    assert (args.data, args.init_from) == (os.path.abspath("pets"), os.path.abspath("runs/all"))
    assert TRAIN_PY.parse([command, "--data", "shapes"]).data == "shapes"


def test_a_class_without_val_images_is_said_and_comes_last(place, tmp_path, capsys):
    shutil.copytree(place / "pets", tmp_path / "pets")
    shutil.rmtree(tmp_path / "pets" / "val" / "cat")
    lines = run(capsys, "eval", "runs/all", "--data", tmp_path / "pets", *ENGINE)[1].splitlines()
    rows = lines[lines.index("accuracy per class, beside the precision of its name and F1") + 2 :][:3]
    assert rows[2].split()[0] == "-" and rows[2].endswith("%  cat: no val images")
    assert float(rows[0].split()[0]) >= float(rows[1].split()[0]) and not any("nan" in line for line in lines)
    found = report(capsys, "runs/all", "--data", tmp_path / "pets")
    assert found["class_accuracy"]["cat"] is None and found["images"] == 6


def test_a_class_that_loses_all_training_images_with_the_gray_ones_is_named(tmp_path, capsys):
    make_folders(tmp_path / "own", CLASSES, size=(16, 16))
    for i in range(3):
        write_image(tmp_path / "own" / "train" / "dog" / f"{i}.png", i, size=(16, 16), gray=True)
    flags = [*FLAGS, "--data", tmp_path / "own", "--dry-run", "--gray", "skip"]
    code, _, error = run(capsys, *flags)
    assert code == 2 and "all training images of class dog are gray" in error
    assert run(capsys, *flags, "--classes", "cat,emu")[0] == 0


def test_no_mistakes_are_called_that(capsys, monkeypatch):
    from minidl.training.evaluation import Evaluation

    right = Evaluation(2, 0.1, np.array([2, 0, 0, 0]), np.diag([1, 1, 0]))
    monkeypatch.setattr("minidl.cli.use.evaluate", lambda *args: right)
    text = run(capsys, "eval", "runs/all", *ENGINE)[1]
    assert "\nno mistakes\n" in text and "most frequent" not in text


# ------------------------------------------------------------------------- predictions


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_predictions_of_a_split_name_each_image_once(place, tmp_path, capsys):
    assert run(capsys, "predict", "runs/all", "--split", "val", "--output", tmp_path, *ENGINE)[0] == 0
    wanted = [f"{name}/{i}.png" for name in CLASSES for i in range(3)]
    rows = table(tmp_path / "val.csv")
    assert [row["file"] for row in rows] == wanted
    lines = (tmp_path / "val.txt").read_text().splitlines()
    assert lines == [f"{row['file']} {row['class1']}" for row in rows]


def test_predictions_of_other_checkpoints_and_images_have_other_names(place, tmp_path, capsys):
    last = place / "runs/all/checkpoints/last.safetensors"
    alone = shutil.copy(last, tmp_path / "checkpoints.safetensors")
    for flags in (["runs/all"], ["runs/all", "--checkpoint", "last"], ["runs/all", "--whole"], [alone]):
        assert run(capsys, "predict", *flags, "--split", "val", *ENGINE)[0] == 0
    folder = place / "runs/all/predictions"
    assert {"val.csv", "val-checkpoint=last.csv", "val-whole=True.csv"} <= {path.name for path in folder.iterdir()}
    assert sorted(path.name for path in (tmp_path / "predictions").iterdir()) == [
        "checkpoints-val.csv", "checkpoints-val.txt"
    ]  # fmt: skip


def test_a_tilde_is_the_home_folder_and_nothing_is_written_to_no_name(place, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(capsys, "predict", "runs/all", "--split", "val", "--output=~/answers", *ENGINE)[0] == 0
    assert (tmp_path / "answers" / "val.csv").is_file() and not (place / "~").exists()
    for words in (
        ["predict", "runs/all", "--split", "val", "--output", ""],
        ["fit", "--output", ""],
        ["search", "--output", ""],
        ["export-shapes", ""],
        ["export", "runs/all", "--output", ""],
        ["import-torch", "x.pth", "--model", "convnet", "--output", ""],
        ["show-batch", "--picture", ""],
        ["find-lr", "--picture", ""],
    ):
        code, _, error = run(capsys, *words)
        assert code == 2 and "the value is empty" in error, words


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (
            ["fit", "--resume", "runs/all", "--output", "elsewhere"],
            "--output elsewhere: a resumed run keeps its folder",
        ),
        (["search", "--resume", "runs/all", "--output", "elsewhere"], "a resumed search keeps its folder"),
        (["find-lr", "--ema", "0.9"], "unrecognized arguments: --ema"),
        (["download", "--sha256", "", "elsewhere"], "sha256"),
    ],
)
def test_no_flag_is_left_out_without_a_word(words, named, capsys):
    code, _, error = run(capsys, *words)
    assert code == 2 and named in error


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["val/cat/1.png", "val/dog/1.png"], ["cat/1.png", "dog/1.png"]),
        (["train/cat/1.png", "train/dog/1.png"], ["cat/1.png", "dog/1.png"]),  # held out of train
        (["val/images/val_0.JPEG", "val/images/val_1.JPEG"], ["val_0.JPEG", "val_1.JPEG"]),
        (["test/images/test_0.JPEG"], ["test_0.JPEG"]),
        (["train/n1/images/n1_0.JPEG"], ["n1/images/n1_0.JPEG"]),
        (["test/1.png", "test/images/1.png"], ["1.png", "images/1.png"]),
        (["val/images/1.png", "val/cat/1.png"], ["images/1.png", "cat/1.png"]),  # a class called images
    ],
)
def test_names_are_paths_in_the_split_and_those_of_the_evaluation_server(names, shown):
    assert names_in_split(names) == shown


def test_tiny_imagenets_test_predictions_have_the_form_of_a_submission(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_tiny(tmp_path / "tiny")
    flags = [flag for flag in FLAGS if flag not in ("--image-size", "16")]
    assert run(capsys, *flags, "--data", "tiny", "--name", "run")[0] == 0
    assert run(capsys, "predict", "runs/run", "--split", "test", *ENGINE)[0] == 0
    lines = (tmp_path / "runs/run/predictions/test.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["test_0.JPEG", "test_1.JPEG"]


def test_odd_names_of_files_and_classes_pass_through_every_answer(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_folders(tmp_path / "odd", ("日本", "two\nlines"), size=(16, 16))
    for split in ("train", "val"):
        if sys.platform != "linux":
            pytest.skip("names of files are text here")
        os.rename(tmp_path / "odd" / split / "日本", os.fsencode(tmp_path / "odd" / split / "caf") + b"\xe9")
    assert run(capsys, *FLAGS, "--data", "odd", "--name", "run")[0] == 0
    assert run(capsys, "predict", "runs/run", "--split", "val", *ENGINE)[0] == 0
    assert {row["file"] for row in table(tmp_path / "runs/run/predictions/val.csv")} == {
        r"caf\udce9/0.png", r"caf\udce9/1.png", r"two\nlines/0.png", r"two\nlines/1.png"
    }  # fmt: skip
    assert (tmp_path / "runs/run/predictions/val.txt").read_text("utf-8").count("\n") == 4
    code, text, _ = run(capsys, "eval", "runs/run", *ENGINE)
    assert code == 0 and r"caf\udce9" in text and r"two\nlines" in text


@pytest.fixture
def album(tmp_path):
    """A folder with photos, more than one batch of them, two files that are none, and what programs leave."""
    for i in range(BATCH + 1):
        write_image(tmp_path / "album" / f"{i:03d}.png", i, size=(20, 12))
    (tmp_path / "album" / "007.png").write_bytes(b"not a picture")
    (tmp_path / "album" / "more").mkdir()
    (tmp_path / "album" / "more" / "z.jpg").write_bytes(b"")
    (tmp_path / "album" / "notes.txt").write_text("not a photo")
    (tmp_path / "album" / "._000.png").write_bytes(b"what macOS keeps of a photo")
    write_image(tmp_path / "album" / ".ipynb_checkpoints" / "000.png", 0)
    return tmp_path / "album"


def test_photos_are_predicted_batch_by_batch_and_bad_ones_cost_a_line_each(album, capsys):
    code, text, error = run(capsys, "predict", "runs/all", album, *ENGINE)
    said = [line for line in text.splitlines() if not line.startswith(" ")]
    assert code == 3
    assert said == [str(p) for p in sorted(album.glob("[01]*.png")) if p.name != "007.png"]
    problems = [line for line in error.splitlines() if line.startswith("train.py: ")]
    assert len(problems) == 3 and problems[-1] == f"train.py: 2 of {BATCH + 2} photos can't be read"
    assert str(album / "007.png") in problems[0] and str(album / "more" / "z.jpg") in problems[1]


def test_photos_answers_are_the_same_one_by_one_and_in_a_table(album, tmp_path, capsys):
    assert run(capsys, "predict", "runs/all", album, "--output", tmp_path / "answers", *ENGINE)[0] == 3
    rows = table(tmp_path / "answers" / "photos.csv")
    assert len(rows) == BATCH
    text = run(capsys, "predict", "runs/all", album / "100.png", *ENGINE)[1].split()
    assert rows[-1]["file"] == text[0] and text[3] == rows[-1]["class1"] == rows[-1]["words1"]
    assert float(text[1]) == pytest.approx(100 * float(rows[-1]["probability1"]), abs=0.06)


def test_no_more_than_a_batch_of_photos_is_in_memory(album, monkeypatch, capsys):
    from minidl.training import prediction

    seen = []
    monkeypatch.setattr(prediction, "normalise", lambda x, *a: seen.append(len(x)) or x.astype(np.float32))
    run(capsys, "predict", "runs/all", album, album, *ENGINE)
    assert sum(seen) == 2 * BATCH and max(seen) <= BATCH


@pytest.mark.parametrize(
    ("argv", "code", "named"),
    [
        (["pets/val/cat/0.png"], 2, "RUN is missing"),
        (["pets/val/cat/0.png", "pets/val/cat/1.png"], 2, "RUN is missing"),
        ([], 2, "RUN"),
        (["pets"], 3, "pets: not a run folder"),
        (["runs/all"], 2, "photos"),
        (["runs/all", "runs/all/checkpoints"], 3, "runs/all/checkpoints: no photos in this folder"),
        (["runs/all", "/dev/zero"], 3, "/dev/zero: can't be read (not a regular file)"),
        (["runs/all", "gone.png"], 3, "gone.png"),
        (["runs/all", "--split", "test"], 2, "no test images"),
        (["runs/all", "--split", "val", "--output", "pets/val/cat/0.png"], 3, "pets/val/cat/0.png"),
    ],
)
def test_what_predict_lacks_is_said_in_one_line(argv, code, named, capsys):
    found, _, error = run(capsys, "predict", *argv)
    lines = [line for line in error.splitlines() if line.startswith("train.py: ")]
    assert (found, len(lines)) == (code, 1) and named in lines[0]


# --------------------------------------------------------------------------- batches


def test_show_batch_counts_the_epochs_from_one_to_the_last(tmp_path, monkeypatch, capsys):
    asked, titles = [], []

    def first_batch(loader, epoch):
        asked.append(epoch)
        return iter([(np.zeros((1, 16, 16, 3), np.float32), [0])])

    monkeypatch.setattr(Loader, "epoch", first_batch)
    monkeypatch.setattr("minidl.visual.figures.save_batch", lambda path, images, words, title: titles.append(title))
    flags = ["show-batch", "--data", "pets", "--image-size", "16", "--epochs", "3", "--picture", tmp_path / "a.png"]
    for epoch in ([], ["--epoch", "3"]):
        assert run(capsys, *flags, *epoch)[0] == 0
    assert asked == [0, 2] and ["epoch 1," in titles[0], "epoch 3," in titles[1]] == [True, True]
    code, _, error = run(capsys, *flags, "--epoch", "4")
    assert code == 2 and error.endswith("--epoch 4: the training has 3 epochs (--epochs)\n")


# ------------------------------------------------------------------------- which run


def write_env(folder, content, when):
    """An env.json that was written at `when`, in seconds since 1970."""
    (folder / "env.json").write_text(content)
    os.utime(folder / "env.json", (when, when))


def test_of_several_runs_the_one_that_was_started_last_is_taken_and_named(place, capsys):
    write_env(place / "runs/all", '{"started": "2026-01-31T12:00:00+0100"}', 2e9)
    write_env(place / "runs/part", '{"started": "2026-01-31T11:30:00+0000"}', 1e9)
    os.utime(place / "runs/part/config.json", (1, 1))
    for argv in (["eval", "runs/all", "runs/part"], ["eval", "runs/part", "runs/all"]):
        code, text, error = run(capsys, *argv, *ENGINE)
        assert (
            code == 0 and text.startswith("runs/part/") and "2 runs are given, this is the newest: runs/part" in error
        )
    code, text, error = run(capsys, "predict", "runs/all", "runs/part", "pets/val/emu/0.png", *ENGINE)
    assert code == 0 and text.startswith("pets/val/emu/0.png\n") and "runs/part" in error
    code, _, error = run(capsys, "eval", "runs/all", "runs/part/checkpoints/best.safetensors")
    assert code == 2 and "give one RUN" in error


DAMAGED = [
    "",
    "{",
    "[]",
    "{}",
    '{"started": 5}',
    '{"started": "yesterday"}',
    '{"started": "0001-01-01T00:00:00+0100"}',
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_run_that_does_not_say_when_it_was_started_is_as_old_as_its_file(place, capsys, content):
    everything, part = place / "runs/all", place / "runs/part"
    write_env(part, '{"started": "2026-01-31T11:30:00+0000"}', 1)
    for when, newest in ((1e9, part), (2e9, everything)):
        write_env(everything, content, when)
        assert max(everything, part, key=started) == newest
    assert run(capsys, "eval", "runs/part", "runs/all", *ENGINE)[1].startswith("runs/all/")


# --------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--freeze", "pool1"], "--init-from"),
        (["--warmup-epochs", "3", "--epochs", "3"], "--warmup-epochs 3"),
        (["--schedule", "step", "--drop-epoch", "2", "--warmup-epochs", "2", "--epochs", "9"], "--drop-epoch 2"),
        (["--data", "shapes", "--image-size", "32"], "image size 32"),
        (["--image-size", "7"], "images of 7x7 pixels don't fit convnet"),
        (["--classes", "cat"], "at least 2"),
        (["--classes", "cat,cow"], "'cow'"),
        (["--data", ""], "empty"),
    ],
)
def test_settings_that_cannot_go_together_are_named_by_their_flags(flags, named, capsys):
    code, _, error = run(capsys, *FLAGS, "--data", "pets", "--dry-run", *flags)
    assert code in (2, 3) and error.count("\n") == 1 and named in error


@pytest.mark.parametrize(
    ("flags", "note"),
    [
        (["--warmup-epochs", "26", "--epochs", "60", "--schedule", "cosine"], None),
        (["--warmup-epochs", "0.99"], None),  # rounds to all steps
        (["--schedule", "step", "--epochs", "60"], None),
        (["--schedule", "step", "--epochs", "5"], "the learning rate never drops: --drop-epoch 25"),
        (["--schedule", "cosine", "--drop-epoch", "3"], "--drop-epoch 3 does nothing here"),
        (["--momentum", "0.5"], "--momentum 0.5 does nothing here: it is for --optimizer sgd"),
        (["--momentum", "0.5", "--optimizer", "sgd"], None),
        (["--keep", "2"], "--keep 2 does nothing here"),
        (["--crop-area", "0.3"], "--crop-area 0.3 does nothing here"),
        (["--augment", "crops", "--start-size", "8"], "no image is cropped: --augment crops"),
        (["--augment", "crops", "--start-size", "8", "--epochs", "2"], None),
    ],
)
def test_settings_that_do_nothing_are_said_and_no_others(flags, note, capsys):
    code, text, _ = run(capsys, *FLAGS, "--data", "pets", "--dry-run", *flags)
    notes = [line for line in text.splitlines() if line.startswith("note")]
    assert code == 0 and len(notes) == (note is not None) and (note is None or note in notes[0])


@pytest.mark.slow
def test_the_chosen_classes_are_named(capsys):
    text = run(capsys, *FLAGS, "--data", "pets", "--dry-run", "--classes", "2,cat")[1]
    assert "classes emu, cat\n" in text and "2 classes" in text
    text = run(capsys, *FLAGS[:2], "--dry-run", "--classes", "0-11")[1]
    assert "s09 horizontal tricolour and 2 more\n" in text


@pytest.mark.parametrize(("classes", "new"), [("cat,dog,emu", False), ("emu,dog,cat", True), ("dog,emu", True)])
def test_a_head_is_taken_over_for_the_same_classes_only(place, classes, new, capsys):
    flags = [*FLAGS, "--data", "pets", "--init-from", "runs/all", "--classes", classes, "--dry-run"]
    code, text, _ = run(capsys, *flags)
    assert code == 0 and ("new: fc.weight, fc.bias" in text) == new


def test_a_model_starts_with_the_old_head_or_with_its_own(place):
    source = load_checkpoint(place / "runs/all/checkpoints/best.safetensors")
    for classes, same in ((["cat", "dog", "emu"], True), (["ant", "bee", "fly"], False)):
        model = models.build("convnet", classes=3, seed=5)
        own = model.named_parameters()["fc.weight"].value.copy()
        assert initialise_from(model, source, classes) == ([] if same else ["fc.weight", "fc.bias"])
        found = model.named_parameters()
        np.testing.assert_array_equal(found["fc.weight"].value, source.arrays["fc.weight"] if same else own)
        np.testing.assert_array_equal(found["conv1.weight"].value, source.arrays["conv1.weight"])


def test_one_reading_of_classes_in_both_scripts(tmp_path, monkeypatch, capsys):
    import visualize

    monkeypatch.chdir(tmp_path)
    make_folders(tmp_path / "numbers", ("0", "1", "10", "2", "3"), train=4, val=4, size=(16, 16))
    assert load_dataset(tmp_path / "numbers", image_size=16, progress=False).classes[2] == "10"
    assert run(capsys, *FLAGS, "--data", "numbers", "--name", "run")[0] == 0
    assert "classes 2, 3" in run(capsys, *FLAGS, "--data", "numbers", "--classes", "2,3", "--dry-run")[1]
    assert visualize.main(["pca", "runs/run", "--classes", "2,3", *ENGINE]) == 0
    assert "classes 2, 3" in capsys.readouterr().out
