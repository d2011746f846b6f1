"""Rounds that go from one contender to the next: who takes part, how often, and what is said meanwhile."""

from types import SimpleNamespace

from benchmarks.rounds import Task, alternate


class Worker:
    """Takes `seconds` for a step."""

    def __init__(self, name, seconds, orders):
        self.task, self.seconds, self.orders = Task("refined", name, 4, 1, 3), seconds, orders

    def measure(self, what, steps):
        self.orders.append((self.task.name, what, steps))
        return {"seconds": self.seconds * steps}


def test_all_warm_up_with_one_step_and_then_take_turns():
    orders = []
    seen = alternate([Worker("a", 1.0, orders), Worker("b", 2.0, orders)], "train", 2)
    assert orders == [("a", "train", 1), ("b", "train", 1)] + 2 * [("a", "train", 3), ("b", "train", 3)]
    assert seen == {"a": 2 * [{"seconds": 3.0}], "b": 2 * [{"seconds": 6.0}]}


def test_a_contender_that_has_used_its_budget_takes_part_in_no_further_round_but_always_in_one():
    seen = alternate([Worker("fast", 1.0, []), Worker("slow", 4.0, []), Worker("slower", 90.0, [])], "infer", 5, 20.0)
    assert {name: len(measured) for name, measured in seen.items()} == {"fast": 5, "slow": 2, "slower": 1}


def test_every_round_is_told():
    told, worker = [], Worker("a", 1.0, [])
    alternate([worker], "train", 3, tell=lambda: told.append(len(worker.orders)))
    assert told == [2, 3, 4]


def test_steps_and_the_time_left_are_shown(monkeypatch, capsys):
    clock = iter(range(0, 10_000, 11))
    monkeypatch.setattr("minidl.text.progress.time", SimpleNamespace(monotonic=lambda: next(clock)))
    alternate([Worker("a", 1.0, []), Worker("b", 1.0, [])], "train", 2)
    assert "train: 6 of 12 steps" in (said := capsys.readouterr().err) and " left\n" in said
