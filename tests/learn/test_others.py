"""Answers of people who had not seen the diagnosis: right ones pass, wrong ones are refused and understood.

tests/learn/others was written from the docstrings alone, and is not changed to please the diagnosis. `found.json`
says what each wrong answer is told.
"""

import json

import pytest

from minidl.learn.check import check_function
from tests.learn.test_exercises import HERE, functions

FOUND = json.loads((HERE / "others" / "found.json").read_text("utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize(("exercise", "function"), functions("others", "right_"))
def test_an_answer_written_in_another_way_is_right(exercise, function):
    verdict = check_function(exercise, function)
    assert verdict.solved, str(verdict)


@pytest.mark.slow
@pytest.mark.parametrize(("exercise", "function"), functions("others", "wrong_"))
def test_a_wrong_answer_is_refused_and_told_what_is_wrong(exercise, function):
    verdict = check_function(exercise, function)
    assert not verdict.solved
    assert verdict.found == FOUND[exercise.name][function.__name__.removeprefix("wrong_")]


def test_every_exercise_has_three_right_and_three_wrong_answers_of_others():
    for name, least in (("right_", 3), ("wrong_", 3)):
        counts = {}
        for parameters in functions("others", name):
            exercise = parameters.values[0]
            counts[exercise.name] = counts.get(exercise.name, 0) + 1
        assert len(counts) == 40 and min(counts.values()) >= least
