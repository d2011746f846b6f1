"""The ranks of tests: what they exchange, and that they notice when they don't meet."""

import numpy as np
import pytest

from tests.parallel.threads import on_ranks


def test_ranks_exchange_arrays():
    def work(comm):
        total, tree, first = (np.array([comm.rank + 1.0]) for _ in range(3))
        comm.allreduce(total)
        comm.tree_sum(tree)
        comm.broadcast(first)
        joined = comm.allgather(np.full((comm.rank, 2), comm.rank))  # rank 0 has nothing
        return total[0], tree[0], first[0], joined[:, 0].tolist(), comm.any(comm.rank == 2), comm.share(10)

    results = on_ranks(4, work)
    shares = [slice(0, 2), slice(2, 5), slice(5, 7), slice(7, 10)]
    assert results == [(10, 10, 1, [1, 2, 2, 3, 3, 3], True, share) for share in shares]


def test_a_tree_sum_adds_neighbours_first():
    terms = np.random.default_rng(0).standard_normal((4, 50)).astype(np.float32) * 10.0 ** np.arange(4)[:, None]

    def work(comm):
        a = terms[comm.rank].copy()
        comm.tree_sum(a)
        return a.tobytes()

    assert {*on_ranks(4, work)} == {((terms[0] + terms[1]) + (terms[2] + terms[3])).tobytes()}


def test_ranks_exchange_bytes():
    def work(comm):
        return comm.allgather_bytes(b"x" * comm.rank), comm.broadcast_bytes(b"%d" % comm.rank)

    assert on_ranks(3, work) == [([b"", b"x", b"xx"], b"0")] * 3


@pytest.mark.parametrize(
    "odd, says",
    [
        (lambda comm: comm.allgather(np.zeros(3)), "0: allreduce float64 (3,), 1: allgather float64"),
        (lambda comm: comm.allreduce(np.zeros(4)), "1: allreduce float64 (4,)"),
        (lambda comm: comm.allreduce(np.zeros(3, np.float32)), "1: allreduce float32 (3,)"),
        (lambda comm: None, "1: the end"),
    ],
)
def test_ranks_that_do_not_meet_fail(odd, says):
    with pytest.raises(AssertionError) as caught:
        on_ranks(2, lambda comm: odd(comm) if comm.rank else comm.allreduce(np.zeros(3)))
    assert "the ranks don't meet" in str(caught.value) and says in str(caught.value)


def test_the_error_of_one_rank_ends_all():
    def work(comm):
        if comm.rank == 1:
            raise ValueError("rank 1 fell")
        comm.barrier()

    with pytest.raises(ValueError, match="rank 1 fell"):
        on_ranks(3, work)
