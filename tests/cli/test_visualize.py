"""visualize.py as its users call it: every command leaves its picture, and every wrong request gets one line."""

import csv
import shutil

import numpy as np
import pytest
from PIL import Image

import models
import train
import visualize
from minidl.cli.programs import VISUALIZE_PY
from minidl.layers import PROBE, Rule
from minidl.storage.weights import load_arrays, save_arrays
from minidl.training import run_data
from minidl.training.checkpoints import load_checkpoint
from minidl.visual.projection import seed
from minidl.visual.truncate import truncate
from tests.cli.test_errors import cut, damaged, fewer_classes, other_model
from tests.conftest import ENGINE
from tests.tiny_fixture import write_image

CLASSES, VAL = 20, 40


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small run of the plain net on a data set in Tiny ImageNet's layout."""
    root = tmp_path_factory.mktemp("visualize")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIDL_CACHE", str(root / "cache"))
        assert train.main(["export-shapes", str(root / "data"), "--train", "80", "--val", str(VAL)]) == 0
        flags = ["--data", str(root / "data"), "--model", "convnet", "--batch-size", "8", "--epochs", "1", *ENGINE]
        assert train.main([*flags, "--threads", "1", "--output", str(root), "--name", "run"]) == 0
        yield root / "run"


@pytest.fixture
def photo(tmp_path):
    return write_image(tmp_path / "my photo.png", size=(90, 70))


def run(*argv):
    command, folder, *flags = argv
    engine = [] if command in ("history", "layers") else ["--threads", "1", *ENGINE]  # those run no network
    return visualize.main([command, str(folder), *engine, *map(str, flags)])


def size(path):
    with Image.open(path) as image:
        return image.size


# ------------------------------------------------------------------------ commands


