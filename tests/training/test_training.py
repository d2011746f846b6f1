"""Runs of train.py on a few images: the run folder, exact resume, interruption, divergence."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import train
from minidl.cli import common
from minidl.cli import train as fit
from minidl.parallel.communicator import Communicator
from minidl.storage.weights import load_arrays
from minidl.training import execution
from minidl.training.checkpoints import export_checkpoint, load_checkpoint
from minidl.training.config import ENGINES, Config
from minidl.training.execution import engine_of
from minidl.visual.figures import save_history
from tests.conftest import ENGINE, HANGS, release_blas
from tests.small_runs import PART, ROOT

pytestmark = pytest.mark.usefixtures("sketches")
SMALL = [*PART, "--epochs", "3", "--dropout", "0.2", "--augment", "online"]


def run(tmp_path, *flags, name="run"):
    """Exit code and folder of a small run."""
    return train.main([*SMALL, "--output", str(tmp_path), "--name", name, *flags]), tmp_path / name


def rows(folder):
    """metrics.csv without its two time columns."""
    with (folder / "metrics.csv").open() as file:
        return [
            {k: v for k, v in row.items() if k not in ("images_per_s", "seconds")} for row in csv.DictReader(file)
        ]


def assert_same_run(a, b):
    one, two = (load_arrays(folder / "checkpoints" / "last.safetensors")[0] for folder in (a, b))
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert rows(a) == rows(b)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run from start to end."""
    code, folder = run(tmp_path_factory.mktemp("whole"))
    assert code == 0
    return folder


def test_a_run_folder_holds_what_design_says(whole):
    for name in ("config.json", "env.json", "log.txt", "metrics.csv", "figures/history.png"):
        assert (whole / name).stat().st_size > 0, name
    assert {p.name for p in (whole / "checkpoints").iterdir()} == {"best.safetensors", "last.safetensors"}
    assert json.loads((whole / "config.json").read_text())["model"] == "convnet"
    assert list(rows(whole)[0]) == ["epoch", "train_loss", "train_top1", "val_loss", "val_top1", "val_top5", "lr"]
    assert len(rows(whole)) == 3
    assert all(0 <= float(row["val_top1"]) <= float(row["val_top5"]) <= 1 for row in rows(whole))


def test_the_loss_falls(whole):
    losses = [float(row["train_loss"]) for row in rows(whole)]
    assert losses[-1] < losses[0]


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(whole, tmp_path):
    _, again = run(tmp_path)
    assert_same_run(whole, again)
    _, other = run(tmp_path, "--seed", "1", name="other")
    assert rows(other) != rows(whole)


def stop_after(steps):
    """A callback that interrupts a run, as Ctrl-C does, after so many steps."""

    class Stop(fit.Interruption):
        def on_step(self, trainer):
            if trainer.state.step == steps:
                self.stop()
            super().on_step(trainer)

    return Stop


@pytest.mark.parametrize("steps", [1, 10, 13, 27])
def test_a_run_stopped_at_any_step_and_resumed_ends_in_the_same_bits(whole, tmp_path, monkeypatch, steps):
    with monkeypatch.context() as patch:
        patch.setattr(fit, "Interruption", stop_after(steps))
        code, folder = run(tmp_path)
    assert code == 130
    assert load_checkpoint(folder / "checkpoints" / "last.safetensors").state.step == steps
    assert train.main(["--resume", str(folder)]) == 0
    assert_same_run(whole, folder)


def test_a_run_without_any_checkpoint_resumes_from_the_start_and_says_so(whole, tmp_path, capsys):
    _, folder = run(tmp_path)
    for file in (folder / "checkpoints").iterdir():
        file.unlink()
    assert train.main(["--resume", str(folder)]) == 0
    assert f"resumed  {folder} from the beginning: it has no checkpoint" in capsys.readouterr().out
    assert_same_run(whole, folder)


