"""The exercises: the real function passes, every typical mistake is told from it and from the others."""

import importlib.util
import inspect
from pathlib import Path

import numpy as np
import pytest

from minidl.kernels import reference
from minidl.learn import EXERCISES
from minidl.learn.check import check_function
from minidl.learn.compare import agree
from minidl.learn.diagnosis import typical
from minidl.learn.running import answers
from minidl.learn.source import changed

HERE = Path(__file__).parent


def functions(folder: str, prefix: str) -> list:
    """(exercise, function) for all functions of the corpus whose name begins so."""
    found = []
    for path in sorted((HERE / folder).glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"{folder}_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found += [
            pytest.param(EXERCISES[path.stem], f, id=f"{path.stem}-{name}")
            for name, f in vars(module).items()
            if name.startswith(prefix) and inspect.isfunction(f)
        ]
    return found


every_exercise = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda e: e.name)


@every_exercise
def test_the_real_function_is_right(exercise):
    verdict = check_function(exercise, exercise.reference)
    assert verdict.solved, str(verdict)


@every_exercise
def test_it_has_five_typical_mistakes_and_three_hints(exercise):
    assert len(exercise.mistakes) >= 5
    assert len({m.name for m in exercise.mistakes}) == len(exercise.mistakes)
    assert len(exercise.hints) == 3 and all(exercise.hints)


@every_exercise
def test_every_typical_mistake_still_fits_the_real_source(exercise):
    assert all(callable(changed(exercise, m)) for m in exercise.mistakes)


@pytest.mark.slow
@every_exercise
@pytest.mark.parametrize("seed", [None, 1])
def test_every_typical_mistake_is_diagnosed_as_itself(exercise, seed):
    found = {m.name: check_function(exercise, changed(exercise, m), seed).found for m in exercise.mistakes}
    assert found == {m.name: f"typical {m.name}" for m in exercise.mistakes}


@pytest.mark.parametrize("name", ["relu_dx", "col2im", "batch_norm_dx"])
def test_typical_mistakes_of_some_exercises_are_diagnosed_as_themselves(name):
    exercise = EXERCISES[name]
    found = {m.name: check_function(exercise, changed(exercise, m)).found for m in exercise.mistakes}
    assert found == {m.name: f"typical {m.name}" for m in exercise.mistakes}


@pytest.mark.slow
@every_exercise
def test_no_two_typical_mistakes_give_the_same_numbers(exercise):
    cases = exercise.cases(np.random.default_rng(2))
    given = {m.name: typical(exercise, m, cases) for m in exercise.mistakes}
    right = answers(exercise, exercise.reference, cases)
    given["right"] = right
    names = list(given)
    assert [
        (one, other)
        for i, one in enumerate(names)
        for other in names[:i]
        if all(agree(a, b) for a, b in zip(given[one], given[other], strict=True))
    ] == []


@pytest.mark.slow
@pytest.mark.parametrize(("exercise", "function"), functions("own", "wrong_"))
def test_a_wrong_answer_gets_the_diagnosis_that_it_names(exercise, function):
    verdict = check_function(exercise, function)
    wanted = inspect.getdoc(function).partition(":")[0]
    assert verdict.found == wanted, str(verdict)


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "label_smoothing"])
def test_a_wrong_loss_is_worked_out_on_paper(name):
    def total(logits, labels, smoothing):
        loss, dlogits = reference.softmax_cross_entropy(logits, labels, smoothing)
        return loss * len(logits), dlogits

    said = str(check_function(EXERCISES[name], total))
    assert "loss is 1.38629, must be 0.693147\n" in said  # without an index
    assert "over the images = (0.6931 + 0.6931) / 2 = 0.693147" in said
