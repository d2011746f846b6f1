"""The communicator of processes that a launcher has started. No MPI."""

import sys
from types import SimpleNamespace

import pytest

from minidl.errors import BackendError
from minidl.parallel.communicator import ALONE
from minidl.parallel.world import PLACES, world


@pytest.fixture(params=PLACES, ids=lambda names: names[0])
def started(request, monkeypatch):
    """Starts this process as one of `n`, among `size` of which MPI knows."""

    def start(n, size):
        for names in PLACES:
            for name in names:
                monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(request.param[0], str(n))
        monkeypatch.setenv(request.param[1], "0")
        mpi = SimpleNamespace(MPICommunicator=lambda: SimpleNamespace(size=size))
        monkeypatch.setitem(sys.modules, "minidl.parallel.mpi", mpi)

    return start


def test_one_process_needs_no_mpi(started):
    started(1, 0)
    assert world.__wrapped__() is ALONE


def test_all_ranks_are_known(started):
    started(3, 3)
    assert world.__wrapped__().size == 3


def test_a_launcher_of_another_mpi_is_noticed(started):
    started(3, 1)
    with pytest.raises(BackendError, match="^3 processes were started, and mpi4py knows of 1: ") as error:
        world.__wrapped__()
    assert "\n" not in str(error.value)
