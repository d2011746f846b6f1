"""What the sentinel says and does about ranks that fail. The ranks are connections of this process."""

import json
import os
import socket
import threading

import pytest

from minidl.errors import RankError
from minidl.parallel import sentinel
from minidl.parallel.addresses import addresses
from minidl.parallel.communicator import ALONE
from minidl.parallel.watch import Watch
from minidl.parallel.world import PLACES, launched, place

TOKEN = "right" + "ANSWR"


class Ranks:
    """A sentinel in a thread, and what it printed and told."""

    def __init__(self, size, monkeypatch):
        self.said, self.connections = [], {}
        monkeypatch.setattr(sentinel.os, "write", lambda fd, text: self.said.append(text.decode()))
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.sentinel = sentinel.Sentinel(self.listening, size, TOKEN, "minidl")
        self.thread = threading.Thread(target=self.sentinel.run, daemon=True)
        self.thread.start()
        for rank in range(size):
            self.connections[rank] = self.connect({"token": TOKEN[:5], "rank": rank, "host": f"host{rank}"})
            assert self.hear(rank) == {"token": TOKEN[5:]}

    def connect(self, greeting):
        connection = socket.create_connection(("127.0.0.1", self.port), 60)
        connection.sendall(json.dumps(greeting).encode() + b"\n")
        return connection.makefile("rwb")

    def tell(self, rank, message):
        self.connections[rank].write(json.dumps(message).encode() + b"\n")
        self.connections[rank].flush()

    def hear(self, rank):
        """The next message but for signs of life; None at the end."""
        while line := self.connections[rank].readline():
            if (message := json.loads(line)) != {}:
                return message
        return None

    def leave(self, rank):
        self.connections.pop(rank).close()

    def end(self):
        """The code that the ranks are told to end with, once they have obeyed."""
        (code,) = {self.hear(rank)["end"] for rank in self.connections}
        for rank in [*self.connections]:
            self.leave(rank)
        self.thread.join(60)
        return code


@pytest.fixture
def ranks(monkeypatch):
    made = []
    yield lambda size: made.append(Ranks(size, monkeypatch)) or made[-1]
    for each in made:
        for rank in [*each.connections]:
            each.leave(rank)
        each.thread.join(60)
        each.listening.close()


def test_a_rank_that_dies_is_named_with_its_host_and_the_command_that_continues(ranks):
    three = ranks(3)
    three.tell(0, {"again": "mpiexec -n 3 minidl train --resume runs/x"})
    three.leave(1)
    assert three.end() == RankError.exit_code
    assert three.said == [
        "minidl: rank 1 on host1 has died; continue with: mpiexec -n 3 minidl train --resume runs/x\n"
    ]


def test_the_first_death_is_told_when_a_launcher_kills_the_others(ranks):
    three = ranks(3)
    for rank in (2, 0, 1):
        three.leave(rank)
    three.thread.join(60)
    assert three.said == ["minidl: rank 2 on host2 has died\n"]


def test_an_error_of_all_ranks_is_one_line_without_their_names(ranks):
    two = ranks(2)
    for rank in (1, 0):
        two.tell(rank, {"error": "the loss is not a number", "code": 4})
    assert two.end() == 4
    assert two.said == ["minidl: the loss is not a number\n"]


def test_an_error_of_one_rank_is_told_with_its_host(ranks):
    two = ranks(2)
    two.tell(1, {"error": "/data: no such file", "code": 3})
    assert two.end() == 3
    assert two.said == ["minidl: rank 1 on host1: /data: no such file\n"]


def test_an_internal_error_after_a_death_is_its_consequence(ranks):
    three = ranks(3)
    three.tell(0, {"error": "internal error (MPI)", "code": 1})
    three.leave(2)
    assert three.end() == RankError.exit_code
    assert three.said == ["minidl: rank 2 on host2 has died\n"]


def test_an_interrupted_rank_ends_all_without_a_word(ranks):
    two = ranks(2)
    two.tell(0, {"error": None, "code": 130})
    assert (two.end(), two.said) == (130, [])


