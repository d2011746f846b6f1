"""A few of the faults of tests.faults in every test run, one at least for each place that a run writes to."""

import errno

import pytest

from tests.faults import Fault, Trials

FAULTS = [
    Fault("replace", "checkpoints", 0, errno.ENOSPC),
    Fault("replace", "checkpoints", 2, errno.EACCES, lasting=True),
    Fault("fsync", "checkpoints", 4, errno.EIO),
    Fault("write", "metrics.csv", 0, errno.ENOSPC, lasting=True),
    Fault("write", "log.txt", 3, errno.EPIPE, lasting=True),
    Fault("replace", "figures", 0, errno.EROFS, lasting=True),
    Fault("mkdir", "cache", 0, errno.EACCES),
    Fault("write", "cache", 1, errno.ENOSPC),
    Fault("write", "folder", 0, errno.ENOSPC),
    Fault("write", "screen", 4, errno.EPIPE, lasting=True),
]


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    return Trials(tmp_path_factory.mktemp("faults").resolve())


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_write_that_fails_loses_no_epoch(trials, fault):
    assert fault.nth < trials.calls[fault.function, fault.place]  # a run makes such a call
    trials.trial(fault)
