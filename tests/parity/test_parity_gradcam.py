"""Grad-CAM on the refined net against Captum's, in float64."""

import numpy as np
import pytest

from tests.conftest import later

torch = pytest.importorskip("torch", reason=later("parity"))
captum = pytest.importorskip("captum.attr", reason=later("parity"))

import models  # noqa: E402
from benchmarks import torch_refined  # noqa: E402
from minidl.visual.gradcam import enlarge, grad_cam  # noqa: E402
from tests.parity.torch_models import error, to_numpy, to_torch, twin  # noqa: E402
from tests.strategies import randomized  # noqa: E402

pytestmark = pytest.mark.parity
LAYERS = [
    "stem",
    "pool1",
    "inception1",
    "inception2.b3",
    "inception2.b5_reduce.bn",
    "inception3.avgpool",
    "inception4",
]


@pytest.mark.parametrize("layer", LAYERS)
def test_the_maps_are_captums(layer):
    rng = np.random.default_rng(0)
    ours = randomized(models.build("refined", 20, dropout=0.4, dtype=np.float64), rng)
    theirs = twin(ours, torch_refined.refined(20)).eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False  # else it overwrites the map that Captum's hook holds
    x, classes = rng.normal(size=(3, 40, 40, 3)), [0, 7, 19]
    cam = captum.LayerGradCam(theirs, theirs.get_submodule(layer))
    expected = cam.attribute(to_torch(x), torch.tensor(classes), relu_attributions=True)  # (n, 1, h, w)
    maps = grad_cam(ours, x, layer, classes)
    assert error(maps, to_numpy(expected)[..., 0]) <= 1e-10 * maps.max() and maps.max() > 0


@pytest.mark.parametrize(("h", "w"), [(8, 8), (30, 30), (16, 5)])
def test_stretched_maps_are_torchs(h, w):
    maps = np.random.default_rng(0).random((2, h, w), dtype=np.float32)
    expected = torch.nn.functional.interpolate(torch.from_numpy(maps)[None], (64, 48), mode="bilinear")
    np.testing.assert_allclose(enlarge(maps, 64, 48), expected[0].numpy(), atol=1e-6)
