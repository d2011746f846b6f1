"""What a long job prints in a log."""

import pytest

from minidl.text.progress import Progress


@pytest.mark.parametrize(
    "total, unit, text",
    [
        (1000, "image", "job: 1,000 of 1,000 images, "),
        (None, "place", "job: 1,000 places, "),
        (123456, "B", "job: 1.00kB of 123kB, "),
    ],
)
def test_counts_are_printed_in_full_and_bytes_in_powers_of_a_thousand(capsys, monkeypatch, total, unit, text):
    monkeypatch.setattr("minidl.text.progress.SHORT", 0)
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


def test_titles_and_lines_above_the_bar_are_without_control_characters(capsys, monkeypatch):
    monkeypatch.setattr("minidl.text.progress.SHORT", 0)
    for terminal in (False, True):
        monkeypatch.setattr("sys.stderr.isatty", lambda terminal=terminal: terminal, raising=False)
        with Progress("\x1b[31mevil\n", 10, "image") as bar:
            bar.say("a\x1b]0;owned\x07\u202e.zip")
            bar.add(10)
        error = capsys.readouterr().err
        assert r"a\x1b]0;owned\x07\u202e.zip" in error and r"\x1b[31mevil\n" in error
        assert not {"\x1b[31m", "\x1b]", "\u202e"} & {error[i : i + n] for i in range(len(error)) for n in (1, 2, 5)}


def test_a_job_that_leaves_nothing_says_nothing_at_its_end(capsys, monkeypatch):
    monkeypatch.setattr("minidl.text.progress.SHORT", 0)
    with Progress("job", 10, "image", leave=False) as bar:
        bar.add(10)
    assert capsys.readouterr().err == ""


def test_a_note_stands_beside_a_bar_only(capsys, monkeypatch):
    for terminal in (False, True):
        monkeypatch.setattr("sys.stderr.isatty", lambda terminal=terminal: terminal, raising=False)
        with Progress("job", 10, "image") as bar:
            bar.note("loss 0.500")
        assert bar.live == terminal and ("loss 0.500" in capsys.readouterr().err) == terminal
