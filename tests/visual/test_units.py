"""Which units a request means."""

import numpy as np
import pytest

from minidl.errors import UsageError
from minidl.visual.probe import LayerProbe
from minidl.visual.units import DEFAULT, choose_units, table

BEST_FIRST = np.array([3, 1, 0, 2])


@pytest.mark.parametrize(
    ("text", "units"),
    [("all", [3, 1, 0, 2]), ("top:2", [3, 1]), (DEFAULT, [3, 1, 0, 2]), ("2", [2]), ("2, 0,2", [2, 0])],
)
def test_units_are_numbers_or_the_first_of_a_ranking(text, units):
    assert choose_units(text, 4, BEST_FIRST) == units


@pytest.mark.parametrize("text", ["top:5", "top:0", "top:", "4", "-1", "first"])
def test_any_other_request_is_refused(text):
    with pytest.raises(UsageError, match="--unit"):
        choose_units(text, 4, BEST_FIRST)


def test_the_nine_by_default_are_nine():
    assert choose_units(DEFAULT, 12, np.arange(12)) == [*range(9)]


@pytest.mark.parametrize(("means", "cells"), [([3.0, 1.0], ["0.5000", "cat"]), ([np.nan, np.nan], ["", ""])])
def test_without_labels_the_table_has_no_selectivity(means, cells):
    found = LayerProbe("fc", (1,), {"l2": np.array([[4]])}, {"l2": np.ones((1, 1))}, np.array([means]))
    _, row = table(found, ["cat", "dog"], None)
    assert row == ["0", "0", *cells, "4", "1"]


def test_a_dead_unit_has_no_best_class():
    found = LayerProbe("relu", (4, 4, 1), {"l2": np.array([[0]])}, {"l2": np.zeros((1, 1))}, np.zeros((1, 2)))
    _, row = table(found, ["cat", "dog"], None)
    assert row == ["0", "1", "0.0000", "", "0", "0"]
