"""A finished run, looked at from Python."""

import csv
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

import minidl as md
import train
from minidl.errors import DataError, UsageError
from minidl.training.checkpoints import checkpoint_of, pack_checkpoint
from tests.text.test_html import Seen

SMALL = ["--model", "convnet", "--subset", "0.02", "--batch-size", "8", "--epochs", "2", "--threads", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minidl.visual.canvas._write", lambda path, *_: path.write_bytes(b"a sketch"))
        path = tmp_path_factory.mktemp("runs")
        assert train.main([*SMALL, "--output", str(path), "--name", "x"]) == 0
    return path / "x"


def test_its_history_is_the_table_that_the_training_wrote(folder):
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    history = md.Run(folder).history
    assert list(history) == list(rows[0]) and len(history["epoch"]) == 2
    for name, column in history.items():
        assert [float(row[name]) for row in rows] == pytest.approx(column)


def test_the_history_of_an_exact_run_has_its_times(folder, tmp_path):
    last = shutil.copytree(folder, tmp_path / "x") / "checkpoints" / "last.safetensors"
    saved = md.load_checkpoint(last)
    saved.about.config["exact"] = True  # such a checkpoint keeps nothing that clocks said
    trainer = SimpleNamespace(read_sums=int, elapsed=int, average=None, model=md.Run(folder).model, state=saved.state)
    last.write_bytes(pack_checkpoint(checkpoint_of(last, trainer, saved.about, with_optimizer=False)))
    assert md.load_checkpoint(last).state.seconds == 0
    assert md.Run(tmp_path / "x").history == md.Run(folder).history


def test_its_model_has_the_weights_of_the_best_checkpoint(folder):
    run = md.Run(str(folder))
    assert len(run.about.classes) == 20 and run.model is run.model and run.best.path.name == "best.safetensors"
    best = md.load_checkpoint(folder / "checkpoints" / "best.safetensors").arrays
    for name, p in run.model.named_parameters().items():
        np.testing.assert_array_equal(p.value, best[name])


@pytest.mark.parametrize("name", ["best", "last"])
def test_its_checkpoints_are_weight_files(folder, name):
    model, path = md.models.build("convnet", classes=20, seed=1), folder / "checkpoints" / f"{name}.safetensors"
    md.load(path, model)
    for name, p in model.named_parameters().items():
        np.testing.assert_array_equal(p.value, md.load_checkpoint(path).arrays[name])
    with pytest.raises(DataError, match="a run has them in checkpoints/"):
        md.load(folder, model)


def test_what_was_chosen_of_a_network_is_in_its_checkpoints(tmp_path, sketches, capsys):
    few = [*SMALL[:4], "--batch-size", "8", "--epochs", "1", "--threads", "1"]
    assert train.main([*few, "--activation", "silu", "--output", str(tmp_path), "--name", "y"]) == 0
    assert "model    convnet, activation silu: " in capsys.readouterr().out
    kinds = [type(leaf) for leaf in md.Run(tmp_path / "y").model.leaves()]
    assert kinds.count(md.SiLU) == 3 and md.ReLU not in kinds
    assert train.main(["eval", str(tmp_path / "y"), "--threads", "1"]) == 0


def test_a_choice_that_the_network_does_not_have_is_a_wrong_flag(tmp_path, capsys):
    assert train.main([*SMALL, "--stem", "imagenet", "--output", str(tmp_path), "--dry-run"]) == 2
    assert capsys.readouterr().err.endswith(
        ": stem 'imagenet' is not for convnet: it is for resnet18, resnet34, resnext50\n"
    )


def test_a_checkpoint_may_be_named_by_its_run(folder):
    assert md.load_checkpoint(str(folder)).path == folder / "checkpoints" / "best.safetensors"


def test_it_can_be_shown_before_its_first_epoch_is_done(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "x", ignore=shutil.ignore_patterns("best*"))
    run = md.Run(tmp_path / "x")
    assert run._repr_html_() is None and "x" in repr(run)
    with pytest.raises(DataError, match="no checkpoint 'best' in it"):
        run.about  # noqa: B018


def test_it_says_in_a_line_and_in_a_table_what_it_is(folder):
    run = md.Run(folder)
    assert repr(run) == f"Run({str(folder)!r})"
    seen = Seen(run._repr_html_())
    assert (
        seen.tags.count("tr") == 3
        and "val_top1" in seen.texts
        and "x: convnet, best epoch" in seen.texts[0]
        and "script" not in seen.tags
    )


def test_another_folder_is_no_run(tmp_path):
    for call in (md.Run, md.load_checkpoint):
        with pytest.raises(DataError, match="not a run folder"):
            call(tmp_path)
    with pytest.raises(DataError, match="nowhere: no such run folder"):
        md.Run("nowhere")


def test_a_column_that_is_not_there_is_told_which_are(folder):
    with pytest.raises(UsageError, match="no column 'val_acc': choose epoch, train_loss, .*val_top1"):
        md.Run(folder).history["val_acc"]
