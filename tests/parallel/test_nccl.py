"""NCCL without a GPU: ranks are threads, each with a device of the strict stand-in for CuPy (`cuda_standin/nccl.py`).

The stand-in does a call as late as can be, and refuses what would be a race, a deadlock or a wrong sum on a GPU. That
it does so is shown with the communicator itself: each mistake planted in its source is found.
"""

import platform
import sys
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from minidl.errors import BackendError
from minidl.parallel import nccl as here
from minidl.parallel import world
from minidl.parallel.communicator import ALONE, Communicator
from tests.cuda_standin import RECORD, StrictError, device, install
from tests.cuda_standin import nccl as standin
from tests.parallel.threads import on_ranks


@pytest.fixture
def xp(monkeypatch):
    """The stand-in as CuPy, with four devices; what it has refused fails the test unless the test has looked."""
    yield install(monkeypatch, devices=4)
    assert not RECORD.refusals


def on_gpus(size, work, xp, module=here, gpus=4):
    """The results of `work(communicator)` on ranks with a device each (`gpus` of them), by that of `module`."""

    def rank(host):
        try:
            host.local_rank = host.rank % gpus
            module.choose_gpu(host.local_rank)
            return work(module.connect(host, xp))
        except BaseException:
            standin.leave()
            raise

    return on_ranks(size, rank)


def terms(size, shape=(5,), dtype=np.float64):
    return np.random.default_rng(0).integers(0, 50, (size, *shape)).astype(dtype)


# ------------------------------------------------------------- what it computes


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
@pytest.mark.parametrize("size", [2, 4])
def test_ranks_sum_broadcast_and_gather(size, dtype, xp):
    host = terms(size, (5,), dtype) if dtype != "bool" else terms(size) % 3 == 0

    def work(comm):
        total, tree, first = (xp.asarray(host[comm.rank]) for _ in range(3))
        comm.allreduce(total)
        comm.tree_sum(tree)
        comm.broadcast(first)
        joined = comm.allgather(xp.asarray(host[comm.rank, : comm.rank]))  # rank 0 has nothing
        equal = comm.allgather(xp.asarray(host[comm.rank, 1:]))
        return [a.get() for a in (total, tree, first, joined, equal)]

    total = np.logical_or.reduce(host) if dtype == "bool" else host.sum(axis=0, dtype=dtype)
    joined = np.concatenate([host[rank, :rank] for rank in range(size)])
    for results in on_gpus(size, work, xp):
        for got, expected in zip(results, (total, total, host[0], joined, host[:, 1:].reshape(-1)), strict=True):
            assert got.dtype == expected.dtype
            assert got.tobytes() == expected.tobytes()  # a truth is 0 or 1, not 2


def test_the_shape_and_the_layout_of_an_array_do_not_matter(xp):
    host = terms(2, (4, 6))

    def work(comm):
        def make():
            return xp.asarray(host[comm.rank])

        transposed, part, number, nothing = make().T, make()[1:3, ::2], make()[0, 0], make()[:0]
        for a in (transposed, part, number, nothing):
            comm.allreduce(a)
        first, tree = make()[:, 1], make()[:, 2]
        comm.broadcast(first)
        comm.tree_sum(tree)
        rows = comm.allgather(make()[: 1 + comm.rank, 1:4])
        return [a.get() for a in (transposed, part, number, first, tree, rows)]

    total = host.sum(axis=0)
    rows = np.concatenate([host[0, :1, 1:4], host[1, :2, 1:4]])
    for results in on_gpus(2, work, xp):
        for got, right in zip(
            results, (total.T, total[1:3, ::2], total[0, 0], host[0][:, 1], total[:, 2], rows), strict=True
        ):
            np.testing.assert_array_equal(got, right)


def test_a_tree_sum_adds_neighbours_first(xp):
    numbers = np.random.default_rng(0).standard_normal((4, 50)).astype(np.float32) * 10.0 ** np.arange(4)[:, None]
    numbers = numbers.astype(np.float32)

    def work(comm):
        a = xp.asarray(numbers[comm.rank])
        comm.tree_sum(a)
        return a.get().tobytes()

    right = (numbers[0] + numbers[1]) + (numbers[2] + numbers[3])
    assert {*on_gpus(4, work, xp)} == {right.tobytes()}


