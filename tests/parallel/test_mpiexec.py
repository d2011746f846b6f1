"""Commands that `mpiexec` starts several times: who prints and writes, and how all of them end."""

import os
import re
import signal
import socket
from pathlib import Path

import pytest

from minidl.errors import RankError
from minidl.storage.metadata import write_json
from minidl.storage.weights import load_arrays
from minidl.training.config import Config
from tests.kills import wait_for
from tests.mpiexec import TINY, lines_of, processes, start

pytestmark = pytest.mark.mpi
HERE = socket.gethostname()
ODD = """
import sys
from minidl.cli.programs import MINIDL
from minidl.errors import DataError
from minidl.parallel.world import place
from minidl.training import run_data
from minidl.training.trainer import Trainer

def fail(error):
    def raise_it(*_, **__):
        raise error
    return raise_it

if place()[1] == 1:
    {change}
sys.exit(MINIDL.main(sys.argv[1:]))
"""


def ended(process):
    """(exit code, stdout, the lines of minidl on stderr); the launcher's own lines are left out."""
    out, errors = process.communicate(timeout=600)
    return process.returncode, out, lines_of("minidl", errors)


def odd(change, *arguments):
    """Two ranks, of which rank 1 is changed."""
    return ended(start(2, *arguments, program=f"-c {ODD.format(change=change)}"))


def training(folder, *flags):
    return ["train", *TINY, "--epochs", "1", "--output", str(folder.parent), "--name", folder.name, *flags]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(folder, output) of a run of two ranks."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    code, out, errors = ended(start(2, *training(folder)))
    assert (code, errors) == (0, [])
    return folder, out


def test_rank_0_alone_prints_and_writes(run):
    folder, out = run
    starts = [line.split()[0] for line in out.splitlines() if not line.startswith(" ")]
    assert starts == ["data", "model", "memory", "training", "ranks", "run", "epoch", "done"]
    assert len((folder / "metrics.csv").read_text("utf-8").splitlines()) == 2
    assert [path.name for path in folder.parent.iterdir()] == ["run"]


def test_a_command_that_knows_nothing_of_ranks_runs_once(run, tmp_path):
    code, out, errors = ended(start(3, "export", str(run[0]), "--output", str(tmp_path / "net.safetensors")))
    written = [line.split()[0] for line in out.splitlines()]  # the file and its card
    assert (code, errors, written) == (0, [], ["wrote", "wrote"])
    assert load_arrays(tmp_path / "net.safetensors")


@pytest.mark.parametrize(
    "arguments, code, says",
    [
        (["train", "--epoch", "x"], 2, "minidl: argument --epochs"),
        (["train", "--resume", "nowhere"], 3, "minidl: nowhere: no such run folder"),
        (["train", "--data", "/nowhere"], 3, "minidl: /nowhere"),
        (["evil"], 2, "minidl: no command 'evil'"),
    ],
)
def test_a_wrong_flag_is_reported_once(arguments, code, says):
    ending, out, errors = ended(start(2, *arguments))
    assert (ending, out, len(errors)) == (code, "", 1)
    assert errors[0].startswith(says)


def test_a_run_that_so_many_ranks_cannot_continue_is_a_wrong_use_not_a_wrong_file(tmp_path):
    write_json(tmp_path / "config.json", Config(exact=True).as_dict())
    code, out, errors = ended(start(3, "train", "--resume", str(tmp_path)))
    assert (code, out) == (2, "")
    assert errors == ["minidl: --exact: 3 ranks can't share 8 shards evenly: start 1, 2, 4 or 8"]


def test_without_mpi4py_a_line_names_the_extra():
    change = "pass\nsys.modules['mpi4py'] = None"
    code, out, errors = odd(change, "train", *TINY)
    assert (code, out, len(errors)) == (2, "", 1) and "pip install 'minidl[mpi]'" in errors[0]


def test_a_rank_that_cannot_see_the_data_is_named_before_anything_is_written(tmp_path):
    code, out, errors = odd("run_data.load_data = fail(DataError('/x: no such file'))", *training(tmp_path / "run"))
    assert (code, out, errors) == (3, "", [f"minidl: rank 1 on {HERE}: /x: no such file"])
    assert not (tmp_path / "run").exists()


