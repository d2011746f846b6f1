"""A list of classes means the same in every command."""

import pytest

from minidl.data.classes import class_names, find_class, find_classes
from minidl.errors import UsageError

ANIMALS = ["n1", "n2", "n3"]
WORDS = ["tabby, tabby cat", "Great Dane", "crane"]
NUMBERS = ["0", "1", "10", "11", "2", "3"]  # folders in the order of their names


@pytest.mark.parametrize(
    ("text", "classes", "words", "found"),
    [
        ("n3,n1", ANIMALS, WORDS, [2, 0]),  # ids
        ("2,0", ANIMALS, WORDS, [2, 0]),  # positions
        ("0-2", ANIMALS, WORDS, [0, 1, 2]),
        ("great dane, tabby cat", ANIMALS, WORDS, [1, 0]),  # names
        ("1,n2,Great Dane,0-1", ANIMALS, WORDS, [1, 0]),  # each once
        ("2,3", NUMBERS, NUMBERS, [4, 5]),  # numbers that are ids are never positions
        ("1-3", NUMBERS, NUMBERS, [1, 4, 5]),
        ("10,02", NUMBERS, NUMBERS, [2, 4]),
        ("1-2,t-shirt", ["1-2", "shoe", "t-shirt"], ["1-2", "shoe", "t-shirt"], [0, 2]),  # an id with a dash
        ("caf\u00e9", ["tea", "cafe\u0301"], ["tea", "cafe\u0301"], [1]),  # é as keyboards and as macOS write it
        ("red, green", ["a", "b"], ["red, blue", "green"], [0, 1]),  # either synonym
        ("0,7", ["cat", "7", "dog"], ["cat", "7", "dog"], None),  # one id is a number: 0 is none
        ("2,4", NUMBERS, NUMBERS, None),
        ("0-3", ANIMALS, WORDS, None),
        ("2-0", ANIMALS, WORDS, None),
        ("-1", ANIMALS, WORDS, None),
        ("", ANIMALS, WORDS, None),
        ("0-99999999999999999999", ANIMALS, WORDS, None),
        ("٢", ANIMALS, WORDS, None),
    ],
)
def test_a_list_means_ids_names_and_positions(text, classes, words, found):
    if found is None:
        with pytest.raises(UsageError, match="class"):
            find_classes(text, classes, words)
    else:
        assert find_classes(text, classes, words) == found


def test_a_name_of_two_classes_is_asked_back():
    with pytest.raises(UsageError, match="n1, n2"):
        find_class("crane", ["n1", "n2"], ["crane, bird", "crane, machine"])


def test_a_wrong_name_gets_the_nearest():
    with pytest.raises(UsageError, match="tabby"):
        find_class("taby", ANIMALS, WORDS)


def test_what_is_id_and_word_in_one_is_printed_once():
    assert class_names(["Sneaker", "n1", "a\nb"], ["Sneaker", "cat", "a\nb"]) == ["Sneaker", "n1 cat", r"a\nb"]


def test_a_long_list_of_classes_looks_through_all_names_once():
    class Counted(list):
        looks = 0

        def __iter__(self):
            Counted.looks += 1
            return super().__iter__()

    words = Counted(f"word {i}" for i in range(50))
    assert find_classes("0-49,word 3", [f"n{i}" for i in range(50)], words) == list(range(50))
    assert Counted.looks == 1
