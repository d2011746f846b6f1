"""What ranks tell each other before a run starts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minidl.data.subset import Subset
from minidl.errors import DataError, OutOfMemoryError
from minidl.training import run_data, together
from minidl.training.callbacks import Interruption, StopRequested
from minidl.training.checkpoints import About, Checkpoint
from minidl.training.config import Config
from minidl.training.runs import Run, RunElsewhere
from minidl.training.trainer import TrainState
from tests.parallel.threads import on_ranks

CONFIG = Config(subset=0.01, lr=0.1, classes="0-4")


def of_rank_0(share, value):
    return on_ranks(3, lambda comm: share(comm, value if comm.rank == 0 else None))


def test_all_ranks_have_the_settings_of_rank_0():
    assert of_rank_0(together.same_config, CONFIG) == [CONFIG] * 3


def test_all_ranks_have_the_checkpoint_of_rank_0():
    history = [{"epoch": 1, "train_loss": 1.5, "train_top1": 0.1, "val_loss": float("nan"), "val_top1": 0.2}]
    history = [history[0] | {"val_top5": 0.5, "lr": 0.1, "images_per_s": 9.0, "seconds": 1.0}]
    about = About("convnet", ["a", "b"], ["x", "y"], [8, 8, 3], [0.5] * 3, [0.1] * 3, CONFIG.as_dict())
    arrays = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "optimizer/w.m": np.ones((), np.float64)}
    sent = Checkpoint(Path("runs/x/last.safetensors"), about, TrainState(1, 0, 5, history=history), arrays)
    for got in of_rank_0(together.same_checkpoint, sent):
        assert (got.path, got.about, repr(got.state)) == (sent.path, sent.about, repr(sent.state))
        assert {n: (a.dtype, a.tobytes()) for n, a in got.arrays.items()} == {
            n: (a.dtype, a.tobytes()) for n, a in arrays.items()
        }
    assert of_rank_0(together.same_checkpoint, None) == [None] * 3


def test_the_other_ranks_know_where_the_run_is_and_write_nothing(tmp_path, capsys):
    runs = of_rank_0(together.same_run, Run(tmp_path))
    assert [type(run) for run in runs] == [Run, RunElsewhere, RunElsewhere]
    assert [run.path for run in runs] == [tmp_path] * 3
    runs[1].say("a line")
    assert [*tmp_path.iterdir()] == [] and capsys.readouterr().out == ""
    assert of_rank_0(together.same_run, None) == [None] * 3


def load_on(comm, by_rank):
    """Loads the data set, for some ranks with other settings, or with an error."""
    what = by_rank.get(comm.rank, CONFIG)
    if isinstance(what, Exception):
        raise what
    if callable(what):
        return what(run_data.load_data(CONFIG))
    return run_data.load_data(what)


def turned(data):
    """The same number of images, in another order."""
    train = data.dataset.train
    return replace(data, dataset=replace(data.dataset, train=Subset(train, np.arange(len(train))[::-1])))


def told(by_rank):
    """What each of three ranks raises."""

    def work(comm):
        with pytest.raises(DataError) as caught:
            together.same_data(comm, lambda: load_on(comm, by_rank))
        return str(caught.value), caught.value.exit_code

    (answer,) = {*on_ranks(3, work)}
    return answer


@pytest.fixture(autouse=True)
def one_name(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "here")


def test_every_rank_loads_its_data():
    assert [len(d.train) for d in on_ranks(2, lambda comm: together.same_data(comm, lambda: load_on(comm, {})))] == [
        *[len(run_data.load_data(CONFIG).train)] * 2
    ]


def test_a_rank_that_cannot_see_the_data_is_named():
    assert told({2: DataError("/x: no such file")}) == ("rank 2 on here: /x: no such file", 3)
    assert told({1: OutOfMemoryError("full"), 2: DataError("/x")}) == ("rank 1 on here: full", 5)


def test_data_that_no_rank_sees_are_a_plain_error():
    assert told({rank: DataError("/x: no such file") for rank in range(3)}) == ("/x: no such file", 3)


def test_a_rank_that_sees_other_data_is_named():
    fewer = told({1: replace(CONFIG, classes="0-3")})[0]
    assert (
        fewer.startswith("rank 1 on here sees other data than rank 0 on here: train has ") and "images, not" in fewer
    )
    other = told({2: turned})[0]
    assert other.endswith("rank 0 on here: train has other images, names or labels") and "rank 2" in other


def test_all_ranks_stop_after_the_same_step():
    def work(comm):
        stop = Interruption(comm)
        for step in range(5):
            if comm.rank == 1 and step == 2:
                stop.stop()
            try:
                stop.on_step(None)
            except StopRequested:
                return step, stop.stopped

    assert on_ranks(3, work) == [(2, True)] * 3


def test_a_signal_while_the_ranks_agree_is_not_lost():
    def work(comm):
        stop, agree = Interruption(comm), comm.any
        if comm.rank == 1:
            comm.any = lambda flag: (agree(flag), stop.stop())[0]  # it comes between the question and the answer
        stop.on_step(None)
        with pytest.raises(StopRequested):
            stop.on_step(None)

    on_ranks(2, work)
