"""A learner's whole way: every exercise wrong, then right, and a network on all of them."""

import pytest

from minidl.learn import EXERCISES
from tests.learn import replay


@pytest.mark.slow
def test_a_learner_goes_the_whole_way_and_trains_a_network_on_it(tmp_path):
    assert len(list(replay.way(tmp_path / "mine"))) == len(EXERCISES)
    flags = ["--epochs", "1", "--subset", "0.02", "--batch-size", "16", "--threads", "1"]
    code, said = replay.typed("train", "--with", str(tmp_path / "mine"), *flags, "--output", str(tmp_path / "runs"))
    yours = next(line for line in said.splitlines() if line.startswith("yours"))
    assert code == 0 and all(f"{name} (" in yours for name in ("conv2d_dx", "batch_norm_dx", "adam", "train_step"))
