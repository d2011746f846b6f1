"""A number and its noun."""

import pytest

from minidl.text.plural import counted


@pytest.mark.parametrize(
    ("count", "noun", "words"),
    [(0, "epoch", "0 epochs"), (1, "epoch", "1 epoch"), (1000, "step", "1,000 steps"), (1, "batch", "1 batch")]
    + [(2, "batch", "2 batches"), (2, "class", "2 classes"), (3, "box", "3 boxes")],
)
def test_only_one_thing_is_in_the_singular(count, noun, words):
    assert counted(count, noun) == words
