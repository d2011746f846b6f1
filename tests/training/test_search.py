"""Searches of a few tiny trials: what they leave, kills, several processes, divergence, and what is refused."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import optuna
import pytest

import train
from minidl.cli.programs import TRAIN_PY
from minidl.cli.search import search_to_run
from minidl.errors import UsageError
from minidl.training import run_data, search
from minidl.training.callbacks import Interruption
from minidl.training.config import Config
from minidl.training.search import SAMPLERS, Plan
from minidl.training.study import Study, create_search, open_study, read_trials
from minidl.visual.search_plots import save_search
from tests.small_runs import NET, OWN, ROOT
from tests.tiny_fixture import make_folders, write_image

TRIAL = [*NET, "--subset", "0.02", "--batch-size", "20", "--epochs", "1"]
SMALL = ["search", *TRIAL, "--trials", "4"]
CONFIG = Config(model="convnet", subset=0.02, batch_size=20, epochs=1, schedule="constant", threads=1)


def run(tmp_path, *flags, name="search"):
    """Exit code and folder of a small search."""
    return train.main([*SMALL, "--output", str(tmp_path), "--name", name, *flags]), tmp_path / name


def resume(folder, *flags):
    return train.main(["search", "--resume", str(folder), *flags])


def process(*flags):
    command = [sys.executable, str(ROOT / "train.py"), *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def table(folder):
    """trials.csv without its column of times."""
    with (folder / "trials.csv").open() as file:
        return [{name: v for name, v in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def answer(capsys, *argv):
    """(exit code, the one line on stderr) of a search that must fail."""
    capsys.readouterr()
    try:
        code = train.main(["search", *map(str, argv)])
    except SystemExit as stop:  # argparse
        code = stop.code
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return code, error


def epoch(top1):
    """A row of metrics as the trainer makes it."""
    return {"epoch": 1, "train_top1": top1, "val_loss": 1 - top1, "val_top1": top1}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search from start to end."""
    code, folder = run(tmp_path_factory.mktemp("whole"))
    assert code == 0
    return folder


@pytest.fixture
def empty(tmp_path):
    """The folder of a search of three trials that nobody has begun; its name has odd characters."""
    return create_search(tmp_path, "a{b} %20?#c", Plan(CONFIG, trials=3))


def run_all(study):
    """Number and settings of every trial that `study` gives, all of them with the same result."""
    got = []
    while draw := study.next():
        study.finish(draw, [epoch(0.5)], False)
        got.append((draw.trial.number, draw.config))
    return got


def draws(folder, **plan):
    """Learning rates and weight decays of a whole search, kept in memory: shape (trials, 2)."""
    plan, storage = Plan(**plan), optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage, direction="maximize")
    return np.array([(c.lr, c.weight_decay) for _, c in run_all(Study(folder, plan, storage, study))])


def test_a_search_leaves_its_plan_its_study_a_table_and_a_figure(whole):
    names = {str(p.relative_to(whole)) for p in whole.rglob("*") if p.is_file()}
    files = ("search.json", "env.json", "data.json", "log.txt", "study.db", "study.lock", "trials.csv")
    assert names == {*files, "figures/search.png"}
    assert json.loads((whole / "search.json").read_text())["trials"] == 4
    assert [int(row["trial"]) for row in table(whole)] == [0, 1, 2, 3]
    assert all(0 <= float(row["val_top1"]) <= 1 and row["state"] == "complete" for row in table(whole))


def test_settings_are_drawn_within_their_ranges_and_differ(whole):
    for name, (low, high) in search.RANGES.items():
        drawn = [float(row[name]) for row in table(whole)]
        assert all(low <= value <= high for value in drawn)
        assert len(set(drawn)) == 4


def test_settings_are_log_uniform(tmp_path):
    """Of 200 draws over four decades, about 50 fall into each."""
    exponents = np.log10(draws(tmp_path, config=Config(), trials=200))
    for column, (low, _) in zip(exponents.T, search.RANGES.values(), strict=True):
        assert np.histogram(column - np.log10(low), 4, (0, 4))[0] == pytest.approx([50] * 4, abs=18)


