"""The last features of a network, and the places PCA and t-SNE give them."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import models
from minidl.data.loader import Loader
from minidl.engine import fuse
from minidl.errors import UsageError
from minidl.layers import INFER, Concat, Conv2D, Dropout, Flatten, GlobalAvgPool, Linear, ReLU, Sequential
from minidl.visual import embedding
from minidl.visual.embedding import ends, features, of_classes, pca, tsne
from minidl.visual.probe import probe
from tests.strategies import randomized


class Noise:
    """A split of random pictures."""

    def __init__(self, n, side):
        self.pixels = np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)
        self.labels = np.arange(n) % 3

    def __len__(self):
        return len(self.pixels)

    def images(self, indices):
        return self.pixels[indices]


def loader(n=7, side=32):
    return Loader(Noise(n, side), 3, mean=[0.5] * 3, std=[0.3] * 3, shuffle=False, drop_last=False, workers=0)


def clusters(each=20, d=12):
    """Three far clusters of features, and which cluster each image belongs to."""
    rng = np.random.default_rng(0)
    centres = 8 * rng.normal(size=(3, d))
    labels = np.repeat(np.arange(3), each)
    return (centres[labels] + rng.normal(size=(3 * each, d))).astype(np.float32), labels


# ----------------------------------------------------------------- features


@pytest.mark.parametrize("engine", [lambda m: m, lambda m: fuse(m, threads=1)], ids=["plain", "fused"])
@pytest.mark.parametrize(("name", "d"), [("convnet", 64), ("refined", 320)])
def test_features_are_what_the_last_layer_turns_into_logits(name, d, engine):
    model = randomized(models.build(name, 5, dropout=0.4), np.random.default_rng(0))
    names, seen = list(model.named_parameters()), []
    f = features(engine(model), loader(), on_batch=seen.append)
    assert f.shape == (7, d) and f.dtype == np.float32 and seen == [3, 3, 1]
    logits = np.concatenate([model.forward(x, INFER)[0] for x, _ in loader().epoch(0)])
    head = {name: p.value for name, p in model.layers["fc"].params.items()}
    ours = f @ head["weight"] + head["bias"]
    np.testing.assert_allclose(ours, logits, rtol=1e-3, atol=1e-3 * np.abs(logits).max())
    assert list(model.named_parameters()) == names


def test_a_loader_that_shuffles_is_refused():
    model, shuffled = models.build("convnet", 3), Loader(Noise(4, 32), 2)
    with pytest.raises(UsageError, match="give shuffle=False"):
        features(model, shuffled)
    with pytest.raises(UsageError, match="give shuffle=False"):
        probe(model, ["fc"], shuffled, 3)


def test_the_head_may_be_a_chain_of_its_own():
    head = Sequential(
        {"drop": Dropout(0.5), "first": Linear(3, 4, rng=0), "relu": ReLU(), "last": Linear(4, 2, rng=0)}
    )
    model = Sequential({"avgpool": GlobalAvgPool(), "head": head})
    f = features(model, loader())
    means = np.concatenate([x.mean(axis=(1, 2)) for x, _ in loader().epoch(0)])
    first = head.layers["first"].params["weight"].value
    np.testing.assert_allclose(f, np.maximum(means @ first, 0), rtol=1e-5, atol=1e-6)
    assert list(model.layers) == ["avgpool", "head"] and list(head.layers)[-1] == "last"
    assert list(model.named_parameters())[-1] == "head.last.bias"


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (Sequential({"fc": Linear(3, 2), "relu": ReLU()}), r"relu \(ReLU\)"),
        (Sequential({"split": Concat([{"a": Conv2D(3, 2, 1)}])}), r"split \(Concat\)"),
        (Sequential({}), "Sequential"),
    ],
)
def test_a_model_that_does_not_end_in_a_linear_layer_is_refused(model, named):
    with pytest.raises(UsageError, match=named):
        features(model, loader())


# --------------------------------------------------------------- of_classes


def test_images_are_chosen_by_class_in_the_order_of_the_split():
    np.testing.assert_array_equal(of_classes(np.array([4, 0, 2, 0, 4]), [4, 0]), [0, 1, 3, 4])


@pytest.mark.parametrize(
    ("labels", "classes", "named"),
    [
        (None, [0], "no labels"),
        (np.array([0, 1]), [], "no classes"),
        (np.array([0, 1]), [1, 7, 9], "class 7, 9"),
        (np.array([], int), [3], "class 3"),
    ],
)
def test_a_choice_without_images_is_refused(labels, classes, named):
    with pytest.raises(UsageError, match=named):
        of_classes(labels, classes)


# ---------------------------------------------------------------------- pca


@pytest.mark.parametrize("dims", [1, 2, 3, 6])
@pytest.mark.parametrize("n", [7, 50])
def test_pca_is_the_singular_value_decomposition_of_the_centred_features(dims, n):
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, 6)) @ rng.normal(size=(6, 6)) + 100
    u, s, vt = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    sign = np.sign(vt[np.arange(6), np.abs(vt).argmax(axis=1)])  # the largest entry of an axis is positive
    result = pca(x, dims)
    assert result.points.dtype == np.float64
    np.testing.assert_allclose(result.points, (u * s * sign)[:, :dims], rtol=0, atol=1e-10)
    np.testing.assert_allclose(result.explained, (s**2 / (s**2).sum())[:dims], rtol=1e-12)


def test_the_explained_variance_is_that_of_the_points():
    x, _ = clusters()
    result = pca(x, 3)
    np.testing.assert_allclose(result.points.var(axis=0) / x.astype(float).var(axis=0).sum(), result.explained)
    assert pca(x, 12).explained.sum() == pytest.approx(1)
    assert (np.diff(result.explained) < 0).all()


def test_features_on_a_line_need_one_axis():
    x = np.outer(np.arange(9.0), [3, 0, 4]) + 7
    result = pca(x, 2)
    np.testing.assert_allclose(result.points[:, 0], 5 * (np.arange(9) - 4), atol=1e-12)
    np.testing.assert_allclose(result.explained, [1, 0], atol=1e-12)


# --------------------------------------------------------------------- tsne


@pytest.mark.parametrize("dims", [2, 3])
def test_tsne_keeps_neighbours_together(dims):
    x, labels = clusters()
    result = tsne(x, dims, perplexity=10)
    assert result.points.shape == (60, dims) and result.points.dtype == np.float64 and result.explained is None
    distance = np.linalg.norm(result.points[:, None] - result.points, axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert (labels[distance.argmin(axis=1)] == labels).all()


def test_one_seed_gives_the_same_bits_on_any_number_of_threads():
    x, _ = clusters(each=8)
    points = tsne(x, 2, seed=3).points
    for threads in (1, 3):
        with threadpool_limits(threads):
            np.testing.assert_array_equal(tsne(x, 2, seed=3).points, points)


@pytest.mark.parametrize(("n", "perplexity"), [(5, 4 / 3), (31, 10), (91, 30), (200, 30)])
def test_tsne_starts_at_the_principal_components_and_its_settings_follow_from_n(n, perplexity, monkeypatch):
    asked = {}

    class Spy:
        def __init__(self, dims, **options):
            asked.update(options, dims=dims)

        def fit_transform(self, x):
            return x[:, : asked["dims"]]

    monkeypatch.setattr(embedding, "TSNE", Spy)
    tsne(np.random.default_rng(0).normal(size=(n, 4)), 2, seed=9)
    assert (asked["init"], asked["random_state"], asked["dims"]) == ("pca", 9, 2)
    assert asked["perplexity"] == pytest.approx(perplexity)
    assert asked["learning_rate"] == pytest.approx(n / 48)


def test_five_images_are_enough():
    assert np.isfinite(tsne(np.random.default_rng(0).normal(size=(5, 8)), 3).points).all()


# ------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("ask", "shape", "named"),
    [
        (lambda x: pca(x, 3), (3, 8), "at least 4 images, got 3"),
        (lambda x: pca(x, 9), (20, 8), "8 features"),
        (lambda x: pca(x, 0), (20, 8), "at least 1"),
        (lambda x: pca(x, 2), (0, 8), "got 0"),
        (lambda x: tsne(x, 2), (4, 8), "at least 5 images, got 4"),
        (lambda x: tsne(x, 4), (20, 8), "choose 2 or 3"),
        (lambda x: tsne(x, 3), (20, 2), "2 features"),
        (lambda x: tsne(x, 2, perplexity=0), (20, 8), "perplexity"),
        (lambda x: tsne(x, 2, perplexity=np.nan), (20, 8), "perplexity"),
        (lambda x: pca(x, 2), (20, 4, 4, 8), "a row for each image"),
        (lambda x: pca(np.ones_like(x), 2), (20, 8), "same features"),
        (lambda x: tsne(np.ones_like(x), 2), (20, 8), "same features"),
        (lambda x: pca(np.where(x == x.max(), np.nan, x), 2), (20, 8), "finite"),
    ],
)
def test_what_cannot_be_embedded_is_refused_in_one_line(ask, shape, named):
    with pytest.raises(UsageError, match=named) as caught:
        ask(np.random.default_rng(0).normal(size=shape))
    assert "\n" not in str(caught.value)


def test_the_ends_of_a_network_are_its_scores_and_its_features():
    def linear():
        return Linear(4, 2, rng=0)

    assert ends(models.build("refined", dropout=0.5)) == ("fc", "dropout")
    assert ends(models.build("convnet", 5)) == ("fc", "avgpool")
    assert ends(Sequential({"body": Sequential({"flat": Flatten(), "fc": linear()})})) == ("body.fc", "body.flat")
    assert ends(Sequential({"flat": Flatten(), "head": Sequential(linear())})) == ("head.0", "")
    assert ends(Sequential({"conv": Conv2D(3, 2, 3, rng=0)})) == ("conv", "")
    assert ends(linear()) == ("", "")