def test_a_rank_that_raises_ends_all(tmp_path):
    code, _, errors = odd("Trainer.run_epoch = fail(ValueError('odd'))", *training(folder := tmp_path / "run"))
    assert code == 1 and len(errors) == 1
    assert errors[0].startswith(f"minidl: rank 1 on {HERE}: internal error (ValueError: odd)")
    assert errors[0].endswith(f"continue with: mpiexec -n 2 minidl train --resume {folder}")


def test_ranks_that_find_no_way_to_the_sentinel_train_unwatched(tmp_path):
    change = "import minidl.parallel.watch as w; w.Watch.connect = lambda *_: 'no route'"
    process = start(2, *training(tmp_path / "run"), program=f"-c {ODD.format(change=change)}")
    out, errors = process.communicate(timeout=600)
    warnings = [line for line in errors.splitlines() if line.startswith("warning")]
    assert process.returncode == 0 and "done" in out
    assert warnings == ["warning  rank 1 can't be watched (no route): if one dies, the others may wait for ever"]


def test_an_unwatched_rank_that_raises_ends_all(tmp_path):
    change = "import minidl.parallel.watch as w; w.Watch.connect = lambda *_: 'no route'"
    change += "; Trainer.run_epoch = fail(DataError('odd'))"
    code, _, errors = odd(change, *training(tmp_path / "run"))
    assert code != 0
    assert errors[0].startswith(f"minidl: rank 1 on {HERE}: odd")


def begun(folder, ranks, *flags):
    """A long training that has written a checkpoint."""
    process = start(ranks, *training(folder, "--epochs", "1000", "--checkpoint-minutes", "1e-9", *flags))
    wait_for(lambda: (folder / "checkpoints" / "last.safetensors").exists() or process.poll() is not None, 300)
    return process


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_rank_that_is_killed_ends_all(tmp_path, victim):
    process = begun(folder := tmp_path / "run", 3)
    os.kill(processes(folder)[victim], signal.SIGKILL)
    code, _, errors = ended(process)
    again = re.escape(f"continue with: mpiexec -n 3 minidl train --resume {folder}")
    assert code != 0 and len(errors) == 1
    # Nearly always the victim; another one if MPI failed in it and the launcher killed it before the victim was gone
    assert re.fullmatch(rf"minidl: rank [012] on {HERE} has died; {again}", errors[0])
    assert processes(folder) == {}
    assert load_arrays(folder / "checkpoints" / "last.safetensors")


@pytest.mark.parametrize("rank, number", [(0, signal.SIGINT), (1, signal.SIGTERM)])
def test_a_signal_to_one_rank_stops_all_after_the_same_step(tmp_path, rank, number):
    process = begun(folder := tmp_path / "run", 2)
    os.kill(processes(folder)[rank], number)
    code, out, errors = ended(process)
    assert (code, errors) == (130, [])
    stopped = f"stopped  continue with: mpiexec -n 2 minidl train --resume {folder}"
    assert [line for line in out.splitlines() if line.startswith("stopped")] == [stopped]
    assert load_arrays(folder / "checkpoints" / "last.safetensors")


def test_a_frozen_rank_is_cut_off(tmp_path):
    process = begun(folder := tmp_path / "run", 2)
    ranks = processes(folder)
    os.kill(ranks[1], signal.SIGSTOP)
    wait_for(lambda: process.poll() is not None, 30)
    gone = process.poll() is not None
    if not gone:
        os.kill(ranks[1], signal.SIGCONT)
    code, _, errors = ended(process)
    # MPICH kills the frozen rank, and its mpiexec may give that rank's status in place of the code.
    assert gone and code in (RankError.exit_code, signal.SIGKILL)
    assert errors[0].startswith(f"minidl: rank 1 on {HERE} can't be reached any more, for 6 s")
    assert not Path(f"/proc/{ranks[0]}").exists()
