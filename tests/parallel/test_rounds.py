"""Searches whose trials are shared out to ranks: the table of one process, whatever the number of ranks."""

from contextlib import closing, nullcontext

import numpy as np
import optuna
import pytest

from minidl.training.callbacks import StopRequested
from minidl.training.config import Config
from minidl.training.rounds import run_trials
from minidl.training.search import Plan
from minidl.training.study import Study, create_search, open_study, read_trials
from tests.parallel.threads import on_ranks


def result(config):
    """What a training would give; some trials diverge."""
    top1 = float(np.abs(np.sin(1e4 * config.lr)))
    rows = [{"epoch": 1, "train_top1": top1, "val_loss": 0.1 + top1, "val_top1": top1}]
    return rows, config.lr > 1e-2


class Search:
    """A search whose study is kept in memory."""

    def __init__(self, folder, **plan):
        self.folder, self.plan = folder, Plan(Config(), **plan)
        self.storage = optuna.storages.InMemoryStorage()
        self.optuna = optuna.create_study(storage=self.storage, direction="maximize")

    def study(self):
        return closing(Study(self.folder, self.plan, self.storage, self.optuna))

    def run(self, size, train=lambda rank, config: result(config)):
        """Of each rank: the trials it yields, the settings it trains, and whether it was stopped."""

        def work(comm):
            yielded, trained, stopped = [], [], False

            def one(config):
                trained.append((config.lr, config.weight_decay))
                return train(comm.rank, config)

            with nullcontext() if comm.rank else self.study() as study:
                try:
                    for row in run_trials(study, self.plan.config, one, comm):
                        yielded.append(row["trial"])
                except StopRequested:
                    stopped = True
            return yielded, trained, stopped

        return on_ranks(size, work)

    def rows(self):
        with self.study() as study:
            return study.rows()

    def table(self):
        return [{name: v for name, v in row.items() if name != "seconds"} for row in self.rows()]


class Kept(Search):
    """A search on the disk, which can be stopped and continued."""

    def __init__(self, folder, **plan):
        self.plan = Plan(Config(), **plan)
        self.folder = create_search(folder, None, self.plan)

    def study(self):
        return open_study(self.folder, self.plan)

    def rows(self):
        return read_trials(self.folder)


def searched(folder, size, **plan):
    """The table of a search on `size` ranks."""
    search = Search(folder, **plan)
    search.run(size)
    return search.table()


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_any_number_of_ranks_fills_the_same_table(sampler, tmp_path):
    tables = [searched(tmp_path, size, sampler=sampler, trials=7) for size in (1, 2, 3, 8)]
    assert [row["trial"] for row in tables[0]] == [*range(7)]
    assert {row["state"] for row in tables[0]} == {"complete", "diverged"}
    assert tables[1:] == tables[:1] * 3


def test_each_trial_is_trained_by_one_rank_and_recorded_by_rank_0(tmp_path):
    search = Search(tmp_path, trials=7)
    ranks = search.run(3)
    settings = [(row["lr"], row["weight_decay"]) for row in search.table()]
    assert [trained for _, trained, _ in ranks] == [settings[0::3], settings[1::3], settings[2::3]]
    assert [yielded for yielded, *_ in ranks] == [[*range(7)], [], []]


def test_what_tpe_draws_follows_from_seed_and_number_of_ranks(tmp_path):
    one, two, again = (searched(tmp_path, size, sampler="tpe", trials=14) for size in (1, 2, 2))
    assert two == again and len({row["lr"] for row in two}) == 14
    assert one[:10] == two[:10] and one[11:] != two[11:]  # ten are drawn at random


@pytest.mark.parametrize("stopped", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_search_stopped_on_one_rank_keeps_the_other_trials_and_continues_on_other_ranks(stopped, tmp_path):
    search = Kept(tmp_path, trials=4)

    def stop(rank, config):
        if rank == stopped:
            raise StopRequested
        return result(config)

    ranks = search.run(2, stop)
    whole = searched(tmp_path, 1, trials=4)
    assert [was_stopped for *_, was_stopped in ranks] == [True] * 2
    assert search.table() == [whole[1 - stopped]]
    search.run(3)
    assert search.table() == whole
