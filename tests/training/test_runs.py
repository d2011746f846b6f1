"""The run folder among people: several runs at once, lookers, moved and changed data, lost folders, lost screens."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import train
from minidl.data import load_dataset
from minidl.errors import DataError, UsageError
from minidl.storage.files import TEMPORARY, append_line, atomic, remove_leftovers, workshop
from minidl.storage.weights import load_arrays
from minidl.training.callbacks import StopRequested
from minidl.training.checkpoints import load_checkpoint
from minidl.training.config import Config
from minidl.training.folders import create_folder
from minidl.training.resume import restore_times
from minidl.training.run_data import check_classes
from minidl.training.runs import LOCK, Run
from minidl.training.trainer import TrainState
from tests.faults import make_images
from tests.small_runs import OWN, ROOT

pytestmark = pytest.mark.usefixtures("sketches")


@pytest.fixture
def pets(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "cache"))
    pets = make_images(tmp_path / "pets")
    load_dataset(pets, image_size=16, progress=False)  # packed: says nothing later
    return pets


def fit(tmp_path, pets, *flags, name="run"):
    """Exit code and folder of a run of two epochs."""
    flags = ["--data", str(pets), "--epochs", "2", "--output", str(tmp_path), "--name", name, *flags]
    return train.main([*OWN, *flags]), tmp_path / name


def weights(folder, name="last"):
    return load_arrays(folder / "checkpoints" / f"{name}.safetensors")[0]


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


# -------------------------------------------------------------------------- whose run it is


def test_looking_at_a_run_changes_nothing(tmp_path, pets):
    _, folder = fit(tmp_path, pets)
    with workshop(folder / "checkpoints") as living:
        (living / "last.safetensors").write_bytes(b"half")
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        assert train.main(["eval", str(folder)]) == 0
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_resumed_run_removes_what_the_dead_left_and_spares_the_living(tmp_path, pets):
    _, folder = fit(tmp_path, pets)
    (dead := folder / "checkpoints" / f"{TEMPORARY}dead").mkdir()
    with workshop(folder / "figures") as living:
        assert train.main(["--resume", str(folder)]) == 0
        assert living.is_dir() and not dead.exists()


def test_a_link_that_looks_like_a_leftover_is_not_followed(tmp_path):
    (precious := tmp_path / "precious").mkdir()
    (precious / "file").write_text("mine")
    (tmp_path / f"{TEMPORARY}link").symlink_to(precious)
    remove_leftovers(tmp_path)
    assert (precious / "file").read_text() == "mine"


def test_no_other_process_resumes_a_run_that_is_being_trained(tmp_path, pets, capsys):
    _, folder = fit(tmp_path, pets)
    with Run.open(folder).owned():
        capsys.readouterr()
        assert train.main(["--resume", str(folder)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and f"process {os.getpid()}" in error
        assert train.main(["--resume", str(folder), "--dry-run"]) == 0
        assert f"resumed  {folder}/checkpoints/last.safetensors " in capsys.readouterr().out
    assert train.main(["--resume", str(folder)]) == 0


def test_the_lock_of_a_run_dies_with_its_process(tmp_path, pets):
    _, folder = fit(tmp_path, pets)
    hold = f"""
