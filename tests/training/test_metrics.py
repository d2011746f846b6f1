"""Top-k, precision, recall and F1 against scikit-learn."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import classification_report, confusion_matrix, top_k_accuracy_score

import minidl as md
from minidl.errors import UsageError
from minidl.training.evaluation import Evaluation
from minidl.training.metrics import class_scores
from tests.strategies import cases, seeds


@cases(40)
@given(st.integers(2, 6), st.integers(1, 30), seeds)
def test_the_scores_of_each_class_and_their_means_are_scikit_learns(classes, images, seed):
    rng = np.random.default_rng(seed)
    true, predicted = rng.integers(0, classes, (2, images))
    scores = class_scores(confusion_matrix(true, predicted, labels=np.arange(classes)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes without images, for which scikit-learn warns and takes 0
        report = classification_report(true, predicted, output_dict=True)
    for c in range(classes):
        row = report.get(str(c), {"precision": 0, "recall": 0, "f1-score": 0, "support": 0})
        ours = (scores.precision[c], scores.recall[c], scores.f1[c], scores.images[c])
        np.testing.assert_allclose(ours, list(row.values()), rtol=0, atol=1e-15)
    means = list(report["macro avg"].values())[:3]
    np.testing.assert_allclose(list(scores.macro().values()), means, rtol=0, atol=1e-15)


class Fixed(md.Layer):
    """Gives each image the logits that its pixels are."""

    def out_shape(self, in_shape):
        return in_shape[0], in_shape[-1]

    def forward(self, x, ctx):
        return x[:, 0, 0], None


def test_an_evaluation_counts_top_k_for_every_k_and_all_confusions():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(50, 1, 1, 3)).astype(np.float32), rng.integers(0, 3, 50)
    loader = md.Loader((logits, labels), 8, shuffle=False, drop_last=False, workers=0)
    result = md.evaluate(Fixed(), loader)
    scores = logits[:, 0, 0]
    for k in (1, 2):
        assert result.top_k(k) == pytest.approx(top_k_accuracy_score(labels, scores, k=k))
    assert result.top1 == result.top_k(1) and result.top5 == result.top_k(3) == result.top_k(99) == 1
    np.testing.assert_array_equal(result.confusion, confusion_matrix(labels, scores.argmax(axis=1)))
    assert result.classes.recall.tolist() == result.class_accuracy.tolist()
    with pytest.raises(UsageError, match="k"):
        result.top_k(0)


def test_logits_with_a_nan_are_right_for_no_k():
    result = Evaluation(4, 0.1, np.array([1, 1, 0, 2]), np.zeros((3, 3), np.int64))
    assert [result.top_k(k) for k in (1, 2, 3, 4)] == [0.25, 0.5, 0.5, 0.5]
