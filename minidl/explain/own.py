"""The page of a model of your own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from minidl.engine import unfuse
from minidl.errors import DataError, UsageError
from minidl.layers import Layer
from minidl.visual.looking import activations


def explain_unit(
    model: Layer,
    images: np.ndarray,
    path: str | Path = "explain.html",
    *,
    layer: str | None = None,
    unit: int | None = None,
    start: str = "loss",
    labels: ArrayLike | None = None,
    classes: Sequence[str] | None = None,
    title: str = "a network",
) -> Path:
    """Writes a page on which a gradient flows through a unit, and returns its path. A browser opens it offline.

    model    plain or fused, NumPy arrays
    images    (N, H, W, C) as the model takes them: the page is about the first, and batch normalization takes its
              statistics from all of them
    layer    such as "inception2.b3"; default: one in the middle
    unit    a channel of its map; default: the one that responds most
    start    where the way back begins: "loss", the cross-entropy of the first image, or "unit", its own maximum
    labels    (N,) classes of the images; default: what the model takes them for
    classes    names of the classes

    Raises UsageError for a name or number that there isn't, DataError if an image has NaN or infinity or the file
    can't be written.
    """
    from minidl.explain.build import Looked, make_page
    from minidl.explain.facts import shown
    from minidl.explain.write import write_page

    ready = np.asarray(images)
    # This says what is wrong with the model or with the images.
    activations(model, ready[:1] if ready.ndim == 4 else ready, [])
    if not np.isfinite(ready).all():
        raise DataError("an image has a number that isn't finite (NaN or infinite)")
    known = np.full(len(ready), -1) if labels is None else np.asarray(labels)
    if known.shape != (len(ready),) or known.dtype.kind not in "iu":
        raise UsageError(f"labels of shape {known.shape} and type {known.dtype}: give {len(ready)} whole numbers")
    outputs = unfuse(model).out_shape(ready[:1].shape)[-1]
    if ((known < -1) | (known >= outputs)).any():
        raise UsageError(
            f"labels from {known.min()} to {known.max()}: the model has {outputs} classes; -1 is unknown"
        )
    words = [] if classes is None else [str(c) for c in classes]
    if classes is not None and len(words) != outputs:
        raise UsageError(f"{len(words)} names of classes: the model has {outputs}")
    looked = Looked(ready, shown(ready[0]), known, words, "the first image")
    return write_page(make_page(model, looked, layer, unit, start, title), Path(path))
