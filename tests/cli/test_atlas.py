"""The command `atlas`: what it hands to the builder."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from minidl.cli import atlas
from minidl.cli.atlas import SNAPSHOTS, _snapshots


def subject(folder: Path, epochs, epoch=1002):
    (folder / "checkpoints").mkdir()
    for number in epochs:
        (folder / "checkpoints" / f"epoch-{number:03}.safetensors").touch()
    history = [{"epoch": e, "val_top1": e / 1000} for e in epochs]
    return SimpleNamespace(
        run=folder, checkpoint=SimpleNamespace(state=SimpleNamespace(epoch=epoch, history=history))
    )


@pytest.mark.parametrize(
    "there, shown",
    [
        ([], []),
        ([5], [5]),
        ([2, 10, 4], [2, 4, 10]),
        ([3, 7, 1002, 1003], [3, 7]),  # the atlas itself shows 1002, the best epoch
        (range(1, 81), [1, 12, 24, 35, 46, 57, 69, 80]),
        ([998, 999, 1000, 1001], [998, 999, 1000, 1001]),
    ],
)
def test_snapshots_are_shown_in_order_and_not_too_many(tmp_path, monkeypatch, there, shown):
    monkeypatch.setattr(atlas, "_model", lambda path: None)
    states = _snapshots(subject(tmp_path, there))
    assert [state.epoch for state in states] == shown and len(shown) <= SNAPSHOTS
    assert [state.top1 for state in states] == [epoch / 1000 for epoch in shown]


def test_a_file_without_a_run_has_no_snapshots():
    assert (
        _snapshots(SimpleNamespace(run=None, checkpoint=SimpleNamespace(state=SimpleNamespace(epoch=1, history=[]))))
        == []
    )


def test_a_snapshot_that_cannot_be_read_is_left_out_with_a_word(tmp_path, capsys):
    assert _snapshots(subject(tmp_path, [5])) == []
    assert "left out" in capsys.readouterr().err
