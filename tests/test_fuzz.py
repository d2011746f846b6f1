"""The fuzzer finds what it looks for, and good files are right answers."""

import os
import random
import sys
import time

import numpy as np
import pytest

from minidl.errors import DataError
from tests.fuzz import child, mutations
from tests.fuzz.child import keep_find, trial
from tests.fuzz.targets import TARGETS

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux")


def found(run, folder, content=b"good"):
    return trial(lambda rng: content, 0, run, folder)


def refuses(path):
    raise DataError(f"{path.name}: damaged")


def fails(path):
    return {}["lr"]


def hangs(path):
    time.sleep(60)


def takes_memory(path):
    return int(np.ones(2**28).sum())


def dies(path):
    os.abort()


def leaves_a_file(path):
    return (path.parent / "up").write_bytes(b"") or 0


def prints(path):
    return print("\x1b]0;owned\x07") or 0


def is_no_line(path):
    os.write(2, b"LZWDecode: Not enough data\n")
    return 0


@pytest.mark.parametrize(
    ("run", "wrong"),
    [
        (lambda path: 0, ""),
        (refuses, ""),
        (fails, "KeyError at "),
        (hangs, "no answer in"),
        (takes_memory, "memory at "),
        (dies, "crash: Aborted"),
        (leaves_a_file, "escape"),
        (prints, "control characters"),
        (is_no_line, "a library prints"),
        (lambda path: sys.exit(7), "exit code 7"),
    ],
)
def test_an_input_is_a_find_if_it_gets_anything_but_a_right_answer(run, wrong, tmp_path, monkeypatch):
    monkeypatch.setattr(child, "SECONDS", 1 if run is hangs else 60)
    outcome = found(run, tmp_path / "trial")
    assert outcome.wrong.startswith(wrong) and bool(outcome.wrong) == bool(wrong), outcome


@pytest.mark.parametrize("name", ["images", "annotations", "torch_files"])
def test_good_files_are_right_answers_and_reach_lines_of_minidl(name, tmp_path):
    target = TARGETS[name](tmp_path)
    for example in list(target.examples)[:2]:
        outcome = found(lambda path, e=example: target.run(e, path), tmp_path / "trial", target.examples[example])
        assert not outcome.wrong and len(outcome.reached) > 10, outcome
        changed = {target.change(random.Random(seed), example, target.examples[example]) for seed in range(20)}
        assert len(changed) > 10 and max(map(len, changed)) <= mutations.MOST


def test_a_find_is_kept_with_what_is_wrong(tmp_path):
    path = keep_find(
        tmp_path / "new", "annotations", "val/val_annotations.txt", b"\x00", child.Outcome("hang", "30 s")
    )
    assert path.read_bytes() == b"\x00" and path.name.split("+")[2:] == ["val", "val_annotations.txt"]
    assert (path.parent / "+".join(path.name.split("+")[:2])).with_suffix(".txt").read_text().startswith("hang\n")