def test_a_silent_rank_is_cut_off(ranks, monkeypatch):
    monkeypatch.setattr(sentinel, "SILENCE", 0.9)
    two = ranks(2)
    alive = threading.Event()

    def breathe():
        while not alive.wait(0.1):
            two.tell(0, {})

    breath = threading.Thread(target=breathe)
    breath.start()
    try:
        assert two.hear(0) == {"end": RankError.exit_code}
    finally:
        alive.set()
        breath.join()
    two.leave(0)
    two.thread.join(60)
    assert two.said == ["minidl: rank 1 on host1 can't be reached any more, for 1 s\n"]


def test_ranks_that_have_done_their_work_leave_in_peace(ranks):
    two = ranks(2)
    for rank in (1, 0):
        two.tell(rank, {"bye": True})
    two.thread.join(60)
    assert not two.thread.is_alive() and two.said == []


def test_the_sentinel_may_leave_as_soon_as_a_rank_says_goodbye(monkeypatch):
    watch, (ours, theirs), told = Watch(ALONE, "minidl"), socket.socketpair(), []
    monkeypatch.setattr("minidl.parallel.watch.os._exit", told.append)
    monkeypatch.setattr(watch, "_say", told.append)
    watch._connection = ours
    listening = threading.Thread(target=watch._listen, args=["host"])
    listening.start()

    def send_and_wait(message):
        if message:  # no sign of life
            theirs.close()
            listening.join(60)

    monkeypatch.setattr(watch, "_send", send_and_wait)
    watch.close()
    assert not listening.is_alive() and told == []


@pytest.mark.parametrize(
    "greeting",
    [
        {"token": "wrong", "rank": 0, "host": "x"},
        {"token": "right", "rank": 9, "host": "x"},
        {"rank": 0},
        {"error": "x", "code": 3},
        ["token"],
        "right",
    ],
)
def test_a_stranger_is_not_listened_to(ranks, greeting):
    two = ranks(2)
    assert two.connect(greeting).readline() == b""
    two.tell(0, {"bye": True})
    two.tell(1, {"bye": True})
    two.thread.join(60)
    assert two.said == []


def test_a_stranger_is_not_listened_to_for_long_lines(ranks):
    two = ranks(2)
    stranger = socket.create_connection(("127.0.0.1", two.port), 60)
    with pytest.raises(OSError):
        for _ in range(100):
            stranger.sendall(b"x" * sentinel.LONGEST)


def test_a_line_of_a_rank_holds_no_control_characters(ranks):
    two = ranks(2)
    two.tell(1, {"error": "a\x1b[2J\nb", "code": 3})
    two.end()
    assert two.said == ["minidl: rank 1 on host1: a\\x1b[2J\\nb\n"]


def test_the_sentinel_knows_the_exit_code_of_a_lost_rank():
    assert RankError.exit_code == sentinel.LOST


def test_an_address_of_this_machine_leads_to_it():
    assert addresses()[-1] == "127.0.0.1"
    with socket.create_server(("", 0)) as server:
        for address in addresses():
            socket.create_connection((address, server.getsockname()[1]), 60).close()


@pytest.mark.parametrize(
    "variables, expected",
    [
        ({}, (1, 0)),
        ({"PMI_SIZE": "4", "PMI_RANK": "3"}, (4, 3)),
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}, (2, 1)),
        ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "PMI_SIZE": "8", "PMI_RANK": "5"}, (8, 5)),
        ({"PMI_SIZE": "4"}, (1, 0)),
        ({"PMI_SIZE": "four", "PMI_RANK": "0"}, (1, 0)),
    ],
)
def test_launchers_say_how_many_ranks_there_are_and_which_this_is(monkeypatch, variables, expected):
    for name in (name for names in PLACES for name in names):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert place() == expected and launched() == expected[0]


def test_the_sentinel_imports_the_standard_library_alone():
    with open(sentinel.__file__, encoding="utf-8") as file:
        assert "minidl" not in [line.split()[1].split(".")[0] for line in file if line.startswith(("import", "from"))]
    assert os.path.isfile(sentinel.__file__)
