"""Commands that share their work out under `mpiexec`: they print and write what one process does, bit for bit."""

import pytest

import train
import visualize
from tests.mpiexec import TINY, lines_of, start
from tests.training.test_search import table

pytestmark = pytest.mark.mpi
RANKS = 3


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    assert train.main([*TINY, "--epochs", "1", "--output", str(folder), "--name", "run"]) == 0
    return str(folder / "run")


def on_ranks(*arguments):
    """What RANKS ranks print on stdout."""
    process = start(RANKS, *arguments)
    out, errors = process.communicate(timeout=600)
    assert (process.returncode, lines_of("minidl", errors)) == (0, []), errors
    return out


def files(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_evaluation_of_1000_images_is_that_of_one_process(run, capsys):
    capsys.readouterr()
    arguments = ["eval", run, "--whole", "--threads", "1", "--json"]
    assert train.main(arguments) == 0
    one = capsys.readouterr().out
    assert '"images": 1000' in one
    assert on_ranks(*arguments) == one


def test_predictions_of_a_split_are_the_same_files(run, tmp_path):
    arguments = ["predict", run, "--split", "val", "--whole", "--threads", "1", "--output"]
    assert train.main([*arguments, str(tmp_path / "one")]) == 0
    on_ranks(*arguments, str(tmp_path / "ranks"))
    one = files(tmp_path / "one")
    assert one["val-whole=True.txt"].count(b"\n") == 1000
    assert files(tmp_path / "ranks") == one


def test_a_scan_of_units_draws_the_same_sheets(run, tmp_path):
    arguments = ["top", run, "--unit", "top:1", "--threads", "1", "--output"]
    assert visualize.main([*arguments, str(tmp_path / "one")]) == 0
    on_ranks(*arguments, str(tmp_path / "ranks"))
    assert len(files(tmp_path / "one")) == 2
    assert files(tmp_path / "ranks") == files(tmp_path / "one")


def test_a_search_fills_the_same_table(tmp_path):
    arguments = ["search", *TINY, "--epochs", "1", "--trials", "4", "--output", str(tmp_path), "--name"]
    assert train.main([*arguments, "one"]) == 0
    out = on_ranks(*arguments, "ranks")
    assert table(tmp_path / "ranks") == table(tmp_path / "one")
    assert out.count("weight decay") == 4 + 2  # in a line for each trial, the plan, and the head of the best
    assert not list((tmp_path / "ranks").glob("trial-*.lock"))