@pytest.mark.parametrize(
    ("argv", "files"),
    [
        (["history"], ["history.png"]),
        (["pca"], ["pca-3d.png", "pca-2d.png"]),
        (["tsne", "--classes", "0,s03,square,disc", "--seed", "3"], ["tsne-2d-classes=0,3,12,17-seed=3.png"]),
        (["top", "--layer", "relu2", "--unit", "3,17"], ["top-relu2-3-l2.png", "top-relu2-17-l2.png"]),
        (["gradient", "--layer", "pool2", "--unit", "5"], ["gradient-pool2-5-inf.png"]),
        (["guided", "--layer", "conv3", "--unit", "0", "--norm", "l2"], ["guided-conv3-0-l2.png"]),
        (["deconv", "--unit", "top:2", "--seed-map", "map", "--scale", "grid"], ["units-pool3.csv"]),
        (["deconv", "--layer", "fc", "--unit", "1", "--deconv-bn", "scale"], ["deconv-fc-1-l2-deconv-bn=scale.png"]),
        (["deconv", "--layer", "relu1", "--unit", "all", "--unpool", "max"], ["deconv-relu1-all-l2-unpool=max.png"]),
        (["occlusion", "--index", "7", "--patch", "32"], ["occlusion-val-7-patch=32.png"]),
        (["gradcam"], ["gradcam-pool3-val.png"]),
        (["gradcam", "--layer", "relu2", "--index", "4", "--class", "square"], ["gradcam-relu2-val-4-class=17.png"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0] in VISUALIZE_PY.commands else None,
)  # fmt: skip
def test_every_command_leaves_its_pictures(argv, files, finished, tmp_path):
    command, *flags = argv
    assert run(command, finished, *flags, "--output", tmp_path) == 0
    for name in files:  # in a folder of the user's own they begin with the run's name
        assert (tmp_path / f"run-{name}").stat().st_size > 0
        if name.endswith("png"):
            assert min(size(tmp_path / f"run-{name}")) > 200


@pytest.mark.parametrize("command", ["gradient", "guided", "deconv", "occlusion", "gradcam"])
def test_a_photo_of_the_users_own_is_explained(command, finished, photo, tmp_path):
    flags = ["--patch", "32", "--stride", "32"] if command == "occlusion" else []
    assert run(command, finished, "--image", photo, *flags, "--output", tmp_path / "out") == 0
    assert [path.suffix for path in (tmp_path / "out").iterdir()] == [".png"]


def pictures(folder):
    return {path.name for path in folder.iterdir() if path.suffix == ".png"}


def test_other_settings_give_other_pictures_and_the_same_ones_the_same(finished, photo, sketches, tmp_path):
    """Each line of requests is one picture, however it is asked for."""
    other = write_image(tmp_path / "elsewhere" / photo.name, seed=1, size=(90, 70))
    small = ["--patch", "32", "--stride", "32"]
    requests = [
        [["pca"], ["pca", "--classes", "2,1,0"]],
        [["pca", "--classes", "s03,0"], ["pca", "--classes", "yellow blob,horizontal stripes"]],
        [["pca", "--split", "train"]],
        [["pca", "--checkpoint", "last"], ["pca", "--checkpoint", "last", "--classes", "0,1,2"]],
        [["occlusion", *small], ["occlusion", "--index", "0", *small]],
        [["occlusion", "--index", "1", *small]],
        [["occlusion", "--class", "17", *small], ["occlusion", "--class", "square", *small]],
        [["occlusion", "--image", photo, *small]],
        [["occlusion", "--image", other, *small]],
        [["guided", "--image", photo, "--layer", "relu1", "--unit", "3,1"]],
        [["guided", "--image", photo, "--layer", "relu1", "--unit", "3,2"]],
        [["guided", "--image", photo, "--layer", "relu1", "--unit", "3,2", "--seed-map", "max"]],
        [["guided", "--image", photo, "--layer", "relu1", "--unit", "3,2", "--scale", "grid"]],
    ]
    for line in requests:
        new = []
        for command, *flags in line:
            before = pictures(tmp_path)
            assert run(command, finished, *flags, "--output", tmp_path) == 0
            new.append(pictures(tmp_path) - before)
        assert new[0], line
        assert not any(new[1:]), line
    assert "run-pca-2d-checkpoint=last.png" in pictures(tmp_path)


def test_looking_at_a_run_adds_pictures_and_changes_nothing_else(finished):
    def content():
        return {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}

    before = content()
    for command in (["history"], ["layers"], ["top", "--layer", "relu1", "--unit", "0"], ["gradcam"]):
        assert run(command[0], finished, *command[1:]) == 0
    after = content()
    assert {path: after[path] for path in before} == before  # the picture of the epochs is the one of the training
    new = {path.relative_to(finished).as_posix() for path in after.keys() - before.keys()}
    assert new == {"figures/gradcam-pool3-val.png", "figures/top-relu1-0-l2.png", "figures/units-relu1.csv"}


@pytest.mark.parametrize("command", ["gradient", "guided"])
def test_a_gradient_starts_from_the_activation_map(command, finished, photo, tmp_path, capsys):
    layer = ["--layer", "relu2", "--unit", "3", "--image", photo, "--raw", "--output", tmp_path]
    for seed_map in ("map", "norm", None):
        assert run(command, finished, *layer, *(["--seed-map", seed_map] if seed_map else [])) == 0
    usual, other = sorted(tmp_path.glob("run-*.npy"), key=lambda path: "seed-map" in path.name)
    assert "seed-map=norm" in other.name and "seed-map" not in usual.name
    assert not np.array_equal(np.load(usual), np.load(other))
    capsys.readouterr()
    assert visualize.main([command, "--help"]) == 0
    assert "(default map)" in capsys.readouterr().out


def test_a_folder_called_checkpoints_is_no_run(finished, photo, tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    file = shutil.copy(finished / "checkpoints" / "last.safetensors", folder / "net.safetensors")
    assert run("gradcam", file, "--image", photo) == 0
    assert [path.suffix for path in sorted(folder.iterdir())] == [".png", ".safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "my photo.png"]


def test_layers_lists_names_shapes_and_units(finished, capsys):
    assert run("layers", finished) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["layer", "output", "units"]
    assert ["pool2", "16x16x32", "32"] in [line.split() for line in lines]
    assert ["fc", str(CLASSES), str(CLASSES)] in [line.split() for line in lines]
    assert lines[-1].startswith("fc")  # this network has no blocks, and so no parts of them
    assert visualize.main(["layers", "--pretrained", "refined"]) == 0
    assert capsys.readouterr().out.endswith("and the parts of each block, such as stem.conv\n")


def test_pictures_go_to_the_runs_figures_and_a_checkpoint_file_will_do(finished):
    checkpoint = finished / "checkpoints" / "last.safetensors"
    assert run("top", checkpoint, "--layer", "pool1", "--unit", "2", "--format", "svg") == 0
    assert "</svg>" in (finished / "figures" / "top-pool1-2-l2-checkpoint=last.svg").read_text("utf-8")


def test_raw_projections_are_those_of_the_plain_layers_on_the_images_of_the_table(finished, tmp_path):
    """From the table's image names to the .npy file: nothing is mixed up on the way."""
    assert run("deconv", finished, "--layer", "relu3", "--unit", "9", "--raw", "--output", tmp_path) == 0
    with (tmp_path / "run-units-relu3.csv").open(encoding="utf-8") as file:
        row = list(csv.DictReader(file))[9]
    checkpoint = load_checkpoint(finished / "checkpoints" / "best.safetensors")
    data = run_data.saved_data(checkpoint, None)
    positions = [data.val.names.index(row[f"l2_image{i}"]) for i in range(1, 10)]
    x = np.concatenate([x for x, _ in data.loader(data.val).epoch(0)])[positions]
    part = truncate(checkpoint.build(models.build), "relu3")
    a, cache = part.forward(x, PROBE)
    norms = np.sqrt((a[..., 9] ** 2).sum(axis=(1, 2)))
    np.testing.assert_allclose([float(row[f"l2_value{i}"]) for i in range(1, 10)], norms, rtol=1e-4)
    wanted = part.project(seed(a, np.full(9, 9), "l2", "norm"), cache, Rule("deconv"))
    found = np.load(tmp_path / "run-deconv-relu3-9-l2.npy")
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.slow
def test_the_trials_of_a_search_are_drawn(tmp_path, capsys):
    flags = ["--model", "convnet", "--subset", "0.02", "--batch-size", "8", "--epochs", "1", "--trials", "2", *ENGINE]
    assert train.main(["search", *flags, "--threads", "1", "--output", str(tmp_path), "--name", "search"]) == 0
    assert visualize.main(["search", str(tmp_path / "search"), "--output", str(tmp_path), "--format", "svg"]) == 0
    drawn = (tmp_path / "search-search.svg").read_text("utf-8")
    assert "2 trials of convnet on shapes, 1 epoch" in drawn and "1 epochs" not in drawn
    assert visualize.main(["search", str(tmp_path / "nowhere")]) == 3
    assert "nowhere" in capsys.readouterr().err


# -------------------------------------------------------------------------- errors


def answer(capsys, *argv):
    """(exit code, the last line on stderr) of a command that must fail; lines before it can only be progress."""
    capsys.readouterr()
    try:
        code = run(*argv)
    except SystemExit as stop:  # argparse
        code = stop.code
    error = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("visualize.py: ") for line in error) == 1
    assert not any("Traceback" in line for line in error)
    return code, error[-1]


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["top", "--layer", "inception9.b3"], ["inception9.b3", "conv1"]),
        (["top", "--layer", "relu9"], ["relu9", "relu1"]),
        (["deconv", "--layer", "relu2", "--unit", "32"], ["32", "0 to 31"]),
        (["deconv", "--unit", "-1"], ["-1", "top:20"]),
        (["deconv", "--unit", "seven"], ["seven", "top:20"]),
        (["deconv", "--unit", "top:0"], ["top:0", "top:64"]),
        (["deconv", "--unit", "top:65"], ["top:65", "top:64"]),
        (["deconv", "--norm", "l1"], ["l1", "inf", "l2"]),
        (["deconv", "--seed-map", "mean"], ["mean", "norm", "ones"]),
        (["deconv", "--unpool", "average"], ["average", "sum", "last", "max"]),
        (["deconv", "--deconv-bn", "drop"], ["drop", "skip", "scale"]),
        (["gradient", "--scale", "row"], ["row", "image", "grid"]),
        (["gradient", "--deconv-bn", "skip"], ["--deconv-bn"]),
        (["top", "--split", "test"], ["no test images"]),
        (["top", "--split", "holdout"], ["holdout", "train", "val", "test"]),
        (["pca", "--classes", "0,99"], ["'99'", "0 to 19"]),
        (["pca", "--classes", "0,sqare"], ["sqare", "square"]),
        (["pca", "--classes", ""], ["''", "0 to 19"]),
        (["tsne", "--classes", "0"], ["t-SNE", "at least 5"]),
        (["gradcam", "--layer", "fc"], ["fc", "no map", "pool3"]),
        (["gradcam", "--index", "40"], ["40", "0 to 39"]),
        (["gradcam", "--image", "3"], ["no such photo", "--index 3"]),
        (["gradcam", "--class", "unicorn"], ["unicorn", "0 to 19"]),
        (["gradcam", "--image", "a.png", "--data", "nowhere"], ["--data goes without --image"]),
        (["occlusion", "--image", "a.png", "--split", "train"], ["--split goes without --image"]),
        (["deconv", "--image", "a.png", "--whole"], ["--whole goes without --image"]),
        (["occlusion", "--patch", "65"], ["65", "64"]),
        (["occlusion", "--patch", "0"], ["--patch", "'0'"]),
        (["occlusion", "--patch", "4", "--stride", "5"], ["5", "1 to 4"]),
        (["occlusion", "--index", "3", "--image", "a.png"], ["--image", "--index"]),
        (["top", "--format", "pdf"], ["pdf", "png", "svg"]),
        (["gradcam", "--backend", "torch"], ["torch", "numpy", "cupy"]),
        (["history", "--data", "pets"], ["--data"]),
        (["layers", "--whole"], ["--whole"]),
        (["dream"], ["dream", "deconv"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0] in VISUALIZE_PY.commands else None,
)
def test_a_wrong_request_is_answered_with_what_would_do(argv, named, finished, tmp_path, capsys):
    command, *flags = argv
    code, error = answer(capsys, command, finished, *flags, "--output", tmp_path)
    assert code == 2
    for part in named:
        assert part in error


@pytest.mark.parametrize(
    ("change", "named"),
    [(cut, "safetensors"), (other_model, "missing"), (fewer_classes, "doesn't fit")],
    ids=["cut short", "of another model", "of other classes"],
)
def test_a_checkpoint_that_cannot_be_used_is_named(change, named, finished, tmp_path, capsys):
    code, error = answer(capsys, "top", damaged(finished, tmp_path, change))
    assert code == 3
    assert named in error


def test_what_is_not_there_is_named(finished, tmp_path, capsys):
    for argv in (
        ["top", tmp_path / "nowhere"],
        ["top", finished, "--data", tmp_path / "nowhere"],
        ["deconv", finished, "--image", tmp_path / "nowhere.png"],
        ["occlusion", finished, "--image", tmp_path / "nowhere.png"],
    ):
        code, error = answer(capsys, *argv)
        assert code == 3
        assert "nowhere" in error


def test_data_of_other_classes_are_refused(finished, tmp_path, capsys):
    make = tmp_path / "photos"
    for split in ("train", "val"):
        for c in ("cat", "dog"):
            write_image(make / split / c / "1.png")
    code, error = answer(capsys, "top", finished, "--data", make)
    assert code == 3
    assert "2" in error and "classes" in error


def test_a_photo_that_is_none_and_a_folder_that_cannot_be_made_are_named(finished, tmp_path, capsys):
    text = tmp_path / "text.png"
    text.write_text("no image")
    code, error = answer(capsys, "gradient", finished, "--image", text)
    assert (code, "text.png: not an image file" in error) == (3, True)
    code, error = answer(capsys, "history", finished, "--output", text / "folder")
    assert (code, "text.png" in error) == (3, True)
    capsys.readouterr()
    assert run("deconv", finished, "--output", text) == 3  # before anything is computed
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1) and "text.png" in said.err


def test_a_diverged_network_is_named(finished, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    file = copy / "checkpoints" / "best.safetensors"
    arrays, metadata = load_arrays(file)
    arrays["conv1.weight"][:] = 3e38  # numbers, whose products are none
    save_arrays(file, arrays, metadata)
    code, error = answer(capsys, "top", copy, "--layer", "relu2")
    assert code in (3, 4)
    assert "relu2" in error
