"""Speed by batch size: who takes part where, the tables, the picture, and what is on disk after each batch size."""

import json
import sys

import pytest

from benchmarks import batches
from minidl.errors import UsageError

NAMES = ["minidl", "torch_channels_last", "torch_compile", "torch_bf16", "onnxruntime"]
SPEEDS = {"minidl": 100.0, "torch_channels_last": 50.0, "torch_compile": 40.0, "torch_bf16": 4.0, "onnxruntime": 90.0}


@pytest.fixture
def workers(monkeypatch):
    """Workers with a fixed speed in training, twice as fast in inference; the tasks that they had."""
    tasks = []

    class Worker:
        failed, threads = None, 2

        def __init__(self, task):
            self.task = task
            tasks.append(task)

        def measure(self, what, steps):
            seconds = steps * self.task.batch_size / SPEEDS[self.task.name] / (1 if what == "train" else 2)
            return {"seconds": seconds, "cpu_seconds": seconds, "peak_rss_mb": 10 * len(self.task.name)}

        def close(self):
            return 0

    monkeypatch.setattr("benchmarks.rounds.Worker", Worker)
    monkeypatch.setattr("benchmarks.batches.choose", lambda *_: [*NAMES, "minidl_plain"])
    return tasks


def run(monkeypatch, folder, *flags):
    monkeypatch.setattr(sys, "argv", ["batches", "--results", str(folder), *flags])
    batches.main()
    return json.loads((folder / "batches.json").read_text())


def test_who_takes_part_at_which_batch_size(monkeypatch, tmp_path, workers):
    figures = run(monkeypatch, tmp_path, "--batch-sizes", "16", "8", "32", "64", "--rounds", "2")
    took_part = {size: {*of["infer_img_s"]} for size, of in figures["batches"].items()}
    rest = {"minidl", "torch_channels_last", "onnxruntime"}
    assert took_part == {
        "8": {*NAMES},  # two seconds a step in bfloat16
        "16": {*rest, "torch_bf16"},  # four seconds: the last time
        "32": rest,
        "64": {*rest, "torch_compile"},
    }
    assert [(t.batch_size, t.steps) for t in workers if t.name == "minidl"] == [(8, 8), (16, 4), (32, 2), (64, 1)]
    assert len(figures["batches"]["8"]["rounds"]["train"]["torch_bf16"]) == 1  # 16 seconds are more than its budget
    assert len(figures["batches"]["8"]["rounds"]["train"]["minidl"]) == 2


def test_contenders_that_are_asked_for_take_part_everywhere(monkeypatch, tmp_path, workers):
    flags = ("--only", "torch_compile", "--batch-sizes", "2", "128", "256", "--rounds", "1")
    monkeypatch.setattr("benchmarks.batches.choose", lambda *_: ["torch_compile"])
    figures = run(monkeypatch, tmp_path, *flags)
    assert [*figures["batches"]] == ["2", "128"]  # 3.2 seconds a step are too long


def test_minidl_is_never_too_slow_to_go_on(monkeypatch, tmp_path, workers):
    monkeypatch.setitem(SPEEDS, "minidl", 1.0)
    figures = run(monkeypatch, tmp_path, "--batch-sizes", "4", "8", "--rounds", "1")
    assert "minidl" in figures["batches"]["8"]["train_img_s"]


def test_the_tables_and_the_picture(monkeypatch, tmp_path, workers, capsys):
    run(monkeypatch, tmp_path, "--batch-sizes", "1", "16", "--rounds", "1")
    text, said = (tmp_path / "batches.md").read_text(), capsys.readouterr().out
    head = "| batch size | minidl | torch_channels_last | torch_compile | torch_bf16 |"
    assert f"{head} minidl / best other fp32 | minidl / bf16 | peak RSS / least of torch |" in text
    assert "| 1 | 100 | 50 | 40 | 4 | 2.00 | 25.00 | 0.46 |" in text  # memory: 60 of 130 MB
    assert "| 16 | 100 | 50 |  | 4 | 2.00 | 25.00 | 0.32 |" in text  # of 190 MB
    assert "| 1 | 200 | 100 | 80 | 8 | 180 | 1.11 | 25.00 |" in text
    assert text.endswith(said) and "![Images per second over the batch size](batches.png)" in text
    assert (tmp_path / "batches.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_measured_is_on_disk_before_the_next_batch_size(monkeypatch, tmp_path, workers):
    measure = batches.compare

    def fails_at_16(network, names, batch_size, *rest):
        if batch_size == 16:
            raise KeyboardInterrupt
        return measure(network, names, batch_size, *rest)

    monkeypatch.setattr(batches, "compare", fails_at_16)
    with pytest.raises(KeyboardInterrupt):
        run(monkeypatch, tmp_path, "--batch-sizes", "8", "16", "--rounds", "1")
    assert [*json.loads((tmp_path / "batches.json").read_text())["batches"]] == ["8"]


def test_quick_writes_nothing_and_measures_three_batch_sizes(monkeypatch, tmp_path, workers):
    monkeypatch.setattr(sys, "argv", ["batches", "--quick", "--json", str(tmp_path / "a.json")])
    batches.main()
    assert [*json.loads((tmp_path / "a.json").read_text())["batches"]] == ["1", "8", "64"]
    assert {path.name for path in tmp_path.iterdir()} == {"a.json"}


def test_a_batch_of_no_images_is_refused(monkeypatch, tmp_path, capsys):
    with pytest.raises((SystemExit, UsageError)) as ended:
        run(monkeypatch, tmp_path, "--batch-sizes", "4", "0")
    assert getattr(ended.value, "code", 2) == 2 and "at least 1" in capsys.readouterr().err
