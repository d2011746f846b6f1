"""A number that a person types is taken, or refused with what it should be."""

import pytest

from minidl.errors import UsageError
from minidl.text import numbers


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (numbers.count, "1", 1),
        (numbers.whole, "0", 0),
        (numbers.seed64, str(2**64 - 1), 2**64 - 1),
        (numbers.positive, "1e-3", 1e-3),
        (numbers.share, "0", 0.0),
        (numbers.part, "1", 1.0),
    ],
)
def test_a_number_within_its_range_is_taken(parse, text, value):
    assert parse(text) == value and type(parse(text)) is type(value)


@pytest.mark.parametrize(
    ("parse", "text", "said"),
    [
        (numbers.count, "0", "'0' is not a whole number of at least 1"),
        (numbers.count, "1.5", "'1.5' is not a whole number"),
        (numbers.count, str(2**31), "2147483648 is too large: give at most 2147483647"),
        (numbers.positive, "nan", "'nan' is not a number above 0"),
        (numbers.not_negative, "inf", "'inf' is not a number of at least 0"),
        (numbers.share, "1", "'1' is not a number from 0 to below 1"),
        (numbers.part, "0", "'0' is not a number above 0, up to 1"),
        (numbers.whole, "x" * 1000, f"'{'x' * 40}' is not a whole number"),
    ],
)
def test_another_is_refused_in_words(parse, text, said):
    with pytest.raises(UsageError) as error:
        parse(text)
    assert str(error.value).startswith(said)
