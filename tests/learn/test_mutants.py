"""Mutations of the real functions are refused: the cases of an exercise leave no gap."""

import pytest

from minidl.learn import EXERCISES
from tests.learn.mutants import surviving


@pytest.mark.slow
@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda e: e.name)
def test_no_mutation_of_the_real_function_passes(exercise):
    count, passed = surviving(exercise)
    assert count and passed == []


def test_a_mutation_of_one_function_is_refused():
    assert surviving(EXERCISES["relu_dx"]) == (1, [])
