"""A gray patch over a part of the image: what becomes of the class's probability, place by place."""

import numpy as np
import pytest

import models
from minidl.engine import fuse
from minidl.errors import DivergedError, ShapeError, UsageError
from minidl.layers import INFER, GlobalAvgPool, Linear, Sequential
from minidl.losses import softmax
from minidl.visual.occlusion import Occlusion, occlusion, sizes
from tests.strategies import randomized

GRAY = [0.0, 0.5, -0.5]


def mean_model(weight):
    """softmax(weight' m) of an image with channel means m; weight (3, K)."""
    fc = Linear(3, weight.shape[1], bias=False, dtype=np.float64)
    fc.params["weight"].value[...] = weight
    return Sequential({"avgpool": GlobalAvgPool(), "fc": fc})


def example():
    """A model of three classes, an image 11x9, and the settings of a patch whose stride divides neither side."""
    rng = np.random.default_rng(0)
    return mean_model(10 * rng.normal(size=(3, 3))), rng.normal(size=(11, 9, 3)), {"patch": 4, "stride": 3}


def by_hand(model, x, rows, columns, patch, fill):
    """(OH, OW, K): each place on its own, the patch drawn pixel by pixel."""
    p = []
    for top in rows:
        for left in columns:
            hidden = x.copy()
            for h in range(top, top + patch):
                for w in range(left, left + patch):
                    hidden[h, w] = fill
            p.append(softmax(model.forward(hidden[None], INFER)[0])[0])
    return np.reshape(p, (len(rows), len(columns), -1))  # (OH OW, K) -> (OH, OW, K)


def test_the_probability_falls_where_and_as_much_as_it_must():
    """One bright pixel decides between two classes with logits (mean, 0): only a patch that hides it matters."""
    weight = np.zeros((3, 2))
    weight[0, 0] = 1
    x = np.zeros((8, 8, 3))
    x[5, 2, 0] = 64  # the mean is 1
    result = occlusion(mean_model(weight), x, 0, patch=2, stride=2, fill=[-64 / 2, 0, 0])
    expected = np.full((4, 4), 1 / (1 + np.exp(-(1 - 4 / 2))))  # four pixels at -32 take 2 from the mean
    expected[2, 1] = 1 / (1 + np.exp(2))  # rows 4-5, columns 2-3: and the bright pixel is gone
    np.testing.assert_allclose(result.probability, expected, rtol=1e-12)
    assert result.whole_probability == pytest.approx(1 / (1 + np.exp(-1)))
    assert result.whole_predicted == 0
    assert (result.predicted == 1).all()  # the mean is below 0 everywhere


@pytest.mark.parametrize("label", [0, 1, 2])
def test_every_place_is_as_by_hand(label):
    model, x, settings = example()
    result = occlusion(model, x, label, fill=GRAY, **settings)
    p = by_hand(model, x, result.rows, result.columns, settings["patch"], GRAY)
    np.testing.assert_allclose(result.probability, p[..., label], rtol=1e-12)
    np.testing.assert_array_equal(result.predicted, p.argmax(axis=-1))
    assert result.predicted.dtype == np.int64 and len(np.unique(result.predicted)) > 1
    whole = softmax(model.forward(x[None], INFER)[0])[0]
    assert (result.whole_probability, result.whole_predicted) == (whole[label], whole.argmax())


@pytest.mark.parametrize(
    ("h", "w", "patch", "stride", "rows", "columns"),
    [
        (12, 8, 4, 4, [0, 4, 8], [0, 4]),
        (11, 9, 4, 3, [0, 3, 6, 7], [0, 3, 5]),  # the last step is shorter
        (10, 5, 5, 2, [0, 2, 4, 5], [0]),
        (3, 4, 1, 1, [0, 1, 2], [0, 1, 2, 3]),
    ],
)
def test_patches_stand_a_stride_apart_and_the_last_one_touches_the_border(h, w, patch, stride, rows, columns):
    model, _, _ = example()
    result = occlusion(model, np.zeros((h, w, 3)), 0, fill=GRAY, patch=patch, stride=stride)
    assert (result.rows.tolist(), result.columns.tolist(), result.patch) == (rows, columns, patch)
    assert result.probability.shape == result.predicted.shape == (len(rows), len(columns))


