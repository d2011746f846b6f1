"""Ranks on one machine share its cores."""

import socket

import pytest

from minidl.parallel.communicator import ALONE
from minidl.parallel.cores import Place, places, ranks_in_words, share_of_cores
from tests.parallel.threads import on_ranks

EIGHT = frozenset(range(8))


@pytest.mark.parametrize(
    "ranks, shares",
    [
        ([Place("a", EIGHT, 8)], [8]),
        ([Place("a", EIGHT, 8)] * 2, [4, 4]),
        ([Place("a", EIGHT, 8)] * 3, [2, 2, 2]),
        ([Place("a", frozenset({0, 1}), 2)] * 4, [1, 1, 1, 1]),
        ([Place("a", EIGHT, 8), Place("b", EIGHT, 8)], [8, 8]),
        ([Place("a", frozenset({0, 1, 2, 3}), 4), Place("a", frozenset({4, 5}), 2)], [2, 1]),  # bound, and within
        ([Place("a", frozenset({0, 1}), 8), Place("a", frozenset({2, 3}), 8)], [2, 2]),  # the container's share
        ([Place("a", EIGHT, 2)] * 2, [1, 1]),
    ],
)
def test_each_rank_gets_its_share(ranks, shares):
    assert [share_of_cores(ranks, rank) for rank in range(len(ranks))] == shares


@pytest.mark.parametrize("quota, most", [(None, 8), (3, 3)])
def test_a_rank_that_its_launcher_binds_takes_no_other_ranks_cores_from_them(monkeypatch, quota, most):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {2, 3}, raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr("minidl.parallel.cores.cpu_quota", lambda: quota)
    assert places(ALONE) == [Place(socket.gethostname(), frozenset({2, 3}), most)]


def test_ranks_that_are_bound_to_a_core_each_are_not_too_many(monkeypatch):
    ranks = [Place("a", frozenset({0}), 2), Place("a", frozenset({1}), 2)]
    assert on_machines(monkeypatch, ranks, 0) == ["ranks    2 on a, 1 thread each"]


def on_machines(monkeypatch, ranks, threads):
    monkeypatch.setattr("minidl.parallel.cores.places", lambda comm: ranks)
    return on_ranks(len(ranks), lambda comm: ranks_in_words(comm, threads))[0]


def test_a_line_says_where_the_ranks_are(monkeypatch):
    ranks = [Place("a", EIGHT, 8), Place("a", EIGHT, 8), Place("b", EIGHT, 8)]
    assert on_machines(monkeypatch, ranks, 0) == [
        "ranks    2 on a, 4 threads each",
        "ranks    1 on b, 8 threads each",
    ]


@pytest.mark.parametrize("threads, advice", [(5, "give fewer --threads"), (9, "give fewer --threads")])
def test_more_threads_than_cores_are_noticed(monkeypatch, threads, advice):
    lines = on_machines(monkeypatch, [Place("a", EIGHT, 8)] * 2, threads)
    assert lines[1] == f"warning  2 on a, {threads} threads each, and it has 8 cores: slow; {advice}"


def test_more_ranks_than_cores_are_noticed(monkeypatch):
    lines = on_machines(monkeypatch, [Place("a", frozenset({0}), 1)] * 2, 0)
    assert lines[1] == "warning  2 on a, 1 thread each, and it has 1 core: slow; start fewer of them"


def test_one_process_has_nothing_to_say():
    assert ranks_in_words(ALONE, 0) == []