def test_resuming_a_finished_run_changes_nothing_and_says_so(whole, capsys):
    before, state = (whole / "metrics.csv").read_text(), load_checkpoint(whole / "checkpoints/last.safetensors").state
    assert train.main(["--resume", str(whole)]) == 0
    assert f"after epoch {state.epoch}, step {state.step}: nothing is left to do\n" in capsys.readouterr().out
    assert (whole / "metrics.csv").read_text() == before


def test_resume_auto_takes_the_newest_run_and_refuses_where_there_is_none(tmp_path, capsys):
    assert train.main([*SMALL, "--output", str(tmp_path), "--resume"]) == 2
    assert "no run" in capsys.readouterr().err and not list(tmp_path.iterdir())
    assert run(tmp_path, name="first")[0] == 0
    assert run(tmp_path, name="second")[0] == 0
    os.utime(tmp_path / "first" / "config.json", (2e9, 2e9))  # as --resume with another --data leaves it
    assert train.main(["--output", str(tmp_path), "--resume", "auto"]) == 0
    assert f"resumed  {tmp_path / 'second'}" in capsys.readouterr().out


def test_a_resumed_run_keeps_its_settings(whole, capsys):
    assert train.main(["--resume", str(whole), "--lr", "0.5"]) == 2
    assert "--lr" in capsys.readouterr().err


@pytest.mark.slow
def test_a_real_ctrl_c_saves_and_exits_with_130(whole, tmp_path):
    command = [sys.executable, str(ROOT / "train.py"), *SMALL, "--output", str(tmp_path), "--name", "run"]
    process = subprocess.Popen([*command, "--epochs", "500"], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("epoch"):
            break
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=HANGS) == 130
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last.safetensors").state.step > 0


def test_a_run_folder_is_never_overwritten(whole, capsys):
    assert train.main([*SMALL, "--output", str(whole.parent), "--name", whole.name]) == 2
    assert "--resume" in capsys.readouterr().err


def test_divergence_stops_with_exit_code_4_and_names_the_last_good_checkpoint(tmp_path, capsys):
    with np.errstate(all="ignore"):
        code, folder = run(tmp_path, "--optimizer", "sgd", "--schedule", "constant", "--lr", "1e30")
    assert code == 4
    assert "last good checkpoint" in capsys.readouterr().err
    last = folder / "checkpoints" / "last.safetensors"
    assert not last.exists() or all(np.isfinite(a).all() for a in load_arrays(last)[0].values())


