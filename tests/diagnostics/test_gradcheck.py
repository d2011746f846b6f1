"""What gradcheck takes, and what it says of anything else. (That it finds mistakes: tests/layers/test_traps.py.)"""

import numpy as np
import pytest

import minidl as md
from minidl.errors import UsageError

X = np.random.default_rng(0).normal(size=(2, 3))


def layer():
    return md.Linear(3, 4, rng=0, dtype=np.float64)


def test_an_input_that_cannot_be_written_to_is_checked_all_the_same():
    fixed = np.broadcast_to(X[:1], X.shape)
    assert md.gradcheck(layer(), fixed).error < 1e-7
    assert md.gradcheck(layer(), X, loss=lambda y: ((y * y).sum() / 2, y)).error < 1e-7


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"dy": np.ones((2, 5))}, r"dy has the shape \(2, 5\), must have that of y, \(2, 4\)"),
        ({"loss": lambda y: y.sum()}, r"loss returns float64, must return \(L, dL/dy\)"),
        ({"loss": lambda y: (y.sum(), 1.0)}, r"dy has the shape \(\)"),
        ({"coordinates": -1}, "coordinates is -1"),
        ({"step": 0}, "step is 0: choose a small number above 0"),
        ({"step": "small"}, "step is 'small'"),
    ],
)
def test_what_cannot_be_checked_is_named(given, line):
    with pytest.raises(UsageError, match=line):
        md.gradcheck(layer(), X, **given)
