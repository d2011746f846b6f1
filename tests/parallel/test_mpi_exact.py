"""`--exact` under mpiexec: the same files on any number of ranks, and after a kill."""

import os
import signal
import subprocess
import sys

import pytest

from tests.kills import wait_for
from tests.mpiexec import ROOT, processes, start

pytestmark = pytest.mark.mpi
# 30 steps with dropout and online augmentation; --exact brings synchronized statistics
SETTINGS = "--subset 0.06 --batch-size 8 --epochs 1 --dropout 0.3 --augment online --threads 1 --exact"
FLAGS = ["train", *SETTINGS.split()]


def run(ranks, folder, *flags):
    """The process of a training; ranks = 0: without mpiexec."""
    arguments = flags or (*FLAGS, "--output", str(folder.parent), "--name", folder.name)
    if ranks:
        return start(ranks, *arguments)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", "minidl", *arguments], env=environment, stdout=subprocess.DEVNULL)


def files(folder):
    return {path.name: path.read_bytes() for path in (folder / "checkpoints").iterdir()}


def metrics(folder):
    """Everything in metrics.csv but what clocks have said."""
    return [row.split(",")[:7] for row in (folder / "metrics.csv").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of a run in one process, without mpiexec."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert run(0, folder).wait(600) == 0
    return folder


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_checkpoints_are_byte_for_byte_those_of_one_process(alone, tmp_path, ranks):
    process = run(ranks, tmp_path / "run")
    process.communicate(timeout=600)
    assert process.returncode == 0
    assert files(tmp_path / "run") == files(alone)
    assert metrics(tmp_path / "run") == metrics(alone)


def test_a_run_killed_on_2_ranks_ends_in_the_same_files_on_4(alone, tmp_path):
    folder = tmp_path / "run"
    process = run(2, folder, *FLAGS, "--checkpoint-minutes", "0.01", "--output", str(tmp_path), "--name", "run")
    wait_for(lambda: (folder / "checkpoints" / "last.safetensors").exists())
    os.kill(processes(folder)[1], signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode != 0 and not (folder / "metrics.csv").exists()
    again = run(4, folder, "train", "--resume", str(folder), "--checkpoint-minutes", "3")
    again.communicate(timeout=600)
    assert again.returncode == 0
    assert metrics(folder) == metrics(alone)
    assert files(folder).keys() == files(alone).keys()
    # The settings in the files differ in --checkpoint-minutes.
    for name, content in files(folder).items():
        assert content[-1_000_000:] == files(alone)[name][-1_000_000:], name