def test_out_of_memory_names_a_smaller_batch_and_exits_with_5(tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("minidl.training.trainer.Trainer.train_step", fail)
    assert run(tmp_path)[0] == 5
    assert "--batch-size 4" in capsys.readouterr().err


def test_a_batch_that_cannot_fit_is_refused_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(common, "available_memory", lambda xp: 2_000_000)
    assert run(tmp_path)[0] == 5
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert 1 <= int(line.split("--batch-size ")[1]) < 8
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_and_a_refusal_state_memory_in_powers_of_ten(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fit, "training_bytes", lambda config, memory: 69_600_000_000)
    monkeypatch.setattr(common, "available_memory", lambda xp: 2_000_000_000)
    for dry in ([], ["--dry-run"]):
        assert run(tmp_path, *dry)[0] == 5
        out, error = capsys.readouterr()
        assert "needs about 69.6 GB and 2.0 GB are free" in error
        assert ("memory   about 69,600 MB" in out) == bool(dry)


def test_ranks_need_the_memory_of_their_parts_of_the_batch(tmp_path, monkeypatch, capsys):
    def needed(ranks, here):
        comm = Communicator()
        comm.size, comm.local_size = ranks, here
        monkeypatch.setattr(fit, "world", lambda: comm)
        assert run(tmp_path, "--batch-size", "64", "--dry-run")[0] == 0
        return int(re.search(r"memory   about ([\d,]+) MB", capsys.readouterr().out)[1].replace(",", ""))

    whole, part = needed(1, 1), needed(4, 1)
    assert part < 0.7 * whole and needed(4, 4) == pytest.approx(4 * part, abs=3)
    comm = Communicator()
    comm.local_size = 3
    assert common.memory_here(10, comm, np) == 30 and common.memory_here(10, comm, None) == 10


def test_snapshots_are_kept_as_asked_and_deletions_are_announced(tmp_path, capsys):
    _, folder = run(tmp_path, "--snapshot-epochs", "1", "--keep", "1")
    assert [p.name for p in (folder / "checkpoints").glob("epoch-*")] == ["epoch-003.safetensors"]
    assert "deleted epoch-001.safetensors" in capsys.readouterr().out


def test_patience_ends_a_run_that_gets_no_better(tmp_path):
    _, folder = run(tmp_path, "--epochs", "40", "--lr", "1e-12", "--patience", "2")
    assert len(rows(folder)) < 40


def test_a_dry_run_ends_as_the_run_would(tmp_path, capsys):
    there = tmp_path / "file"
    there.touch()
    for dry in ([], ["--dry-run"]):
        assert run(there, *dry)[0] == 3 and f"{there} is not a folder" in capsys.readouterr().err


def test_dry_run_writes_nothing(tmp_path, capsys):
    assert run(tmp_path, "--dry-run")[0] == 0
    assert "parameters" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_drawn_figure_leaves_nothing_in_memory(tmp_path):
    import gc

    from matplotlib.figure import Figure

    row = {"epoch": 1, "train_loss": 2.0, "val_loss": 2.0, "train_top1": 0.1, "val_top1": 0.1}
    others = {id(o) for o in gc.get_objects() if isinstance(o, Figure)}  # of tests before this one
    gc.disable()  # whatever survives here would pile up, epoch after epoch, between two collections
    try:
        save_history(tmp_path / "history.png", [row], "a title")
        assert not [o for o in gc.get_objects() if isinstance(o, Figure) and id(o) not in others]
    finally:
        gc.enable()


def test_init_from_takes_the_weights_of_another_run(whole, tmp_path, capsys):
    code, _ = run(tmp_path, "--init-from", str(whole), "--dry-run")
    assert code == 0
    assert "weights of" in capsys.readouterr().out


def test_presets_give_way_to_flags_and_know_the_papers_two_trainings():
    from minidl.training.config import make_config

    baseline, refined = (make_config("paper", {"model": name}) for name in ("baseline", "refined"))
    assert (baseline.gray, baseline.augment, baseline.dropout, baseline.schedule) == ("skip", "none", 0.0, "constant")
    assert (refined.gray, refined.augment, refined.schedule, refined.drop_epoch) == ("convert", "paper", "step", 25)
    for config in (baseline, refined):
        assert (config.optimizer, config.epochs, config.lr, config.weight_decay) == ("adam", 40, 1e-4, 3.16e-5)
    assert make_config("paper", {"model": "refined", "lr": 1.0}).lr == 1.0


def evaluation(capsys, folder, *flags):
    """What eval --json prints."""
    capsys.readouterr()
    assert train.main(["eval", str(folder), "--json", "--checkpoint", "last", *flags]) == 0
    return json.loads(capsys.readouterr().out)


def test_eval_prints_accuracies_and_confusions_as_text_and_json(whole, capsys):
    assert train.main(["eval", str(whole), *ENGINE]) == 0
    text = capsys.readouterr().out
    assert "accuracy per class" in text and "taken for" in text
    report = evaluation(capsys, whole, *ENGINE)
    assert report["images"] == 20 and report["extent"] == "2 % of val"
    assert len(report["class_accuracy"]) == 20
    assert np.mean(list(report["class_accuracy"].values())) == pytest.approx(report["top1"])
    assert report["macro"]["recall"] == pytest.approx(report["top1"])  # each class has one image
    assert np.mean(list(report["class_f1"].values())) <= report["macro"]["f1"]
    assert "means over classes: precision " in text and len(report["class_precision"]) == 20


@pytest.mark.parametrize("engine", ENGINES)
def test_either_engine_reads_the_checkpoints_of_the_other(engine, tmp_path, capsys):
    _, folder = run(tmp_path, "--epochs", "1", "--engine", engine)
    fused, plain = (evaluation(capsys, folder, "--engine", e) for e in ENGINES)
    assert fused["loss"] == pytest.approx(plain["loss"], rel=1e-5)
    assert fused["top1"] == pytest.approx(plain["top1"], abs=2 / fused["images"])  # a near tie may fall either way


def test_both_engines_train_alike(tmp_path, monkeypatch):
    trained, fuse = [], execution.prepare
    monkeypatch.setattr(execution, "prepare", lambda *settings: trained.append(fuse(*settings)) or trained[-1])
    fused, plain = (rows(run(tmp_path, "--epochs", "1", "--engine", e, name=e)[1])[0] for e in ENGINES)
    assert len(trained) == 1  # there are indeed two engines
    for loss in ("train_loss", "val_loss"):
        assert float(fused[loss]) == pytest.approx(float(plain[loss]), rel=1e-3)


def test_the_fused_engine_trains_to_the_same_bits_on_any_number_of_threads(tmp_path):
    one, three = (run(tmp_path, "--engine", "fused", "--threads", n, name=n)[1] for n in ("1", "3"))
    assert_same_run(one, three)


@pytest.mark.slow
def test_the_plain_engine_trains_to_the_same_bits_on_any_number_of_blas_threads(tmp_path):
    runs = []
    for number in (1, 2):
        release_blas(number)
        runs.append(run(tmp_path, "--engine", "plain", "--threads", "0", name=str(number))[1])
        release_blas(1)
    assert_same_run(*runs)


def test_a_run_of_the_plain_engine_is_resumed_on_it(tmp_path, capsys):
    _, folder = run(tmp_path, "--engine", "plain")
    capsys.readouterr()
    assert train.main(["--resume", str(folder)]) == 0
    assert "numpy plain" in capsys.readouterr().out
    assert train.main(["--resume", str(folder), "--engine", "fused"]) == 2
    assert "--engine" in capsys.readouterr().err


def test_a_gpu_runs_plain_layers():
    assert engine_of(Config(engine="fused", backend="cupy")) == "plain"


def test_cupy_without_a_gpu_is_one_line_and_exit_code_2(tmp_path, capsys):
    from minidl.backend.arrays import cupy_problem

    if cupy_problem() is None:
        pytest.skip("this machine has a GPU")
    assert run(tmp_path, "--backend", "cupy")[0] == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "cupy" in error


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bits(whole, tmp_path):
    """kill -9 at a checkpoint, twice: there is one after every step."""
    command = [sys.executable, str(ROOT / "train.py"), *SMALL, "--output", str(tmp_path), "--name", "run"]
    command += ["--checkpoint-minutes", "1e-9"]
    folder, environment = tmp_path / "run", {**os.environ, "OMP_NUM_THREADS": "1"}
    last, steps = folder / "checkpoints" / "last.safetensors", 0
    for _ in range(2):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (last.exists() and load_checkpoint(last).state.step > steps):
            time.sleep(0.01)
        process.kill()
        process.wait()
        steps = load_checkpoint(last).state.step
        command = [sys.executable, str(ROOT / "train.py"), "--resume", str(folder)]
    assert train.main(["--resume", str(folder)]) == 0
    assert_same_run(whole, folder)


def test_an_exported_checkpoint_is_the_run_without_optimizer_and_paths(whole, tmp_path, capsys):
    file = tmp_path / "small.safetensors"
    assert train.main(["export", str(whole), "--checkpoint", "last", "--output", str(file)]) == 0
    before, after = (load_checkpoint(f) for f in (whole / "checkpoints" / "last.safetensors", file))
    assert after.arrays.keys() == {name for name in before.arrays if not name.startswith("optimizer/")}
    assert all(np.array_equal(a, before.arrays[name]) for name, a in after.arrays.items())
    assert (after.state, after.about) == (before.state, before.about)  # `shapes` is a name already
    before.about.config["data"] = str(tmp_path / "my-data.tar.gz")
    export_checkpoint(file, before)
    assert load_checkpoint(file).about.config["data"] == "./my-data"
    before.about.config["data"] = "shapes"
    export_checkpoint(file, before)
    capsys.readouterr()
    assert train.main(["eval", str(file)]) == 0
    assert "20 images (2 % of val" in capsys.readouterr().out
