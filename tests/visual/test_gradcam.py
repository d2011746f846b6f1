"""Grad-CAM against cases that can be written down, and its maps stretched over the image."""

import numpy as np
import pytest
from scipy import ndimage

import models
from minidl.errors import DivergedError, UsageError
from minidl.layers import INFER, Conv2D, Flatten, GlobalAvgPool, Linear, MaxPool2D, ReLU, Sequential
from minidl.visual.gradcam import enlarge, grad_cam
from minidl.visual.truncate import truncate
from tests.strategies import randomized

N, H, W = 3, 6, 5
CLASSES = np.array([1, 0, 3])


def network(*head):
    """(convolution + ReLU with the layers of `head` behind it, four images' worth of x), in float64."""
    rng = np.random.default_rng(0)
    layers = {"conv": Conv2D(3, 7, 3, padding=1, dtype=np.float64), "relu": ReLU(), **dict(head)}
    return randomized(Sequential(layers), rng), rng.normal(size=(N, H, W, 3))


def linear(d):
    return "fc", Linear(d, 4, dtype=np.float64)


def test_before_a_global_average_it_is_cam():
    """Class activation mapping (Zhou et al. 2016): the class's weights times the maps; here over HW, rectified."""
    model, x = network(("avgpool", GlobalAvgPool()), linear(7))
    a, _ = truncate(model, "relu").forward(x, INFER)
    w = model.layers["fc"].params["weight"].value[:, CLASSES]  # (7, n)
    cam = np.einsum("nhwc,cn->nhw", a, w) / (H * W)
    maps = grad_cam(model, x, "relu", CLASSES)
    np.testing.assert_allclose(maps, np.maximum(cam, 0), rtol=1e-12, atol=1e-15)
    assert (cam < 0).any() and (cam > 0).any()


def test_before_a_relu_only_pixels_that_pass_it_count():
    model, x = network(("avgpool", GlobalAvgPool()), linear(7))
    z, _ = truncate(model, "conv").forward(x, INFER)
    w = model.layers["fc"].params["weight"].value[:, CLASSES].T  # (n, 7)
    alpha = w * (z > 0).mean(axis=(1, 2)) / (H * W)
    expected = np.maximum(np.einsum("nhwc,nc->nhw", z, alpha), 0)
    np.testing.assert_allclose(grad_cam(model, x, "conv", CLASSES), expected, rtol=1e-12, atol=1e-15)


def test_before_a_flattening_the_weights_are_averaged_over_the_map():
    model, x = network(("flat", Flatten()), linear(H * W * 7))
    a, _ = truncate(model, "relu").forward(x, INFER)
    w = model.layers["fc"].params["weight"].value.reshape(H, W, 7, 4)  # (H W 7, K) -> (H, W, 7, K)
    alpha = w.mean(axis=(0, 1))[:, CLASSES].T  # (n, 7)
    expected = np.maximum((a * alpha[:, None, None]).sum(axis=-1), 0)
    np.testing.assert_allclose(grad_cam(model, x, "relu", CLASSES), expected, rtol=1e-12, atol=1e-15)


def test_a_map_has_the_resolution_of_its_layer_and_is_that_image_alone():
    model = randomized(models.build("refined", 5, dropout=0.4, dtype=np.float64), np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(2, 32, 32, 3))
    for layer, side in (("stem", 30), ("inception2.b5", 8), ("inception4", 4), ("pool1", 14)):
        maps = grad_cam(model, x, layer, [0, 3])
        assert maps.shape == (2, side, side) and maps.dtype == np.float64
        assert (maps >= 0).all() and maps.any()
        np.testing.assert_allclose(grad_cam(model, x[1:], layer, [3])[0], maps[1], rtol=1e-9, atol=1e-12)
    assert not np.allclose(grad_cam(model, x, "inception4", [1, 3])[0], grad_cam(model, x, "inception4", [0, 3])[0])


def test_it_explains_logits_and_leaves_the_model_as_it_was():
    """Another bias changes every probability and no gradient of a logit."""
    model, x = network(("pool", MaxPool2D(2)), ("avgpool", GlobalAvgPool()), linear(7))
    before = grad_cam(model, x, "pool", CLASSES)
    assert not any(p.grad.any() for p in model.named_parameters().values())
    model.layers["fc"].params["bias"].value[...] = [50, -50, 0, 10]
    np.testing.assert_array_equal(grad_cam(model, x, "pool", CLASSES), before)


def test_single_precision_stays_single():
    model = models.build("convnet", 5)
    x = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype(np.float32)
    assert grad_cam(model, x, "relu3", [2]).dtype == np.float32


@pytest.mark.parametrize("layer", ["avgpool", "fc"])
def test_a_layer_without_a_map_names_those_that_have_one(layer):
    model = models.build("refined", 5)
    with pytest.raises(UsageError, match=f"'{layer}' has no map: choose stem, pool1, .*inception4 or") as caught:
        grad_cam(model, np.zeros((1, 32, 32, 3), np.float32), layer, [0])
    assert "\n" not in str(caught.value) and "fc" not in str(caught.value).partition(":")[2]


@pytest.mark.parametrize("classes", [[0, 1], [0, 1, 4], [-1, 0, 0], [0.0, 1.0, 2.0], 1])
def test_a_wrong_class_is_refused(classes):
    model, x = network(("avgpool", GlobalAvgPool()), linear(7))
    with pytest.raises(UsageError, match="0 to 3 for each of the 3 images"):
        grad_cam(model, x, "relu", classes)


def test_an_unknown_layer_is_named():
    model, x = network(("avgpool", GlobalAvgPool()), linear(7))
    with pytest.raises(UsageError, match="no layer 'relu2'"):
        grad_cam(model, x, "relu2", CLASSES)


# ------------------------------------------------------------------ enlarge


def test_a_stretched_map_has_its_pixels_at_the_middle_of_their_shares():
    m = np.array([[[0.0, 4.0]]])
    np.testing.assert_allclose(enlarge(m, 2, 8)[0], 2 * [[0, 0, 0.5, 1.5, 2.5, 3.5, 4, 4]])


SIZES = [(8, 8, 64, 64), (30, 29, 64, 48), (5, 7, 5, 7), (1, 1, 3, 2)]


@pytest.mark.parametrize(("h", "w", "height", "width"), SIZES)
def test_stretching_is_bilinear_with_the_corners_in_place(h, w, height, width):
    maps = np.random.default_rng(0).random((3, h, w))
    factors = 1, height / h, width / w
    expected = ndimage.zoom(maps, factors, order=1, mode="nearest", grid_mode=True)
    large = enlarge(maps, height, width)
    assert large.shape == (3, height, width) and large.dtype == np.float32
    np.testing.assert_allclose(large, expected, atol=1e-6)


def test_scores_that_are_not_finite_have_no_evidence():
    model, x = network(("pool", MaxPool2D(2)), ("avgpool", GlobalAvgPool()), linear(7))
    model.layers["fc"].params["bias"].value[0] = np.inf
    with pytest.raises(DivergedError, match="^the network's scores: not finite numbers"):
        grad_cam(model, x, "pool", CLASSES)
