"""The learning-rate range test: its rates, where it ends, what it suggests, and the command `find-lr`."""

import csv

import numpy as np
import pytest

import train
from minidl.errors import DivergedError, UsageError
from minidl.training.range_test import LEAST_STEPS, RangeTest, geometric, range_test
from minidl.visual.search_plots import save_range_test
from tests.small_runs import NET

SMALL = ["find-lr", *NET, "--subset", "0.04", "--batch-size", "8"]


class Scripted:
    """A trainer whose loss is a function of the rate it is told to learn at."""

    xp = np

    class state:
        step = 0

    def __init__(self, loss, batches=100):
        self.loss, self.state = loss, type("State", (), {"step": 0})()
        self.train = type("Loader", (), {"epoch": lambda _, epoch: iter([(np.zeros(1),) * 2] * batches)})()
        type(self.train).__len__ = lambda _: batches

    def step(self, x, y):
        return self.loss(self.schedule(self.state.step)), 0


def bowl(lr):
    """Falls from 2 as a logistic curve with its steepest point at 1e-3, and rises from 1e-1 on."""
    return 2 - 1 / (1 + (1e-3 / lr) ** 2) + (lr / 1) ** 2


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_rates_rise_by_the_same_factor_from_end_to_end():
    rates = [geometric(1e-6, 10, 8)(step) for step in range(8)]
    assert rates == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10])


def test_it_takes_at_most_the_steps_asked_for_and_one_epoch():
    flat = Scripted(lambda lr: 1.0)
    assert len(range_test(flat, 1e-6, 10, 40).rates) == 40
    assert len(range_test(Scripted(lambda lr: 1.0), 1e-6, 10, 1000).rates) == 100


def test_it_suggests_the_rate_of_the_steepest_fall_and_a_tenth_of_the_lowest():
    test = range_test(Scripted(bowl), 1e-6, 10, 100)
    assert test.steepest == pytest.approx(1e-3, rel=0.4)
    assert test.tenth == pytest.approx(test.rates[test.smoothed.argmin()] / 10)
    assert 1e-3 < test.tenth < 2e-2


def test_a_steeper_fall_after_the_minimum_does_not_count():
    test = range_test(Scripted(lambda lr: bowl(lr) if lr < 0.3 else 4.0 if lr < 2 else 2.0), 1e-6, 10, 100)
    assert test.steepest == pytest.approx(1e-3, rel=0.4)


def test_it_ends_where_the_loss_is_four_times_the_lowest():
    test = range_test(Scripted(bowl), 1e-6, 1e4, 100)
    assert test.smoothed[-1] > 4 * test.smoothed.min()
    assert test.smoothed[-2] < 4 * test.smoothed.min() + test.losses[-2]
    assert 1 < test.rates[-1] < 10


def test_it_ends_before_a_loss_that_is_no_number():
    test = range_test(Scripted(lambda lr: 1.0 if lr < 1e-2 else np.nan), 1e-6, 10, 100)
    assert test.rates[-1] < 1e-2 < 1.2 * test.rates[-1]
    assert np.isfinite(test.losses).all()


def test_the_help_says_how_many_steps_are_needed(capsys):
    assert train.main(["find-lr", "--help"]) == 0
    assert f"at least {LEAST_STEPS} (default" in " ".join(capsys.readouterr().out.split())


def test_a_loss_that_never_falls_gives_no_suggestion():
    test = range_test(Scripted(lambda lr: 1 + lr), 1e-6, 10, 100)
    assert test.steepest is None and test.tenth is None


def test_too_few_steps_and_too_high_rates_are_refused():
    with pytest.raises(UsageError, match="an epoch of 9 batches is too short for a range test: it needs at least 10"):
        range_test(Scripted(bowl, batches=9), 1e-6, 10, 100)
    with pytest.raises(UsageError, match="--steps 1: a range test needs at least 10"):
        range_test(Scripted(bowl), 1e-6, 10, 1)
    with pytest.raises(DivergedError, match="--from"):
        range_test(Scripted(lambda lr: np.inf), 1e-6, 10, 100)
    with pytest.raises(DivergedError, match="after 9 of 10 steps: lower --from, or take more steps"):
        range_test(Scripted(lambda lr: np.inf if lr > 5 else 1), 1e-6, 10, 10)


def test_find_lr_writes_a_figure_and_a_table_and_prints_a_rate(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train.main([*SMALL, "--steps", "15", "--from", "1e-5", "--to", "0.1"]) == 0
    out = capsys.readouterr().out
    assert "suggested" in out or "no suggestion" in out
    assert {p.name for p in tmp_path.iterdir()} == {"find-lr.png", "find-lr.csv"}
    table = rows(tmp_path / "find-lr.csv")
    assert list(table[0]) == ["step", "lr", "loss", "smoothed_loss"]
    assert len(table) <= 15
    assert float(table[0]["lr"]) == 1e-5
    assert 2 < float(table[0]["loss"]) < 4  # 20 classes: about log 20 = 3


@pytest.mark.slow
def test_the_first_losses_are_those_of_a_run_at_a_rate_too_small_to_matter(tmp_path, monkeypatch):
    """The test trains the network of `fit`, with its data and its order."""
    monkeypatch.chdir(tmp_path)
    assert train.main([*SMALL, "--from", "1e-12", "--to", "1e-11"]) == 0
    flags = ["--lr", "1e-12", "--schedule", "constant", "--epochs", "1", "--output", ".", "--name", "run"]
    assert train.main([*SMALL[1:], *flags]) == 0
    losses = [float(row["loss"]) for row in rows(tmp_path / "find-lr.csv")]
    assert float(rows(tmp_path / "run" / "metrics.csv")[0]["train_loss"]) == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize(
    ("flags", "code", "named"),
    [
        (["--from", "0"], 2, "--from"),
        (["--from", "1", "--to", "0.1"], 2, "--from 1 --to 0.1"),
        (["--steps", "0"], 2, "--steps"),
        (["--steps", "5"], 2, "--steps 5: a range test needs at least 10"),
        (["--lr", "1"], 2, "--lr"),
        (["--picture", "a.pdf"], 2, "a.pdf"),
        (["--picture", "nowhere/a.png"], 3, "nowhere"),
        (["--data", "nowhere"], 3, "nowhere"),
        (["--batch-size", "100000"], 2, "100000"),
        (["--from", "1e30", "--to", "1e31", "--optimizer", "sgd"], 4, "--from"),
    ],
)
def test_a_wrong_request_is_one_line_and_leaves_nothing(flags, code, named, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    try:
        got = train.main([*SMALL, *flags])
    except SystemExit as stop:  # argparse
        got = stop.code
    error = capfd.readouterr().err
    assert got == code
    assert error.count("\n") == 1 and named in error, error
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_cannot_be_written_is_named_before_the_training(tmp_path, capsys):
    (tmp_path / "test.csv").mkdir()
    assert train.main([*SMALL, "--picture", str(tmp_path / "test.png")]) == 3
    out, error = capsys.readouterr()
    assert out == "" and f"can't write {tmp_path / 'test.csv'}: it is a folder" in error


def test_the_figure_marks_both_rates(tmp_path):
    rates = np.geomspace(1e-6, 10, 100)
    losses = bowl(rates)
    test = RangeTest(rates, losses, losses)
    save_range_test(tmp_path / "test.svg", test, "a title")
    drawing = (tmp_path / "test.svg").read_text()
    assert f"{test.steepest:.1e}" in drawing and f"{test.tenth:.1e}" in drawing
    assert "mathdefault" not in drawing