def test_a_trial_is_a_run_of_fit_with_its_settings(whole, tmp_path):
    trial = table(whole)[1]
    flags = ["--lr", trial["lr"], "--weight-decay", trial["weight_decay"], "--schedule", "constant"]
    assert train.main([*TRIAL, *flags, "--output", str(tmp_path), "--name", "run"]) == 0
    with (tmp_path / "run" / "metrics.csv").open() as file:
        metrics = list(csv.DictReader(file))[-1]
    assert [metrics[name] for name in ("val_loss", "val_top1")] == [trial[name] for name in ("val_loss", "val_top1")]


def test_without_flags_it_searches_as_the_paper_did():
    _, plan = search_to_run(TRAIN_PY.parse(["search"]))
    config = plan.config
    assert (plan.trials, plan.sampler, config.model, config.subset, config.epochs) == (
        53,
        "random",
        "baseline",
        0.1,
        8,
    )
    assert (config.optimizer, config.schedule, config.augment, config.dropout) == ("adam", "constant", "none", 0.0)
    assert all(low < chosen < high for chosen, (low, high) in ((1e-4, plan.lr), (3.16e-5, plan.weight_decay)))


def test_the_data_is_loaded_once(tmp_path, monkeypatch):
    loaded, load = [], run_data.load_data
    monkeypatch.setattr(run_data, "load_data", lambda config: loaded.append(1) or load(config))
    assert run(tmp_path, "--trials", "2")[0] == 0
    assert len(loaded) == 1


@pytest.mark.slow
def test_a_killed_search_continues_to_the_same_table(whole, tmp_path):
    """kill -9 within the second trial."""
    folder = tmp_path / "search"
    killed = process(*SMALL, "--output", str(tmp_path), "--name", "search")
    while killed.poll() is None and not (folder / "trial-1.lock").exists():
        time.sleep(0.001)
    killed.kill()
    killed.communicate()
    assert table(folder) == table(whole)[: max(1, len(table(folder)))]  # on a busy machine it may have got further
    assert resume(folder) == 0
    assert table(folder) == table(whole)
    assert (folder / "figures" / "search.png").is_file()


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_the_search_continues_to_the_same_table(whole, tmp_path, monkeypatch, capsys):
    class StopInTheThirdTrial(Interruption):
        steps = 0

        def on_step(self, trainer):
            self.steps += 1
            if self.steps == 11:  # an evaluation counts as one
                os.kill(os.getpid(), signal.SIGINT)
            super().on_step(trainer)

    with monkeypatch.context() as patch:
        patch.setattr("minidl.cli.search.Interruption", StopInTheThirdTrial)
        code, folder = run(tmp_path)
    assert code == 130
    assert f"python train.py search --resume {folder}" in capsys.readouterr().out.splitlines()[-1]
    assert table(folder) == table(whole)[:2]
    assert (folder / "figures" / "search.png").is_file()
    assert resume(folder) == 0
    assert table(folder) == table(whole)


@pytest.mark.slow
def test_two_processes_share_the_trials(tmp_path):
    folder = create_search(tmp_path, "search", Plan(CONFIG, trials=4))
    both = [process("search", "--resume", str(folder)) for _ in range(2)]
    lines = [line.split() for p in both for line in p.communicate()[0].splitlines() if "  val top-1 " in line]
    assert [p.returncode for p in both] == [0, 0]
    done = sorted(int(line[2]) for line in lines if line[1] == "trial")
    assert done == [int(row["trial"]) for row in table(folder)] == list(range(4))


def test_a_trial_is_run_by_one_process_and_put_back_when_it_dies(empty):
    plan = search.read_plan(empty)
    with open_study(empty, plan) as living:
        with open_study(empty, plan) as dying:
            held, lost = living.next(), dying.next()
            assert [d.trial.number for d in (held, lost)] == [0, 1]
        with open_study(empty, plan) as other:
            again = run_all(other)
        assert again[0] == (1, lost.config)  # the one put back comes first, with the settings it had
        assert [number for number, _ in again] == [1, 2]  # not 0, which is still held, and no more than three
        living.finish(held, [epoch(0.25)], False)
        assert [row["trial"] for row in living.rows()] == [0, 1, 2]


