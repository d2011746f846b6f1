"""Rounds that go from one contender to the next: who takes part, how often, and what is said meanwhile."""

from types import SimpleNamespace

import pytest

from benchmarks.rounds import Task, alternate, working


class Worker:
    """Takes `seconds` for a step."""

    def __init__(self, name, seconds, orders):
        self.task, self.seconds, self.orders = Task("refined", name, 4, 1, 3), seconds, orders

    def measure(self, what, steps):
        self.orders.append((self.task.name, what, steps))
        return {"seconds": self.seconds * steps}


def test_all_warm_up_and_then_take_turns():
    orders = []
    seen = alternate([Worker("a", 1.0, orders), Worker("b", 4.0, orders)], "train", 2)
    warm = [("a", "train", 1), ("a", "train", 2), ("b", "train", 1)]  # four seconds are slow
    assert orders == warm + 2 * [("a", "train", 3), ("b", "train", 3)]
    assert seen == {"a": 2 * [{"seconds": 3.0}], "b": 2 * [{"seconds": 12.0}]}


def test_a_contender_that_has_used_its_budget_takes_part_in_no_further_round_but_always_in_one():
    seen = alternate([Worker("fast", 1.0, []), Worker("slow", 4.0, []), Worker("slower", 90.0, [])], "infer", 5, 20.0)
    assert {name: len(measured) for name, measured in seen.items()} == {"fast": 5, "slow": 2, "slower": 1}


def test_every_round_is_told():
    told, worker = [], Worker("a", 1.0, [])
    alternate([worker], "train", 3, tell=lambda: told.append(len(worker.orders)))
    assert told == [3, 4, 5]


def test_steps_and_the_time_left_are_shown(monkeypatch, capsys):
    clock = iter(range(0, 10_000, 11))
    monkeypatch.setattr("minidl.text.progress.time", SimpleNamespace(monotonic=lambda: next(clock)))
    alternate([Worker("a", 1.0, []), Worker("b", 1.0, [])], "train", 2)
    assert "train: 6 of 12 steps" in (said := capsys.readouterr().err) and " left\n" in said


def test_workers_get_ready_side_by_side_and_one_that_fails_is_left_out(monkeypatch, capsys):
    events = []

    class Starting:
        def __init__(self, task):
            self.task = task
            events.append(f"start {task}")

        @property
        def failed(self):
            events.append(f"wait for {self.task}")
            return "no compiler" if self.task.name == "b" else None

        def close(self):
            events.append(f"close {self.task}")
            return 0

    monkeypatch.setattr("benchmarks.rounds.Worker", Starting)
    with working(Task("refined", name, 4, 1, 3) for name in "abc") as workers:
        assert [worker.task.name for worker in workers] == ["a", "c"]
    order = [
        "start a",
        "start b",
        "start c",
        "wait for a",
        "wait for b",
        "close b",
        "wait for c",
        "close a",
        "close c",
    ]
    assert events == order and capsys.readouterr().err == "b is left out: no compiler\n"


def test_a_necessary_contender_that_cannot_start_ends_the_benchmark(monkeypatch):
    closed = []

    class Failing:
        failed = "no memory"

        def __init__(self, task):
            self.task = task

        def close(self):
            closed.append(self.task.name)
            return 1

    monkeypatch.setattr("benchmarks.rounds.Worker", Failing)
    with (
        pytest.raises(SystemExit, match="^a can't start: no memory$"),
        working([Task("vgg", n, 4, 1, 3) for n in "ab"]),
    ):
        pass
    assert closed == ["a", "b"]
