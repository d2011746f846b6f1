"""Training steps of ranks with a GPU each, on the stand-in: the numbers of NumPy, and no wait that is not known."""

import numpy as np
import pytest

from minidl.backend.arrays import on_device
from minidl.layers import BatchNorm2D
from minidl.layers.base import Context, Mode
from minidl.layers.convert import convert
from minidl.optim import Adam
from minidl.parallel.share import Share
from minidl.parallel.step import DataParallel
from minidl.storage.weights import model_arrays
from tests.cuda_standin import RECORD, install
from tests.parallel.test_nccl import on_gpus
from tests.parallel.test_step import SMOOTHING, batches, one_rank, plain_model
from tests.parallel.threads import on_ranks


@pytest.fixture
def xp(monkeypatch):
    """The stand-in as CuPy, with two devices."""
    yield install(monkeypatch, devices=2)
    assert not RECORD.refusals


def trained(comm, xp, data, sync_bn):
    """(losses, right answers, all arrays in the end) of a rank on its device. Batches are prefetched."""
    model = convert(plain_model(), xp=xp)
    parallel = DataParallel(model, Share(comm), sync_bn=sync_bn)
    optimizer, losses, right = Adam(model.named_parameters(), lr=1e-3), [], xp.zeros((), np.int64)
    parts = ((x[comm.share(len(x))], y[comm.share(len(x))]) for x, y in data)
    for step, (x, y) in enumerate(on_device(parts, xp)):
        loss, correct = parallel.gradients(x, y, len(data[0][0]), Context(Mode.TRAIN, 3, step), SMOOTHING)
        optimizer.step()
        losses.append(float(loss))
        right += correct
    parallel.agree(model.named_buffers().values())
    return losses, int(right), {name: a.get() for name, a in model_arrays(model).items()}


@pytest.mark.parametrize("sync_bn", [True, False])
def test_steps_on_gpus_are_those_of_ranks_on_numpy(sync_bn, xp):
    data = batches(5, 2)
    numpy = on_ranks(2, lambda comm: one_rank(comm, "plain", data, sync_bn=sync_bn))
    gpus = on_gpus(2, lambda comm: trained(comm, xp, data, sync_bn), xp)
    for losses, right, arrays in gpus:
        assert right == sum(numpy[0][1])
        np.testing.assert_allclose(losses, numpy[0][0], rtol=0, atol=1e-10)
        for name, a in arrays.items():
            assert a.tobytes() == gpus[0][2][name].tobytes(), name
            if sync_bn or "running" not in name:
                np.testing.assert_allclose(a, numpy[0][3][name], rtol=0, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("sync_bn", [False, True])
def test_a_step_waits_for_nothing_and_without_sync_bn_makes_one_sum(sync_bn, xp):
    def work(comm):
        model = convert(plain_model(), xp=xp)
        parallel, (x, y) = DataParallel(model, Share(comm), sync_bn=sync_bn), batches(4, 1)[0]
        x, y = xp.asarray(x[comm.share(4)]), xp.asarray(y[comm.share(4)])
        comm.barrier()
        RECORD.clear()
        comm.barrier()
        parallel.gradients(x, y, 4, Context(Mode.TRAIN, 3, 0), SMOOTHING)

    on_gpus(2, work, xp)
    norms = sum(isinstance(layer, BatchNorm2D) for layer in plain_model().leaves()) if sync_bn else 0
    calls = {"nccl allReduce": 2 * (1 + norms), "nccl allGather": 2 * norms}  # of two ranks
    assert {name: RECORD.launches[name] for name in calls} == calls
    assert not RECORD.syncs