def test_what_is_not_on_a_device_goes_through_the_communicator_that_brought_the_ranks_together(xp):
    def work(comm):
        a, b, c = (np.array([comm.rank + 1.0]) for _ in range(3))
        comm.allreduce(a)
        comm.tree_sum(b)
        comm.broadcast(c)
        comm.barrier()
        some = comm.any(comm.rank == 1), comm.any(False)
        comm.host.abort = codes.append
        comm.abort(comm.rank)
        texts = comm.allgather_bytes(b"x" * comm.rank), comm.broadcast_bytes(b"%d" % comm.rank)
        return a[0], b[0], c[0], comm.allgather(np.arange(comm.rank)).tolist(), some, texts

    codes: list[int] = []
    RECORD.clear()
    assert on_gpus(2, work, xp) == [(3, 3, 1, [0], (True, False), ([b"", b"x"], b"0"))] * 2
    assert sorted(codes) == [0, 1]
    assert not RECORD.launches and not RECORD.syncs


def test_the_host_waits_for_nothing_but_its_own_reading(xp):
    def work(comm):
        a = xp.asarray(terms(2)[comm.rank])
        comm.barrier()
        RECORD.clear()
        for _ in range(3):
            comm.allreduce(a)
            a *= 0.5
        comm.tree_sum(a)
        comm.broadcast(a)
        comm.allgather(a)
        comm.barrier()
        waits = RECORD.syncs.total()
        comm.barrier()
        a.get()
        return waits

    assert on_gpus(2, work, xp) == [0, 0]
    assert RECORD.syncs.total() == 2


def test_calls_are_made_on_the_current_stream(xp):
    def work(comm):
        a, side = xp.asarray(terms(2)[comm.rank]), xp.cuda.Stream(non_blocking=True)
        side.wait_event(xp.cuda.get_current_stream().record())
        with side:
            a += 1
            comm.allreduce(a)
            comm.broadcast(a)
            a += 1
            return a.get()

    for got in on_gpus(2, work, xp):
        np.testing.assert_array_equal(got, terms(2).sum(axis=0) + 3)


@pytest.mark.parametrize("dtype", ["float16", "int32", "complex64"])
@pytest.mark.parametrize("call", ["allreduce", "tree_sum", "allgather", "broadcast"])
def test_another_type_is_refused_in_one_line(dtype, call, xp):
    with pytest.raises(BackendError, match=f"{dtype} can't go .* float32, float64, int64, uint8, bool$"):
        on_gpus(2, lambda comm: getattr(comm, call)(xp.zeros(3, dtype)), xp)


# ------------------------------------------------------------- which GPU, and whether NCCL


def test_each_rank_takes_the_gpu_of_its_number_on_its_machine(xp, monkeypatch):
    machines = {"rank-0": "a", "rank-1": "a", "rank-2": "b", "rank-3": "b"}
    monkeypatch.setattr(platform, "node", lambda: machines[threading.current_thread().name])

    def work(comm):
        return type(comm).__name__, comm.local_rank, xp.cuda.Device().id

    # The stand-in is one machine: what NCCL would join on two machines, it takes for two ranks on one GPU.
    monkeypatch.setattr(standin.Clique, "join", lambda clique, rank, device: None)
    assert on_gpus(4, work, xp, gpus=2) == [("NCCLCommunicator", number, number) for number in (0, 1, 0, 1)]


def test_ranks_that_share_a_gpu_go_through_the_host_and_rank_0_says_so(xp, monkeypatch, capsys):
    monkeypatch.setattr(device.DEVICES, "count", 2)

    def work(comm):
        return type(comm).__name__, xp.cuda.Device().id

    assert on_gpus(4, work, xp) == [("ThreadCommunicator", number) for number in (0, 1, 0, 1)]
    assert capsys.readouterr().err == "some ranks share a GPU: gradients go from GPU to GPU through the host\n"


