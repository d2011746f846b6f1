"""Occlusion: the probability of a class while a gray patch hides one part of the image after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike

from minidl.backend.arrays import to_device, to_host
from minidl.engine.prepare import keep
from minidl.errors import ShapeError, UsageError
from minidl.layers.base import INFER, Layer
from minidl.losses import softmax
from minidl.visual.screen import require_finite

PATCH_SHARE, STRIDE_SHARE = 1 / 4, 1 / 16  # of the image's shorter side: 16 and 4 pixels of 64


@dataclass
class Occlusion:
    """One image with the patch at OH x OW places; `rows` (OH,) and `columns` (OW,) are its first pixels there."""

    probability: np.ndarray  # (OH, OW) of the class asked for
    predicted: np.ndarray  # int64 (OH, OW), the likeliest class
    whole_probability: float  # of the class asked for, nothing hidden
    whole_predicted: int
    rows: np.ndarray
    columns: np.ndarray
    patch: int

    def at_pixels(self) -> np.ndarray:
        """The probability at every pixel: the mean over all patches that hide it, float64 (H, W)."""
        down, across = _hides(self.rows, self.patch), _hides(self.columns, self.patch)
        return down.T @ self.probability @ across / np.outer(down.sum(axis=0), across.sum(axis=0))


def occlusion(
    model: Layer,
    x: np.ndarray,
    label: int,
    *,
    fill: ArrayLike,
    patch: int | None = None,
    stride: int | None = None,
    xp: ModuleType = np,
    batch_size: int = 64,
    on_batch: Callable[[int], None] = lambda images: None,
) -> Occlusion:
    """Moves a patch of `fill` (C,), such as gray, over the normalized image x (H, W, C).

    At place (i, j), with P the patch's pixels there:

        probability[i,j] = softmax(model(x with fill on P))[label],    predicted[i,j] = its argmax

    The places are `stride` pixels apart, see `sizes`. The last patch touches the border, so if the stride doesn't
    divide H - patch, the last step is shorter. `on_batch` is called with the number of places after each batch.

    Raises ShapeError unless x is one image, UsageError as `sizes`, and for a label that the model doesn't have,
    DivergedError for scores that are not finite numbers.
    Source: Zeiler & Fergus, Visualizing and understanding convolutional networks, 2013, section 4.2.
    """
    x = np.asarray(x)
    if x.ndim != 3:
        raise ShapeError(f"an image has the shape {x.shape}, and must be (H, W, C)")
    h, w, channels = x.shape
    patch, stride = sizes(h, w, patch, stride)
    if np.shape(fill) != (channels,):
        raise UsageError(f"fill {fill}: give one value for each of the {channels} channels")

    keep(model)

    def probabilities(images: np.ndarray) -> np.ndarray:
        p = to_host(softmax(model.forward(to_device(images, xp), INFER)[0]))
        require_finite("the network's scores", p)
        return p

    whole = probabilities(x[None])[0]
    if whole.ndim != 1:
        raise UsageError(f"the model's output for an image has the shape {whole.shape}: it must be scores (K,)")
    if not hasattr(label, "__index__") or not 0 <= label < len(whole):
        raise UsageError(f"class {label}: choose 0 to {len(whole) - 1}")
    rows, columns = grid(h, w, patch, stride)
    places = [(top, left) for top in rows for left in columns]
    probability, predicted = np.empty(len(places), whole.dtype), np.empty(len(places), np.int64)
    for start in range(0, len(places), batch_size):
        part = slice(start, start + batch_size)
        images = np.repeat(x[None], len(places[part]), axis=0)  # (n, H, W, C)
        for image, (top, left) in zip(images, places[part], strict=True):
            image[top : top + patch, left : left + patch] = fill
        p = probabilities(images)
        probability[part], predicted[part] = p[:, label], p.argmax(axis=1)
        on_batch(len(p))
    shape = len(rows), len(columns)
    return Occlusion(
        probability.reshape(shape),  # (OH OW,) -> (OH, OW)
        predicted.reshape(shape),  # (OH OW,) -> (OH, OW)
        float(whole[label]),
        int(whole.argmax()),
        rows,
        columns,
        patch,
    )


def sizes(h: int, w: int, patch: int | None = None, stride: int | None = None) -> tuple[int, int]:
    """(patch, stride) in pixels for an image of h x w; by default a quarter and a sixteenth of its shorter side.

    Raises UsageError if the patch doesn't fit or if the stride would leave pixels between patches.
    """
    side = min(h, w)
    if patch is None:
        patch = max(1, round(PATCH_SHARE * side))
    if not hasattr(patch, "__index__") or not 1 <= patch <= side:
        raise UsageError(f"a patch of {patch} pixels: choose 1 to {side} for an image of {h}x{w}")
    if stride is None:
        stride = min(patch, max(1, round(STRIDE_SHARE * side)))
    if not hasattr(stride, "__index__") or not 1 <= stride <= patch:
        raise UsageError(f"a stride of {stride} pixels: choose 1 to {patch}, so that patches leave nothing out")
    return patch, stride


def grid(h: int, w: int, patch: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """The first rows (OH,) and the first columns (OW,) of the patch."""
    return _places(h, patch, stride), _places(w, patch, stride)


def _places(size: int, patch: int, stride: int) -> np.ndarray:
    """The first pixel of the patch at each place along an axis."""
    last = size - patch
    return np.append(np.arange(0, last, stride), last)


def _hides(first: np.ndarray, patch: int) -> np.ndarray:
    """[place, pixel] along an axis: 1 if the patch at the place hides the pixel, otherwise 0."""
    pixels = np.arange(first[-1] + patch)
    return ((first[:, None] <= pixels) & (pixels < first[:, None] + patch)).astype(np.float64)