def test_draws_follow_from_seed_and_number_alone(tmp_path):
    five, three = (draws(tmp_path, config=Config(), trials=trials) for trials in (5, 3))
    assert np.array_equal(five[:3], three)
    assert not np.isin(draws(tmp_path, config=Config(seed=1), trials=5), five).any()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_within_the_ranges(sampler, tmp_path, recwarn):
    plan = {"trials": 14, "sampler": sampler, "lr": (1e-3, 1e-2)}  # tpe draws at random ten times first
    lr = draws(tmp_path, config=Config(), **plan)[:, 0]
    assert len(set(lr)) == 14
    assert (lr >= 1e-3).all() and (lr <= 1e-2).all()
    assert not recwarn.list
    assert np.array_equal(draws(tmp_path, config=Config(), **plan)[:, 0], lr)


def test_trials_that_diverge_are_recorded_as_such(tmp_path, capsys, recwarn):
    code, folder = run(tmp_path, "--optimizer", "sgd", "--lr", "1e20", "1e20", "--trials", "2")
    assert code == 0
    assert [(row["state"], row["val_top1"], row["epochs"]) for row in table(folder)] == [("diverged", "0.0", "0")] * 2
    out, err = capsys.readouterr()
    assert out.count("diverged") == 2
    assert err == "" and not recwarn.list
    assert (folder / "figures" / "search.png").is_file()


def test_a_trial_that_diverges_later_has_the_accuracy_of_its_last_sound_epoch(empty):
    with open_study(empty, search.read_plan(empty)) as study:
        row = study.finish(study.next(), [epoch(0.25)], True)
        assert (row["state"], row["val_top1"], row["epochs"]) == ("diverged", 0.25, 1)
        study.finish(study.next(), [epoch(0.125)], False)
        assert [row["val_top1"] for row in search.best_trials(study.rows(), 5)] == [0.125]


def test_a_loss_that_is_no_number_after_the_last_step_is_divergence():
    class Trainer:
        class state:
            history = [epoch(0.25), epoch(0.125) | {"val_loss": float("nan")}]

        def fit(self): ...

    assert search.train_trial(Trainer()) == ([epoch(0.25)], True)


@pytest.mark.slow
def test_a_finished_search_is_shown_again_and_continues_for_more_trials(tmp_path, capsys):
    _, folder = run(tmp_path, "--trials", "2")
    before = table(folder)
    for fewer in ([], ["--trials", "1", "--threads", "2"]):
        capsys.readouterr()
        assert resume(folder, *fewer) == 0
        assert "the best" in capsys.readouterr().out
        assert table(folder) == before
    assert resume(folder, "--trials", "3") == 0
    assert table(folder)[:2] == before and len(table(folder)) == 3
    assert search.read_plan(folder).trials == 3


def test_a_resumed_search_keeps_its_settings(whole, capsys):
    one = (["--sampler", "tpe"], ["--epochs", "2"], ["--seed", "1"], ["--name", "new"])
    for flags in (["--lr", "1e-4", "1e-2"], *one):
        code, error = answer(capsys, "--resume", whole, *flags)
        assert code == 2
        assert flags[0] in error
    assert resume(whole, "--epochs", "1", "--workers", "2") == 0  # the same, and one that changes nothing


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--trials", "0"], "--trials"),
        (["--sampler", "grid"], "choose from"),
        (["--lr", "1e-2", "1e-4"], "--lr 0.01 0.0001"),
        (["--lr", "1e-3"], "--lr"),
        (["--weight-decay", "0", "1e-3"], "--weight-decay"),
        (["--snapshot-epochs", "1"], "--snapshot-epochs"),
        (["--batch-size", "100000"], "100000"),
        (["--name", "a/b"], "'a/b'"),
    ],
)
def test_a_wrong_setting_is_named_and_leaves_nothing(flags, named, tmp_path, capsys):
    code, error = answer(capsys, *SMALL[1:], "--output", tmp_path, *flags)
    assert code == 2
    assert named in error
    assert list(tmp_path.iterdir()) == []


