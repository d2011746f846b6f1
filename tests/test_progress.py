"""What a long job prints in a log."""

import pytest

from minidl.progress import Progress


@pytest.mark.parametrize(
    "total, unit, text",
    [
        (1000, "image", "job: 1,000 of 1,000 images, "),
        (None, "place", "job: 1,000 places, "),
        (123456, "B", "job: 1.00kB of 123kB, "),
    ],
)
def test_counts_are_printed_in_full_and_bytes_in_powers_of_a_thousand(capsys, monkeypatch, total, unit, text):
    monkeypatch.setattr("minidl.progress.SHORT", 0)
    with Progress("job", total, unit) as bar:
        bar.add(1000)
    assert capsys.readouterr().err.startswith(text)


def test_a_slow_rate_has_a_decimal(capsys, monkeypatch):
    clock = iter([0.0, 0.0, 4.0, 4.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with Progress("job", 30, "sheet") as bar:
        bar.add(10)
    assert capsys.readouterr().err == "job: 10 of 30 sheets, 2.5 sheets/s, 00:08 left\n"


def test_a_job_of_a_moment_says_nothing(capsys):
    with Progress("job", 10, "image") as bar:
        bar.add(10)
    assert capsys.readouterr().err == ""
