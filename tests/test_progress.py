"""What a long job prints in a log."""

import pytest

from minidl.progress import Progress


@pytest.mark.parametrize(
    "total, unit, text",
    [
        (1000, "image", "job: 1,000 of 1,000 image, "),
        (None, "place", "job: 1,000 place, "),
        (123456, "B", "job: 1.00k of 123k B, "),
    ],
)
def test_counts_are_printed_in_full_and_bytes_in_powers_of_a_thousand(capsys, total, unit, text):
    with Progress("job", total, unit) as bar:
        bar.add(1000)
    assert capsys.readouterr().err.startswith(text)


def test_a_slow_rate_has_a_decimal(capsys, monkeypatch):
    clock = iter([0.0, 0.0, 4.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with Progress("job", 30, "sheet") as bar:
        bar.add(10)
    assert capsys.readouterr().err == "job: 10 of 30 sheet, 2.5 sheet/s, 00:08 left\n"
