"""A part of a whole in percent."""

import pytest

from minidl.text.shares import percent


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [(200, 10_000, "2 %"), (1, 3, "33.3 %"), (7, 7, "100 %"), (9_999, 10_000, "99.9 %"), (1, 1_000_000, "0.0001 %")],
)
def test_a_part_is_neither_nothing_nor_the_whole(part, whole, words):
    assert percent(part, whole) == words