@pytest.mark.parametrize(
    ("side", "patch", "stride"), [(64, 16, 4), (28, 7, 2), (224, 56, 14), (32, 8, 2), (8, 2, 1), (2, 1, 1), (1, 1, 1)]
)
def test_the_patch_is_a_quarter_of_the_image_and_the_stride_a_sixteenth(side, patch, stride):
    assert sizes(side, 2 * side) == (patch, stride)
    result = occlusion(example()[0], np.zeros((side, side, 3)), 0, fill=GRAY)
    assert result.patch == patch


def test_the_default_stride_fits_the_patch():
    assert sizes(64, 64, patch=3) == (3, 3)
    assert sizes(64, 64, patch=32) == (32, 4)
    assert sizes(64, 64, stride=16) == (16, 16)


def test_batches_change_nothing_and_are_counted():
    model, x, settings = example()
    before = x.copy()
    whole = occlusion(model, x, 1, fill=GRAY, **settings)
    for size in (1, 5):
        heard = []
        parts = occlusion(model, x, 1, fill=GRAY, batch_size=size, on_batch=heard.append, **settings)
        np.testing.assert_allclose(parts.probability, whole.probability, rtol=1e-12)
        assert sum(heard) == whole.probability.size and max(heard) == size
    np.testing.assert_array_equal(x, before)


def test_both_engines_agree_in_single_precision():
    model = randomized(models.build("convnet", 5), np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(16, 16, 3)).astype(np.float32)
    plain, fused = (occlusion(m, x, 2, fill=GRAY) for m in (model, fuse(model, threads=1)))
    np.testing.assert_allclose(fused.probability, plain.probability, rtol=1e-3, atol=1e-5)
    assert plain.probability.dtype == np.float32


def test_a_pixel_has_the_mean_of_the_patches_that_hide_it():
    model, x, settings = example()
    result = occlusion(model, x, 1, fill=GRAY, **settings)
    pixels = result.at_pixels()
    assert pixels.shape == x.shape[:2]
    for h, w in np.ndindex(pixels.shape):
        down = [i for i, top in enumerate(result.rows) if top <= h < top + 4]
        across = [j for j, left in enumerate(result.columns) if left <= w < left + 4]
        assert down and across  # every pixel is hidden by some patch
        assert pixels[h, w] == pytest.approx(result.probability[np.ix_(down, across)].mean(), rel=1e-12)


def test_patches_side_by_side_are_painted_as_they_are():
    p = np.array([[0.1, 0.2], [0.3, 0.4]])
    result = Occlusion(p, np.zeros((2, 2), int), 0.5, 0, np.array([0, 3]), np.array([0, 3]), 3)
    np.testing.assert_allclose(result.at_pixels(), p.repeat(3, axis=0).repeat(3, axis=1))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"patch": 10}, "1 to 9"),
        ({"patch": 0}, "a patch of 0"),
        ({"stride": 5}, "choose 1 to 4"),
        ({"stride": 0}, "a stride of 0"),
        ({"label": 3}, "choose 0 to 2"),
        ({"label": -1}, "class -1"),
        ({"label": 1.0}, "class 1.0"),
        ({"patch": 3.0}, "a patch of 3.0"),
        ({"stride": 1.5}, "a stride of 1.5"),
        ({"fill": [0.0]}, "3 channels"),
        ({"fill": 0.5}, "3 channels"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(changes, named):
    model, x, settings = example()
    asked = {"label": 0, "fill": GRAY, **settings, **changes}
    with pytest.raises(UsageError, match=named) as caught:
        occlusion(model, x, asked.pop("label"), **asked)
    assert "\n" not in str(caught.value)


def test_a_batch_of_images_and_maps_in_place_of_scores_are_refused():
    model, x, _ = example()
    with pytest.raises(ShapeError, match=r"\(1, 11, 9, 3\), and must be \(H, W, C\)"):
        occlusion(model, x[None], 0, fill=GRAY)
    with pytest.raises(UsageError, match=r"it must be scores \(K,\)"):
        occlusion(Sequential({}), x, 0, fill=GRAY)


def test_scores_that_are_not_finite_have_no_probabilities():
    model, x, sizes = example()
    with pytest.raises(DivergedError, match="^the network's scores: not finite numbers"), np.errstate(all="ignore"):
        occlusion(model, x * 1e308, 0, fill=GRAY, **sizes)