def test_ranks_of_which_each_sees_one_gpu_are_joined(xp, monkeypatch):
    """As Slurm binds them: every rank has a GPU 0, which is another one each time."""
    monkeypatch.setattr(device.DEVICES, "count", 1)
    monkeypatch.setattr(
        device.Device, "pci_bus_id", property(lambda self: threading.current_thread().name), raising=False
    )
    monkeypatch.setattr(device.Device, "__init__", lambda self, number=0: vars(self).update(id=number))
    monkeypatch.setattr(standin.Clique, "join", lambda clique, rank, device: None)
    assert on_gpus(2, lambda comm: type(comm).__name__, xp) == ["NCCLCommunicator"] * 2


def test_without_nccl_on_one_rank_no_rank_uses_it(xp, monkeypatch, capsys):
    class Available:
        def __get__(self, *_):
            return threading.current_thread().name != "rank-1"

    class Module(ModuleType):
        available = Available()

    module = Module("cupy.cuda.nccl")
    vars(module).update({k: v for k, v in vars(standin.make_nccl()).items() if k != "available"})
    monkeypatch.setitem(sys.modules, "cupy.cuda.nccl", module)
    assert on_gpus(2, lambda comm: type(comm).__name__, xp) == ["ThreadCommunicator"] * 2
    assert capsys.readouterr().err.startswith("NCCL is missing (pip install nvidia-nccl-cu12 or -cu13)")


def test_a_gpu_that_nccl_refuses_is_one_line(xp, monkeypatch):
    monkeypatch.setattr(
        device.Device, "pci_bus_id", property(lambda self: threading.current_thread().name), raising=False
    )
    monkeypatch.setattr(device.Device, "__init__", lambda self, number=0: vars(self).update(id=0))
    with pytest.raises(BackendError, match="can't join the GPUs of the ranks: NCCL_ERROR_INVALID_USAGE"):
        on_gpus(2, lambda comm: None, xp)


def test_a_rank_computes_on_its_gpu_and_finds_the_communicator_of_its_arrays(xp, monkeypatch):
    ranks = {}
    monkeypatch.setattr(world, "launched", lambda: 2)
    monkeypatch.setattr(world, "world", lambda: ranks[threading.current_thread().name])

    def work(host):
        host.local_rank = host.rank
        ranks[threading.current_thread().name] = host
        assert world.backend_of_rank("numpy") is np and xp.cuda.Device().id == 0
        assert world.backend_of_rank("cupy") is xp
        assert world.for_device(host, np) is host and world.for_device(ALONE, xp) is ALONE
        comm = world.for_device(host, xp)
        return type(comm).__name__, comm.local_rank, xp.cuda.Device().id

    assert on_ranks(2, work) == [("NCCLCommunicator", rank, rank) for rank in range(2)]


@pytest.mark.parametrize("missing", ["cupy", "a GPU"])
def test_without_cupy_or_a_gpu_the_backend_says_what_is_missing(missing, xp, monkeypatch):
    monkeypatch.setattr(world, "launched", lambda: 2)
    monkeypatch.setattr(world, "world", lambda: ALONE)
    if missing == "cupy":
        monkeypatch.setitem(sys.modules, "cupy", None)
    else:
        monkeypatch.setattr(device.DEVICES, "count", 0)
    with pytest.raises(BackendError, match="backend cupy can't be used: (the package cupy|no NVIDIA GPU)"):
        world.backend_of_rank("cupy")


def test_no_method_is_left_to_the_process_that_is_alone():
    own = {name for name, f in vars(Communicator).items() if callable(f) and not name.startswith("_")}
    assert own - {"any", "share"} <= vars(here.NCCLCommunicator).keys()  # those two are made of the others


# ------------------------------------------------------------- planted mistakes

SIDE = ("self.host, self.cupy, self.nccl = host, cupy, nccl", "self.side = cupy.cuda.Stream(non_blocking=True)")
CURRENT = "self.cupy.cuda.get_current_stream()"
WAIT_BEFORE = f"(self.side.wait_event({CURRENT}.record()), self.side)[1].ptr"
WAIT_AFTER = f"{CURRENT}.wait_event(self.side.record())"
STREAM = f"return {CURRENT}.ptr"
ENDS = "self.nccl.groupEnd()\n"
ROOTS = "for root, part in enumerate(self.cupy.split(out, np.cumsum(counts)[:-1].tolist())):"
SUM = "self.gpus.allReduce(buffer.data.ptr, buffer.data.ptr, a.size, kind, operation, self._stream())"
RECV = "self.gpus.recv(other.data.ptr, a.size, kind, partner, self._stream())"
SEND = "self.gpus.send(buffer.data.ptr, a.size, kind, partner, self._stream())"

