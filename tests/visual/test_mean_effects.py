"""The means of first-order effects, by predicted class and by mistake."""

import numpy as np
import pytest

import minidl as md
import models
from minidl.visual.effects import ablated, first_order
from minidl.visual.mean_effects import mean_effects
from tests.cuda_standin import RECORD, install
from tests.strategies import randomized


def images_and_classes(n=7):
    model = randomized(models.build("convnet", 4), np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(n, 9, 9, 3)).astype(np.float32)
    return model, x, np.array([0, 2, 2, 0, 3, 2, 2])[:n], np.array([0, 1, 2, -1, 3, 1, 0])[:n]


def test_the_means_are_those_of_the_images_of_a_class_and_of_a_mistake(monkeypatch):
    monkeypatch.setattr("minidl.visual.mean_effects.BATCH", 2)
    model, x, predicted, labels = images_and_classes()
    layers, seen, eye = ["relu2", "fc"], [], np.eye(4)
    found = mean_effects(model, layers, lambda p: x[p], predicted, labels, 4, threads=2, on_batch=seen.append)
    assert (found.images, sum(seen), found.counts.tolist()) == (7, 7, [2, 0, 4, 1])
    assert found.mistaken == {(1, 2): 2, (0, 2): 1} == {pair: found.mistaken[pair] for pair in found.mistakes}
    each = first_order(model, layers, x, [eye[predicted], eye[predicted] - eye[labels]])
    for name in layers:
        assert np.isnan(found.predicted[name][1]).all()
        for k in (0, 2, 3):
            expected = each[name][0, predicted == k].mean(axis=0)
            np.testing.assert_allclose(found.predicted[name][k], expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            found.mistakes[1, 2][name], -each[name][1, [1, 5]].mean(axis=0), rtol=1e-4, atol=1e-6
        )
        np.testing.assert_allclose(found.mistakes[0, 2][name], -each[name][1, 6], rtol=1e-4, atol=1e-6)


def test_the_number_of_threads_changes_nothing(monkeypatch):
    monkeypatch.setattr("minidl.visual.mean_effects.BATCH", 2)
    model, x, predicted, labels = images_and_classes()
    one, two = (mean_effects(model, ["relu1"], lambda p: x[p], predicted, labels, 4, threads=t) for t in (1, 2))
    np.testing.assert_array_equal(one.predicted["relu1"], two.predicted["relu1"])
    np.testing.assert_array_equal(one.mistakes[1, 2]["relu1"], two.mistakes[1, 2]["relu1"])


def test_an_error_in_a_thread_is_raised():
    def images(positions):
        raise OSError("gone")

    model, _, predicted, labels = images_and_classes()
    with pytest.raises(OSError, match="gone"):
        mean_effects(model, ["relu1"], images, predicted, labels, 4, threads=2)


def test_they_are_the_same_on_the_stand_in_for_a_gpu(monkeypatch):
    model, x, predicted, labels = images_and_classes()
    host = mean_effects(model, ["relu1", "fc"], lambda p: x[p], predicted, labels, 4, threads=1)
    real = ablated(model, "relu1", [3], x, threads=1)
    xp = install(monkeypatch)
    there = md.convert(model, xp=xp)
    found = mean_effects(there, ["relu1", "fc"], lambda p: x[p], predicted, labels, 4, xp=xp)
    for name in host.predicted:
        np.testing.assert_allclose(found.predicted[name], host.predicted[name], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ablated(there, "relu1", [3], x, xp=xp), real, rtol=1e-4, atol=1e-5)
    assert not RECORD.refusals
