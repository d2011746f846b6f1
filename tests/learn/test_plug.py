"""A learner's functions in a real training: whose code runs, and what happens if it is slow or wrong."""

import time

import numpy as np
import pytest

import minidl as md
from minidl.errors import UsageError
from minidl.kernels import blocked, reference
from minidl.layers.linear import Linear
from minidl.learn import EXERCISES
from minidl.learn.fitness import drop_unfit
from minidl.learn.plug import on_reference, place_of, plugged, solved
from minidl.learn.source import filled
from tests.learn.started import started

KERNELS = ("im2col", "conv2d", "conv2d_dw", "relu")


@pytest.fixture
def folder(tmp_path):
    return started(tmp_path / "mine")


def write(folder, *names):
    for name in names:
        folder.file(EXERCISES[name]).write_text(filled(EXERCISES[name]), "utf-8")


def step():
    """A training step of a small network, on plain layers."""
    model = md.Sequential(md.Conv2D(3, 4, 3, rng=0), md.ReLU(), md.GlobalAvgPool(), md.Linear(4, 5, rng=0))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    logits, cache = model.forward(x, md.TRAIN.at_step(0))
    loss, dlogits = md.softmax_cross_entropy(logits, np.array([1, 2]))
    model.backward(dlogits, cache)
    return loss, [p.grad for p in model.named_parameters().values()]


def test_only_what_is_right_is_plugged_in(folder):
    write(folder, *KERNELS)
    folder.file(EXERCISES["relu_dx"]).write_text("def relu_dx(dy, mask):\n    return dy\n", "utf-8")
    folder.file(EXERCISES["softmax"]).write_text("def softmax(", "utf-8")
    plugs = solved(folder)
    assert sorted(plugs.functions) == sorted(KERNELS)
    assert plugs.refused["relu_dx"] == "not right yet" and plugs.refused["pad2d"] == "not begun"
    assert "softmax.py, line 1" in plugs.refused["softmax"]


@pytest.mark.slow
def test_the_learners_functions_are_called_also_by_one_another(folder):
    write(folder, *KERNELS, "linear_backward")
    plugs = solved(folder)
    plain = step()
    with plugged(plugs):
        loss, grads = step()
    # im2col is called by the reference's conv2d_dw and by the learner's conv2d
    assert plugs.calls == {"conv2d": 1, "im2col": 2, "conv2d_dw": 1, "relu": 1, "linear_backward": 1}
    assert np.allclose(loss, plain[0], rtol=1e-5)
    assert all(np.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(grads, plain[1], strict=True))
    assert plugs.lines()[0].startswith("yours    ") and "im2col (2 calls)" in plugs.lines()[0]


@pytest.mark.slow
def test_afterwards_everything_is_as_it_was(folder):
    before = [vars(reference).copy(), vars(blocked).copy(), Linear.backward]
    write(folder, *KERNELS, "linear_backward")
    with pytest.raises(ZeroDivisionError), plugged(solved(folder)):
        raise ZeroDivisionError
    with on_reference():
        assert blocked.conv2d is not before[1]["conv2d"]
    assert [vars(reference), vars(blocked), Linear.backward] == before


@pytest.mark.slow
def test_what_a_function_raises_in_the_training_names_it(folder):
    text = filled(EXERCISES["relu"]).rstrip().replace("    xp = ", "    assert x.shape != (2, 6, 6, 4)\n    xp = ")
    folder.file(EXERCISES["relu"]).write_text(text + "\n", "utf-8")
    plugs = solved(folder)
    with plugged(plugs), pytest.raises(UsageError, match="your relu raised AssertionError in line"):
        step()


def compute(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@pytest.mark.slow
def test_a_function_that_is_much_slower_is_left_out_and_named(folder, monkeypatch):
    write(folder, "relu", "im2col")
    plugs = solved(folder)

    def relu(x):
        compute(0.1)
        return reference.relu(x)

    plugs.functions["relu"] = relu
    drop_unfit(plugs, step)
    assert list(plugs.functions) == ["im2col"]
    assert "times slower" in plugs.refused["relu"]
    assert plugs.others() == [
        f"minidl's relu: {plugs.refused['relu']}",
        f"minidl's {len(EXERCISES) - 2} others: not begun",
    ]


@pytest.mark.slow
def test_one_slow_call_is_no_slow_function(folder):
    write(folder, "relu")
    plugs = solved(folder)
    calls = []

    def relu(x):
        calls.append(1)
        compute(0.1 if len(calls) == 1 else 0)
        return reference.relu(x)

    plugs.functions["relu"] = relu
    drop_unfit(plugs, step)
    assert list(plugs.functions) == ["relu"]


def odd_for(shape):
    """ReLU, right except for this shape."""

    def relu(x):
        y, mask = np.maximum(x, 0), x > 0
        return (y + (x.shape == shape), mask) if x.dtype == np.float32 else (y, mask)

    return relu


def raising(x):
    raise SystemExit


@pytest.mark.slow
@pytest.mark.parametrize(
    ("relu", "why"), [(odd_for((2, 6, 6, 4)), "gives other numbers"), (raising, "raises SystemExit in line")]
)
def test_a_function_that_is_wrong_only_in_the_network_is_left_out_and_named(folder, relu, why):
    write(folder, "relu", "im2col")
    plugs = solved(folder)
    plugs.functions["relu"] = relu
    drop_unfit(plugs, step)
    assert list(plugs.functions) == ["im2col"] and why in plugs.refused["relu"]


@pytest.mark.slow
def test_a_file_that_changes_after_its_check_is_not_used(folder):
    write(folder, "relu")
    plugs = solved(folder)
    folder.file(EXERCISES["relu"]).write_text("def relu(x): ...", "utf-8")
    with pytest.raises(UsageError, match=r"relu\.py was changed after its check"), plugged(plugs):
        pass


@pytest.mark.slow
def test_an_exercise_for_some_calls_leaves_the_others_to_its_neighbour(folder):
    write(folder, "softmax_cross_entropy", "label_smoothing", "max_pool_dx", "unpool")
    logits, labels = np.zeros((2, 3)), np.array([0, 1])
    dy, index = np.ones((1, 1, 1, 1)), np.zeros((1, 1, 1, 1), np.uint8)
    with plugged(plugs := solved(folder)):
        reference.softmax_cross_entropy(logits, labels, smoothing=0)
        reference.softmax_cross_entropy(logits, labels, 0.0)
        reference.softmax_cross_entropy(logits, labels, smoothing=0.1)
        reference.max_pool_dx(dy, index, (1, 2, 2, 1), 2, 2, 0)
        reference.max_pool_dx(dy, index, (1, 2, 2, 1), kernel=2, stride=2, padding=0, overlap="last")
    assert plugs.calls == {"softmax_cross_entropy": 2, "label_smoothing": 1, "max_pool_dx": 1, "unpool": 1}


@pytest.mark.slow
def test_a_learners_parameters_may_have_other_names(folder):
    text = "def max_pool(a, b, c, d):\n    return real(a, b, c, d)\n"
    text = f"from minidl.learn import EXERCISES\nreal = EXERCISES['max_pool'].reference\n{text}"
    folder.file(EXERCISES["max_pool"]).write_text(text, "utf-8")
    with plugged(plugs := solved(folder)):
        reference.max_pool(np.zeros((1, 4, 4, 1)), kernel=2, stride=2, padding=0)
    assert plugs.calls == {"max_pool": 1}


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda e: e.name)
def test_every_exercise_has_a_place_to_be_plugged_into(exercise):
    owner, name = place_of(exercise)
    assert vars(owner)[name] is exercise.reference
