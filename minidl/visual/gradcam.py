"""Grad-CAM: where in a layer's map the network finds evidence for a class."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from minidl.backend.arrays import Array, array_module, to_device, to_host
from minidl.errors import UsageError
from minidl.layers.base import INFER, PROBE, Layer
from minidl.visual.screen import require_finite
from minidl.visual.truncate import gradient_at, layer_table, truncate


def grad_cam(model: Layer, x: Array, layer: str, classes: ArrayLike) -> np.ndarray:
    """The evidence for `classes` (n,) in images x (n, H, W, C), at the resolution of the layer's map A: (n, h, w).

        alpha_c  = (1/hw) sum over the map's pixels of  d logit / d A_c      (logit: of the image's class)
        map      = max(sum_c alpha_c A_c, 0)

    `model` is plain and ends in logits. Raises UsageError for an unknown layer or class, and for a layer without a
    map, such as the global average; DivergedError for scores that are not finite numbers.
    Source: Selvaraju et al., Grad-CAM, 2017, section 3.
    """
    part = truncate(model, layer)
    if len(part.out_shape(x.shape)) != 4:
        maps = [
            info.name for info in layer_table(model, x.shape[1:]) if len(info.shape) == 3 and "." not in info.name
        ]
        raise UsageError(f"layer {layer!r} has no map: choose {', '.join(maps)} or a layer in one of them")
    a, _ = part.forward(x, INFER)
    logits, cache = model.forward(x, PROBE)
    require_finite("the network's scores", to_host(logits))
    da = gradient_at(model, _one_hot(classes, logits), cache, layer)
    alpha = da.mean(axis=(1, 2), keepdims=True)  # (n, 1, 1, C)
    return to_host((alpha * a).sum(axis=-1).clip(0))


def enlarge(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Maps (n, h, w) resized to images of `height` x `width`, bilinearly: float32 (n, height, width).

    Pixels are squares. The corners of map and image coincide, and pixel i of a map lies over the middle of its share
    of the image. For the paper's 16x16 and 8x8 maps that is the centre of what the pixel sees. For the larger maps,
    after an unpadded stem, it is off by up to two pixels at the border.
    """
    stretched = [Image.fromarray(m.astype(np.float32)).resize((width, height), Image.BILINEAR) for m in maps]
    return np.stack([np.asarray(image) for image in stretched])


def _one_hot(classes: ArrayLike, logits: Array) -> Array:
    """The gradient of each image's own logit, (n, K)."""
    classes, (n, k) = np.asarray(classes), logits.shape
    if classes.shape != (n,) or classes.dtype.kind not in "iu" or not ((classes >= 0) & (classes < k)).all():
        raise UsageError(f"classes {classes.tolist()}: give one of 0 to {k - 1} for each of the {n} images")
    xp = array_module(logits)
    return (to_device(classes, xp)[:, None] == xp.arange(k)).astype(logits.dtype)
