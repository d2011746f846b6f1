"""The atlas of a model of your own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from minidl.data.loader import Loader
from minidl.layers import Layer


def make_atlas(
    model: Layer,
    loader: Loader,
    folder: str | Path,
    *,
    classes: Sequence[str] | None = None,
    title: str = "a network",
    layers: Sequence[str] = (),
    units: int = 0,
    projections: bool = True,
    norm: str = "l2",
    untrained: Callable[[int], Layer] | None = None,
) -> Path:
    """Writes pages about every unit, class and image into `folder`, and returns the one to open in a browser.

    model    plain or fused, NumPy arrays; its output is a score for each class
    loader    images, with labels or without, and their mean and std; neither its order nor its batch size matters
    classes    names of the outputs
    layers    names such as "stem"; default: all that have units of their own
    units    draw only so many of each layer, the most selective ones; 0: all
    projections    without them there are images and numbers only
    norm    by which images are ranked: "l2" or "inf" of a unit's map
    untrained    untrained(seed) gives the same network with new random weights; default: each layer draws its own

    Raises UsageError if `folder` exists and is not an atlas, or for a name that doesn't exist.
    """
    from minidl.atlas.build import Settings, make_atlas  # which loads scikit-learn
    from minidl.atlas.viewed import of_model

    viewed = of_model(model, loader, classes, title, untrained)
    names = (layers,) if isinstance(layers, str) else tuple(layers)
    return make_atlas(viewed, Path(folder), Settings(names, units, projections, norm))