def test_a_search_goes_on_with_data_that_have_moved_and_with_no_others(tmp_path, capsys):
    flags = [*OWN, "--subset", "1", "--epochs", "1", "--trials", "1"]
    make_folders(tmp_path / "pets", train=4, size=(16, 16))
    code, folder = run(tmp_path, *flags, "--data", str(tmp_path / "pets"))
    assert code == 0
    moved = (tmp_path / "pets").rename(tmp_path / "elsewhere")
    code, error = answer(capsys, "--resume", folder)
    assert code == 3 and f"--resume {folder} --data NEW-PLACE" in error
    write_image(moved / "train" / "cat" / "99.png", size=(16, 16))
    code, error = answer(capsys, "--resume", folder, "--data", moved)
    assert code == 3 and "9 images, and 8" in error and "start a new search" in error
    (moved / "train" / "cat" / "99.png").unlink()
    assert resume(folder, "--data", str(moved)) == 0
    assert search.read_plan(folder).config.data == str(moved)


def test_a_folder_is_never_overwritten(whole, capsys):
    taken = [*SMALL[1:], "--output", whole.parent, "--name", whole.name]
    for more in ([], ["--data", "/nowhere"]):  # it is said before the data are read
        code, error = answer(capsys, *taken, *more)
        assert code == 2 and "--resume" in error


def test_a_folder_of_another_kind_is_named(whole, tmp_path, capsys):
    assert train.main([*TRIAL, "--output", str(tmp_path), "--name", "run"]) == 0
    for folder in (tmp_path / "run", tmp_path, tmp_path / "nowhere", whole / "study.db"):
        code, error = answer(capsys, "--resume", folder)
        assert code == 3
        assert str(folder) in error
    assert train.main(["--resume", str(whole)]) == 3  # nor is a search a run
    assert str(whole) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("search.json", "{", 3),
        ("search.json", "[]", 3),
        ("search.json", "{}", 3),
        ("study.db", "no database" * 100, 3),
        ("study.db", "", 3),
    ],
)
def test_a_damaged_file_is_named(name, content, code, empty, capsys):
    (empty / name).write_text(content)
    got, error = answer(capsys, "--resume", empty)
    assert got == code
    assert name in error


def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code, error = answer(capsys, *SMALL[1:], "--output", tmp_path / "file")
    assert code == 3
    assert str(tmp_path / "file") in error


def test_a_table_and_a_picture_that_cannot_be_written_do_not_end_a_search(tmp_path, capsys, monkeypatch):
    def trial_after_which_files_are_in_the_way(trainer):
        (tmp_path / "search" / "trials.csv").mkdir()
        (tmp_path / "search" / "figures").rmdir()
        (tmp_path / "search" / "figures").write_text("")
        return [epoch(0.5) | {"seconds": 1.0}], False

    monkeypatch.setattr(search, "train_trial", trial_after_which_files_are_in_the_way)
    code, folder = run(tmp_path, "--trials", "1")
    out = capsys.readouterr().out
    assert code == 0 and len(read_trials(folder)) == 1 and "wrote" not in out
    for name in ("trials.csv", "figures"):
        assert re.search(rf"warning  .*{name}.*; the trials are safe in study.db", out)


def test_without_optuna_one_line_says_how_to_install_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, error = answer(capsys, *SMALL[1:], "--output", tmp_path)
    assert code == 2
    assert "pip install" in error
    assert list(tmp_path.iterdir()) == []


def test_the_rows_of_a_study_are_drawn(whole, tmp_path):
    for source in (whole, whole / "study.db"):
        rows = read_trials(source)
        assert [row["val_top1"] for row in rows] == [float(row["val_top1"]) for row in table(whole)]
        save_search(tmp_path / "search.svg", rows, "a title")
        drawing = (tmp_path / "search.svg").read_text()
        best = max(rows, key=lambda row: row["val_top1"])
        assert f"best: {100 * best['val_top1']:.1f} % at lr {best['lr']:.1e}" in drawing
        assert "mathdefault" not in drawing
    with pytest.raises(UsageError, match="nothing to draw"):
        save_search(tmp_path / "none.png", [], "a title")