from pathlib import Path; from minidl.training.runs import Run
with Run.open(Path({str(folder)!r})).owned(): print("held", flush=True); input()
"""
    command = [sys.executable, "-c", hold]
    holder = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    holder.stdout.readline()
    with pytest.raises(UsageError, match=f"process {holder.pid}"), Run.open(folder).owned():
        pass
    holder.kill()
    holder.communicate()
    with Run.open(folder).owned():
        pass


def test_a_lock_or_log_that_is_a_link_is_not_written_through(tmp_path, pets, capsys):
    _, folder = fit(tmp_path, pets)
    for name in (LOCK, "log.txt"):
        (victim := tmp_path / f"victim-{name}").write_text("mine")
        (folder / name).unlink()
        (folder / name).symlink_to(victim)
    assert train.main(["--resume", str(folder)]) == 3
    assert LOCK in capsys.readouterr().err
    with pytest.raises(DataError, match="a link"):
        append_line(folder / "log.txt", "a line")
    assert [(tmp_path / f"victim-{name}").read_text() for name in (LOCK, "log.txt")] == ["mine", "mine"]


# ------------------------------------------------------------------------------ new folders


def begin(output):
    return Run.create(output, None, Config()).path.name


def test_runs_that_begin_in_one_second_get_a_folder_each(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(begin, [tmp_path] * 24))
    assert len(set(names)) == 24
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    assert all(Run.open(tmp_path / name).config() == Config() for name in names)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a" * 300, "é" * 150, "nul\0"])
def test_a_name_that_is_none_is_refused_before_anything_is_read(tmp_path, name, capsys):
    assert train.main(["--data", "nowhere", "--output", str(tmp_path), "--name", name]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "--name" in error and len(error) < 200


def test_an_output_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="can't write .*file"):
        create_folder(tmp_path / "file", None, "run", lambda folder: None)


def test_a_folder_that_cannot_be_furnished_is_not_there(tmp_path):
    def fail(folder):
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match="disk is full"):
        create_folder(tmp_path, "run", "run", fail)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------- data that moved or changed


def test_a_run_continues_with_data_that_have_moved_and_remembers_where(tmp_path, pets, capsys):
    _, whole = fit(tmp_path, pets, "--snapshot-epochs", "1")
    _, folder = fit(tmp_path, pets, "--snapshot-epochs", "1", name="moved")
    first = folder / "checkpoints" / "epoch-001.safetensors"
    shutil.copy(first, folder / "checkpoints" / "last.safetensors")
    pets.rename(tmp_path / "elsewhere")
    capsys.readouterr()
    assert train.main(["--resume", str(folder)]) == 3
    assert "--data" in capsys.readouterr().err
    assert train.main(["--resume", str(folder), "--data", str(tmp_path / "elsewhere")]) == 0
    assert same(weights(folder), weights(whole))
    assert train.main(["--resume", str(folder)]) == 0
    assert train.main(["eval", str(folder), "--checkpoint", "last"]) == 0


def test_training_images_that_came_or_went_are_refused_on_resume(tmp_path, pets, capsys):
    _, folder = fit(tmp_path, pets)
    shutil.copy(pets / "train" / "cat" / "1.png", pets / "train" / "cat" / "99.png")
    capsys.readouterr()
    assert train.main(["--resume", str(folder)]) == 3
    error = capsys.readouterr().err
    assert "25 images" in error.splitlines()[-1] and "24" in error.splitlines()[-1]
    more = [pets / "train" / "cat" / f"{i}.png" for i in range(100, 110)]  # which make more steps
    for file in more:
        shutil.copy(pets / "train" / "cat" / "1.png", file)
    assert train.main(["--resume", str(folder)]) == 3
    assert "35 images, and 24 when the run began" in capsys.readouterr().err
    for file in more:
        file.unlink()
    (pets / "train" / "cat" / "99.png").rename(pets / "train" / "cat" / "1.png")
    assert train.main(["--resume", str(folder)]) == 0
    (pets / "train" / "cat" / "0.png").rename(pets / "train" / "cat" / "zero.png")
    assert train.main(["--resume", str(folder)]) == 3
    assert "names" in capsys.readouterr().err


def test_changed_pixels_and_other_val_images_are_said_and_the_normalisation_stays(tmp_path, pets, capsys):
    _, folder = fit(tmp_path, pets, "--snapshot-epochs", "1")
    about = load_checkpoint(folder / "checkpoints" / "last.safetensors").about
    copy = tmp_path / "copy"
    shutil.copytree(pets, copy)
    Image.new("RGB", (16, 16), "white").save(copy / "train" / "cat" / "0.png")
    (copy / "val" / "cat" / "0.png").unlink()
    capsys.readouterr()
    first = str(folder / "checkpoints" / "epoch-001.safetensors")
    assert train.main(["--resume", first, "--data", str(copy)]) == 0
    said = capsys.readouterr().out
    assert "train: some images are not as they were" in said and "val: 11 images, and 12" in said
    again = load_checkpoint(folder / "checkpoints" / "last.safetensors").about
    assert (again.mean, again.std) == (about.mean, about.std)


def test_a_run_continues_from_the_checkpoint_that_is_named(tmp_path, pets, capsys):
    _, folder = fit(tmp_path, pets, "--snapshot-epochs", "1")
    before, metrics = weights(folder), (folder / "metrics.csv").read_text().splitlines()
    capsys.readouterr()
    assert train.main(["--resume", str(folder / "checkpoints" / "epoch-001.safetensors")]) == 0
    assert "epoch-001.safetensors at epoch 2, batch 0" in capsys.readouterr().out
    assert same(weights(folder), before)
    assert len((folder / "metrics.csv").read_text().splitlines()) == len(metrics)


def test_no_run_continues_from_weights_alone(tmp_path, pets, capsys):
    _, folder = fit(tmp_path, pets)
    assert train.main(["--resume", str(folder / "checkpoints" / "best.safetensors")]) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "best.safetensors" in error and "last" in error
    alone = shutil.copy(folder / "checkpoints" / "last.safetensors", tmp_path)
    assert train.main(["--resume", alone]) == 3
    assert f"{alone}: not a checkpoint in the folder of a run" in capsys.readouterr().err


def test_snapshots_are_counted_not_spelled(tmp_path):
    from minidl.training.callbacks import Checkpointer

    run = Run.create(tmp_path, "run", Config())
    for epoch in (998, 999, 1000, 1001):
        (run.checkpoints / f"epoch-{epoch:03d}.safetensors").write_text("")
    Checkpointer(run, None, 1, keep=2)._forget_old_snapshots()
    assert {path.name for path in run.checkpoints.iterdir()} == {f"epoch-{n}.safetensors" for n in (1000, 1001)}


# ------------------------------------------------------------------------- what a run can do without


def failing(*_):
    raise RuntimeError("latex was not able to process\na long story")


@pytest.mark.parametrize(
    "place",
    [
        "minidl.visual.figures.save_history",
        "minidl.training.runs.Run.write_metrics",
        "minidl.training.reports.ProgressBar.on_step",
    ],
)
def test_what_is_optional_costs_a_line_and_training_ends_in_the_same_bits(tmp_path, pets, monkeypatch, place, capsys):
    _, whole = fit(tmp_path, pets)
    monkeypatch.setattr(place, failing)
    code, folder = fit(tmp_path, pets, name="other")
    assert code == 0 and same(weights(folder), weights(whole))
    lines = [line for line in (folder / "log.txt").read_text().splitlines() if line.startswith("warning")]
    assert lines and all("latex was not able" in line and "training continues" in line for line in lines)


def test_a_log_or_folders_that_are_gone_cost_no_epoch(tmp_path, pets, monkeypatch, capsys):
    class Vandal(train_callback()):
        def on_epoch(self, trainer):
            if trainer.state.epoch == 1:
                shutil.rmtree(tmp_path / "run")

    monkeypatch.setattr("minidl.cli.train.ProgressBar", Vandal)
    code, folder = fit(tmp_path, pets)
    assert code == 0
    assert load_checkpoint(folder / "checkpoints" / "last.safetensors").state.epoch == 2
    assert train.main(["--resume", str(folder)]) == 0


def train_callback():
    from minidl.training.reports import ProgressBar

    return ProgressBar


def test_an_epoch_that_cannot_be_saved_is_kept_elsewhere_and_can_be_resumed(tmp_path, pets, monkeypatch, capsys):
    _, whole = fit(tmp_path, pets)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    replace = os.replace

    def full(source, target):
        if Path(target).parent.name == "checkpoints":
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        code, folder = fit(tmp_path, pets, name="full")
    assert code == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    (rescue,) = (tmp_path / "temporary").rglob("last.safetensors")
    assert str(rescue) in error
    shutil.copy(rescue, folder / "checkpoints")
    assert train.main(["--resume", str(folder)]) == 0
    assert same(weights(folder), weights(whole))


@pytest.mark.slow
def test_a_run_whose_reader_has_gone_ends_as_any_other(tmp_path, pets):
    command = [sys.executable, str(ROOT / "train.py"), *OWN, "--data", str(pets), "--epochs", "2"]
    command += ["--output", str(tmp_path), "--name", "run"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()  # as `| head` does, once it has seen enough
    _, error = process.communicate()
    assert process.returncode == 0
    assert error.decode().count("\n") == 1 and b"log.txt" in error
    assert "done" in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_full_disk_under_the_output_ends_no_run(tmp_path, pets):
    command = [sys.executable, str(ROOT / "train.py"), *OWN, "--data", str(pets), "--epochs", "2"]
    command += ["--output", str(tmp_path), "--name", "run"]
    with open("/dev/full", "w") as full:
        assert subprocess.run(command, stdout=full, stderr=full).returncode == 0
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last.safetensors").state.epoch == 2


def test_a_diverging_run_says_so_in_one_line(tmp_path, pets, capsys, recwarn):
    code, _ = fit(tmp_path, pets, "--lr", "1e20")
    error = capsys.readouterr().err
    assert code == 4 and error.count("\n") == 1 and "--lr" in error
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


def test_patience_says_why_a_run_ended_early(tmp_path, pets, capsys):
    code, folder = fit(tmp_path, pets, "--epochs", "9", "--lr", "1e-12", "--patience", "1")
    assert code == 0
    assert "patience" in (folder / "log.txt").read_text()


def test_files_appear_whole_or_not_at_all(tmp_path):
    with pytest.raises(ValueError), atomic(tmp_path / "file") as temporary:
        temporary.write_text("half")
        raise ValueError
    assert list(tmp_path.iterdir()) == []


def test_config_json_keeps_everything_else_when_the_data_move(tmp_path, pets):
    _, folder = fit(tmp_path, pets, "--seed", "7")
    before = json.loads((folder / "config.json").read_text())
    pets.rename(tmp_path / "elsewhere")
    assert train.main(["--resume", str(folder), "--data", str(tmp_path / "elsewhere"), "--threads", "2"]) == 0
    after = json.loads((folder / "config.json").read_text())
    assert after == {**before, "data": str(tmp_path / "elsewhere")}


def test_what_a_resumed_run_is_to_write_is_kept_and_the_machine_is_not(tmp_path, pets):
    _, folder = fit(tmp_path, pets)
    before = json.loads((folder / "config.json").read_text())
    given = ["--keep", "1", "--snapshot-epochs", "2", "--checkpoint-minutes", "9"]
    assert train.main(["--resume", str(folder), *given, "--threads", "2", "--workers", "2"]) == 0
    after = json.loads((folder / "config.json").read_text())
    assert after == {**before, "keep": 1, "snapshot_epochs": 2, "checkpoint_minutes": 9.0}


def test_a_run_or_snapshot_that_is_gone_is_not_called_something_else(tmp_path, capsys):
    for gone in (tmp_path / "x", tmp_path / "x/checkpoints/epoch-002.safetensors"):
        assert train.main(["--resume", str(gone)]) == 3
        assert f"{gone}: no such run folder or checkpoint\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", ["1,9", "1,9,nan", "1,9,1e400", "1,9,-1", "1,9,x", "1,9," + "1" * 200_000, "2,9,9", "1,9,\udcff", None]
)
def test_damaged_times_of_an_exact_run_are_left_out(tmp_path, line):
    state = TrainState(history=[{"epoch": 1, "images_per_s": 0.0, "seconds": 0.0}])
    if line is None:
        os.mkfifo(tmp_path / "metrics.csv")
    else:
        text = f"epoch,images_per_s,seconds\n{line}\n"
        (tmp_path / "metrics.csv").write_text(text, encoding="utf-8", errors="surrogateescape")
    restore_times(Run(tmp_path), state)
    assert state.seconds == state.history[0]["seconds"] == state.history[0]["images_per_s"] == 0


def test_a_resumed_run_takes_no_other_name(tmp_path, pets, capsys):
    _, folder = fit(tmp_path, pets)
    assert train.main(["--resume", str(folder), "--name", "other"]) == 2
    assert "--name other: a resumed run keeps its folder" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_run_that_has_lost_its_last_checkpoint_does_not_begin_again(tmp_path, pets, capsys):
    _, folder = fit(tmp_path, pets, "--snapshot-epochs", "1")
    (folder / "checkpoints" / "last.safetensors").unlink()
    before = {path.name: path.read_bytes() for path in (folder / "checkpoints").iterdir()}
    capsys.readouterr()
    assert train.main(["--resume", str(folder)]) == 3
    assert "no checkpoint 'last' in it (there are best, epoch-001, epoch-002)" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (folder / "checkpoints").iterdir()} == before


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(tmp_path, pets):
    _, folder = fit(tmp_path, pets)
    whole = weights(folder)
    (folder / "checkpoints" / "last.safetensors").unlink()  # a kill may fall between `best` and `last`
    (folder / "metrics.csv").unlink()
    assert train.main(["--resume", str(folder)]) == 0
    assert same(weights(folder), whole)


@pytest.mark.parametrize("lasting", [False, True])
def test_a_best_checkpoint_that_cannot_be_written_is_tried_again_or_kept_elsewhere(
    tmp_path, pets, monkeypatch, capsys, lasting
):
    _, whole = fit(tmp_path, pets)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    replace, failures = os.replace, []

    def full(source, target):
        if Path(target).name == "best.safetensors" and (lasting or not failures):
            failures.append(target)
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        code, folder = fit(tmp_path, pets, name="full")
    error = capsys.readouterr().err
    if not lasting:
        assert code == 0 and same(weights(folder, "best"), weights(whole, "best"))
        return
    assert code == 3 and "copy it there;" in error
    (rescue,) = (tmp_path / "temporary").rglob("best.safetensors")
    assert str(rescue) in error and same(load_arrays(rescue)[0], weights(whole, "best"))


@pytest.mark.skipif(sys.platform == "darwin", reason="file names there are Unicode")
def test_a_folder_whose_name_is_no_utf8_takes_runs_too(tmp_path, pets):
    _, folder = fit(tmp_path, pets, "--output", os.fsdecode(os.fsencode(tmp_path) + b"/r\xe9sultats"))
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xe9sultats")) / "run"
    assert train.main(["--resume", str(place)]) == 0 and train.main(["eval", str(place)]) == 0


def test_the_command_that_continues_can_be_typed_as_it_stands(tmp_path, pets, monkeypatch, capsys):
    def interrupt(interruption, trainer):
        interruption.stopped = True
        raise StopRequested

    monkeypatch.setattr("minidl.training.callbacks.Interruption.on_step", interrupt)
    code, folder = fit(tmp_path, pets, name="my run")
    assert code == 130
    (said,) = [line for line in capsys.readouterr().out.splitlines() if "continue with: " in line]
    assert shlex.split(said.split("continue with: ")[1])[-2:] == ["--resume", str(folder)]


def test_eval_finds_data_that_moved_before_the_run_went_on(tmp_path, pets, capsys):
    _, folder = fit(tmp_path, pets)
    moved = pets.rename(tmp_path / "moved")
    assert train.main(["--resume", str(folder), "--data", str(moved)]) == 0  # no new epoch, no new checkpoint
    capsys.readouterr()
    assert train.main(["eval", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == str(moved)
    assert train.main(["eval", str(folder), "--data", str(moved)]) == 0
    assert ", in place of" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("here", "line"),
    [
        (["a", "b", "c", "x"], "on 4 classes, but pets has 4: class 3 is d there and x here"),
        (["a", "b", "c"], "but pets has 3: class 3 is d there and missing here"),
        (["a", "b", "c", "d", "e"], "but pets has 5: class 4 is missing there and e here"),
    ],
)
def test_other_classes_are_refused_with_the_first_that_differs(here, line):
    checkpoint = SimpleNamespace(path="net", about=SimpleNamespace(classes=["a", "b", "c", "d"]))
    with pytest.raises(DataError, match=line):
        check_classes(checkpoint, SimpleNamespace(name="pets", classes=here))


@pytest.mark.parametrize("flag", ["--classes", "--freeze", "--with", "--init-from", "--data"])
def test_an_empty_value_is_refused(flag, capsys):
    assert train.main([flag, ""]) == 2
    assert f"{flag}: the value is empty" in capsys.readouterr().err