SIDE_SUM = SUM.replace("self._stream()", "self.side.ptr")
BROADCAST = "self.gpus.broadcast(a.data.ptr, a.data.ptr, a.size, kind, 0, self._stream())"
THEN = "\n        "

# What is replaced in the source, by what, and what the stand-in says.
MISTAKES = {
    "a stream of its own, and no wait": ([(STREAM, "return self.side.ptr")], "has not waited"),
    "no wait after the call": ([(STREAM, f"return {WAIT_BEFORE}")], "has not waited"),
    "no wait before the call": ([(SUM, SIDE_SUM + THEN + WAIT_AFTER)], "has not waited"),
    "a wait in the other direction": ([(SUM, WAIT_AFTER + THEN + SIDE_SUM)], "has not waited"),
    "always the null stream": ([(STREAM, "return 0")], "has not waited"),
    "another device": ([(STREAM, "self.cupy.cuda.Device(3 - self.rank).use(); return 0")], "on device . while"),
    "an address that is no stream": ([(STREAM, "return 1")], "stream that is not there"),
    "a group that is never ended": ([(ENDS, "pass\n")], "was not ended"),
    "send and recv one by one": (
        [("self.nccl.groupStart()", "pass"), (ENDS, "pass\n")],
        "wait for each other: 0: send from 0 to 1 of 5 FLOAT64, 1: send from 1 to 0",
    ),
    "what is sent is received into": ([("self.gpus.recv(other.", "self.gpus.recv(buffer.")], "race for the same"),
    "its own part first": (
        [(ROOTS, ROOTS.replace("in enum", "in sorted(enum")[:-1] + ", key=lambda p: p[0] != self.rank):")],
        "don't meet: 0: broadcast from 0 of 2 FLOAT64, 1: broadcast from 1 of 3",
    ),
    "rank 1 broadcasts before it sums": (
        [(SUM, THEN.join([f"self.rank and {BROADCAST}", SUM, f"self.rank or {BROADCAST}"]))],
        "don't meet: 0: allReduce SUM of 5 FLOAT64, 1: broadcast from 0 of 5 FLOAT64",
    ),
    "a count of its own": ([(SUM, SUM.replace("a.size", "a.size - self.rank"))], "of 5 FLOAT64.* of 4 FLOAT64"),
    "an operation of its own": ([(SUM, SUM.replace("operation", "2 * self.rank"))], "allReduce SUM.*allReduce MAX"),
    "a dtype of its own": ([(SUM, SUM.replace("kind", "8 - self.rank"))], "holds float64"),
    "a root of its own": ([("a.size, kind, 0, self", "a.size, kind, self.rank, self")], "from 0 .*from 1 "),
    "more numbers than there are": ([(SUM, SUM.replace("a.size", "a.size + 1"))], "has so much room"),
    "a copy that is freed before the call": (
        [(SUM, SUM.replace("buffer.data.ptr", "a.copy().data.ptr", 1))],
        "memory of this device that is alive",
    ),
    "the address of memory on the host": (
        [(SUM, SUM.replace("buffer.data.ptr", "np.empty(a.size).ctypes.data", 1))],
        "memory of this device",
    ),
    "a partner who does not listen": (
        [(RECV, RECV.replace("partner", "self.rank"))],
        "wait for each other: 0: .* and .*, 1: ",
    ),
    "half is sent": ([(SEND, SEND.replace("a.size", "a.size // 2"))], "don't meet: .* of 2 FLOAT64, .* of 5 FLOAT64"),
}


def planted(changes):
    """minidl/parallel/nccl.py with changes, as a module; also with a stream of its own for each communicator."""
    source = Path(here.__file__).read_text("utf-8")
    for old, new in [(SIDE[0], f"{SIDE[0]}\n        {SIDE[1]}"), *changes]:
        assert old in source, old
        source = source.replace(old, new)
    module = ModuleType("planted")
    exec(compile(source, "planted.py", "exec"), vars(module))
    return module


