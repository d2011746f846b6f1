"""Device arrays through MPI, on the strict stand-in for CuPy: they are read on the host after their stream was waited
for. MPI is played by threads.
"""

import platform
import sys
import threading
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from tests.cuda_standin import RECORD, StrictError, install
from tests.parallel.threads import on_ranks


class MPI:
    """As much of `mpi4py.MPI` as MPICommunicator uses for arrays, over the ranks of tests."""

    def __init__(self, ranks):
        self.ranks = ranks
        self.Dup, self.Get_rank, self.Get_size = lambda: self, lambda: ranks.rank, lambda: ranks.size
        self.Allreduce = lambda _, a, operation: ranks.allreduce(a)
        self.Bcast = ranks.broadcast

    def Sendrecv(self, sent, partner, _, received, *__):
        both = self.ranks.allgather(sent[None])
        received[...] = both[partner]

    def Allgather(self, a, out):
        out[...] = self.ranks.allgather(a)

    def Allgatherv(self, a, into):
        into[0][...] = self.ranks.allgather(a)


@pytest.fixture
def xp(monkeypatch):
    """The stand-in as CuPy."""
    yield install(monkeypatch, devices=2)
    assert not RECORD.refusals


@pytest.fixture
def mpi(monkeypatch):
    """minidl.parallel.mpi, with MPI played by threads."""
    package = ModuleType("mpi4py")
    package.MPI = SimpleNamespace(Comm=MPI, COMM_WORLD=None, IN_PLACE=None, LOR=None, SUM=None)
    monkeypatch.setitem(sys.modules, "mpi4py", package)
    monkeypatch.delitem(sys.modules, "minidl.parallel.mpi", raising=False)
    import minidl.parallel.mpi as module

    yield module
    sys.modules.pop("minidl.parallel.mpi")  # whoever comes next has MPI itself


def work(ranks, xp, mpi, side=False):
    """Sums, a broadcast and a gathering of arrays that were computed just before."""
    xp.cuda.Device(ranks.rank).use()
    comm = mpi.MPICommunicator(MPI(ranks))
    a, b, c = (xp.asarray(np.full((2, 2), rank)) for rank in (ranks.rank + 1.0, ranks.rank + 3.0, ranks.rank + 5.0))
    a *= 2
    comm.allreduce(a)
    comm.tree_sum(b.T)
    comm.broadcast(c)
    joined = comm.allgather(a[: ranks.rank + 1] + b[0, 0])
    if side:  # computed on another stream than the current one
        other = xp.cuda.Stream(non_blocking=True)
        other.wait_event(xp.cuda.get_current_stream().record())
        with other:
            a *= 2
        comm.allreduce(a)
    return [x.get().tolist() for x in (a, b, c)] + [joined.get()[:, 0].tolist()]


def test_device_arrays_go_through_the_host(xp, mpi):
    right = [[[value] * 2] * 2 for value in (6.0, 7.0, 5.0)] + [[13.0] * 3]
    assert on_ranks(2, lambda ranks: work(ranks, xp, mpi)) == [right] * 2


def test_a_host_copy_that_does_not_wait_is_found(xp, mpi, monkeypatch):
    monkeypatch.setattr(mpi, "to_host", lambda a: a if isinstance(a, np.ndarray) else a.get(blocking=False))
    with pytest.raises(StrictError, match="read by the host before its stream was synchronised"):
        on_ranks(2, lambda ranks: work(ranks, xp, mpi))
    RECORD.clear()


def test_an_array_of_a_stream_that_was_not_waited_for_is_refused(xp, mpi):
    with pytest.raises(StrictError, match="has not waited"):
        on_ranks(2, lambda ranks: work(ranks, xp, mpi, side=True))
    RECORD.clear()


def test_ranks_are_counted_on_each_machine(mpi, monkeypatch):
    machines = {"rank-0": "a", "rank-1": "b", "rank-2": "a", "rank-3": "b"}
    monkeypatch.setattr(platform, "node", lambda: machines[threading.current_thread().name])
    comms = on_ranks(4, lambda ranks: mpi.MPICommunicator(MPI(ranks)))
    assert [(comm.local_rank, comm.local_size) for comm in comms] == [(0, 2), (0, 2), (1, 2), (1, 2)]
