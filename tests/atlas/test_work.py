"""The folder in which an atlas grows: what it takes over, what it refuses, and what it leaves alone."""

import os

import numpy as np
import pytest

from minidl.atlas.versions import best_matches
from minidl.atlas.work import Work
from minidl.errors import DataError, UsageError
from minidl.storage.locks import LOCKS, lock

PLAN = {"network": "a"}
ONE = {"a": np.arange(3)}


def begin(output, plan=PLAN):
    """Work that has been interrupted after one stage."""
    work = Work(output)
    with work.owned(plan):
        work.stage("one", lambda: ONE)
    return work


def fails():
    raise AssertionError("made again")


def test_a_stage_is_done_once(tmp_path):
    begin(tmp_path / "out")
    work = Work(tmp_path / "out")
    with work.owned(PLAN) as begun:
        assert begun and (work.stage("one", fails)["a"] == ONE["a"]).all()


@pytest.mark.parametrize("damage", [lambda b: b[:-30], lambda b: b"", lambda b: b"x" * len(b), lambda b: b[:40] * 9])
def test_a_damaged_stage_is_done_again(damage, tmp_path):
    work = begin(tmp_path / "out")
    path = work.folder / "numbers" / "one.npz"
    path.write_bytes(damage(path.read_bytes()))
    with work.owned(PLAN):
        assert work.load("one") is None
        assert (work.stage("one", lambda: ONE)["a"] == ONE["a"]).all()
        assert work.load("one") is not None


def test_a_stage_whose_other_files_are_gone_is_done_again(tmp_path):
    work = begin(tmp_path / "out")
    made = []
    with work.owned(PLAN):
        work.stage("one", lambda: made.append(1) or ONE, work.large("norms"))
    assert made


def test_work_with_another_plan_starts_anew(tmp_path):
    work = begin(tmp_path / "out")
    with work.owned({"network": "b"}) as begun:
        assert not begun and work.load("one") is None


def test_what_a_thread_finds_after_the_end_is_not_kept(tmp_path):
    work = begin(tmp_path / "out")
    work.save("two", ONE)
    assert work.load("two") is None


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    work = begin(tmp_path / "out")
    (work.folder / "numbers" / ".tmp-killed").mkdir()
    with work.owned(PLAN):
        assert [p.name for p in (work.folder / "numbers").iterdir()] == ["one.npz"]


def finished(output):
    work = begin(output)
    with work.owned(PLAN):
        (work.folder / "data" / "atlas.js").write_text("x")
        work.finish()


def test_an_atlas_takes_the_place_of_an_earlier_one_or_of_an_empty_folder(tmp_path):
    (tmp_path / "out.old").mkdir()
    (tmp_path / "out").mkdir()
    for _ in range(2):
        finished(tmp_path / "out")
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["data", "numbers", "sheets"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "out.old"]  # which is somebody else's


def test_the_earlier_atlas_comes_back_if_the_new_one_cannot_be_put_there(tmp_path, monkeypatch):
    finished(tmp_path / "out")
    work, rename = begin(tmp_path / "out"), os.rename

    def refused(self, target):
        if self == work.folder:
            raise PermissionError(13, "Permission denied")
        rename(self, target)

    monkeypatch.setattr("pathlib.Path.rename", refused)
    with work.owned(PLAN), pytest.raises(DataError, match="can't write"):
        work.finish()
    assert (tmp_path / "out" / "data" / "atlas.js").exists()


def test_nothing_but_an_atlas_is_replaced(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("x")
    (tmp_path / "link").symlink_to("photos")
    (tmp_path / "mine.unfinished").mkdir()
    (tmp_path / "mine.unfinished" / "plan.json").write_text('{"garden": "roses"}')
    monkeypatch.chdir(tmp_path / "photos")
    for output in (
        tmp_path / "file",
        tmp_path / "photos",
        tmp_path / "link",
        tmp_path / "mine",
        ".",
        "..",
        "../link/",
    ):
        with pytest.raises(UsageError, match="give"), Work(output).owned(PLAN):
            pass
    with pytest.raises(UsageError, match="can't be there"):
        Work(os.path.abspath(os.sep))
    assert (tmp_path / "mine.unfinished" / "plan.json").exists()


@pytest.mark.skipif(not LOCKS, reason="no locks on this system")
def test_two_processes_do_not_work_on_the_same_atlas(tmp_path):
    work = begin(tmp_path / "out")
    descriptor = os.open(work.folder, os.O_RDONLY)
    assert lock(descriptor)
    with pytest.raises(UsageError, match="another process"), work.owned(PLAN):
        pass
    os.close(descriptor)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system can't be asked for room")
def test_a_disk_without_room_is_a_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    work = begin(tmp_path / "out")
    monkeypatch.setattr("os.posix_fallocate", full)
    with work.owned(PLAN), pytest.raises(DataError, match=r"norms\.npy: the disk is full"):
        work.new_large("norms", (3, 4))


def test_matches_are_those_of_all_pairs_however_they_are_divided(monkeypatch):
    rng = np.random.default_rng(0)
    a, b = rng.random((7, 20)), rng.random((11, 20))
    b[4], a[2] = 3 * a[5] + 1, 0.5
    with np.errstate(invalid="ignore"):  # a unit that never changes
        whole = np.nan_to_num(np.corrcoef(a, b)[:7, 7:])
    monkeypatch.setattr("minidl.atlas.versions.ROWS", 3)
    best, r = best_matches(a, b)
    assert best[5] == 4 and best.tolist() == whole.argmax(axis=1).tolist()
    np.testing.assert_allclose(r, whole.max(axis=1), atol=1e-12)