def everything(xp):
    """Calls of all kinds; the last ones on a stream that isn't the null stream."""

    def work(comm):
        a = xp.asarray(terms(2)[comm.rank])
        comm.allreduce(a)
        comm.broadcast(a)
        comm.tree_sum(a)
        rows = comm.allgather(a[: 2 + comm.rank])
        side = xp.cuda.Stream(non_blocking=True)
        side.wait_event(xp.cuda.get_current_stream().record())
        with side:
            a += 1
            comm.allreduce(a)
        xp.cuda.get_current_stream().wait_event(side.record())
        return (a * 2).get(), rows.get()

    return work


def test_without_a_mistake_nothing_is_refused(xp):
    total = terms(2).sum(axis=0) * 2
    for a, rows in on_gpus(2, everything(xp), xp, planted([])):
        np.testing.assert_array_equal(a, (total + 1) * 4)
        np.testing.assert_array_equal(rows, np.concatenate([total[:2], total[:3]]))


def test_a_stream_of_its_own_is_right_if_both_streams_wait(xp):
    right = [(SUM, THEN.join([WAIT_BEFORE, SIDE_SUM, WAIT_AFTER]))]
    assert len(on_gpus(2, everything(xp), xp, planted(right))) == 2


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_found(mistake, xp):
    changes, text = MISTAKES[mistake]
    with pytest.raises((StrictError, AssertionError), match=text):
        on_gpus(2, everything(xp), xp, planted(changes))
    RECORD.clear()


def test_ranks_that_do_not_meet_are_missed(xp, monkeypatch):
    monkeypatch.setattr(standin, "HANGS", 0.2)
    own = ("self.size, meeting, self.rank", "self.size, nccl.get_unique_id(), self.rank")
    with pytest.raises(StrictError, match=r"of 2 ranks only \[.\] came"):
        on_gpus(2, everything(xp), xp, planted([own]))
    RECORD.clear()


def freed_under_way(comm, xp, waits):
    """A sum of a copy on a side stream; the copy is freed at once, or after the stream that made it has waited."""
    a, side = xp.asarray(terms(2)[comm.rank]), xp.cuda.Stream(non_blocking=True)
    copy = a.copy()
    side.wait_event(xp.cuda.get_current_stream().record())
    comm.gpus.allReduce(copy.data.ptr, a.data.ptr, 5, standin.DTYPES["FLOAT64"][0], 0, side.ptr)
    if waits:
        xp.cuda.get_current_stream().wait_event(side.record())
    del copy
    side.synchronize()
    return a.get()


def test_memory_freed_on_a_stream_that_has_not_waited_is_seen(xp):
    for got in on_gpus(2, lambda comm: freed_under_way(comm, xp, waits=True), xp):
        np.testing.assert_array_equal(got, terms(2).sum(axis=0))
    with pytest.raises(StrictError, match="freed before it was done"):
        on_gpus(2, lambda comm: freed_under_way(comm, xp, waits=False), xp)
    RECORD.clear()


def test_a_host_that_reads_without_waiting_is_refused(xp):
    def work(comm):
        a = xp.asarray(terms(2)[comm.rank])
        comm.allreduce(a)
        return a.get(blocking=False)

    with pytest.raises(StrictError, match="read by the host before its stream was synchronised"):
        on_gpus(2, work, xp)
    RECORD.clear()


def test_a_stream_and_an_event_that_the_host_waits_for_have_done_their_calls(xp):
    def work(comm):
        a, b = (xp.asarray(terms(2)[comm.rank]) for _ in range(2))
        comm.allreduce(a)
        under_way = len(xp.cuda.get_current_stream()._calls)
        event = xp.cuda.get_current_stream().record()
        comm.allreduce(b)
        event.synchronize()
        between = len(xp.cuda.get_current_stream()._calls)
        comm.barrier()
        xp.cuda.Device().synchronize()
        return under_way, between, len(xp.cuda.get_current_stream()._calls), a.get(blocking=False)[0]

    assert on_gpus(2, work, xp) == [(1, 1, 0, terms(2)[:, 0].sum())] * 2
