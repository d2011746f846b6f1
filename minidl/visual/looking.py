"""Looks inside a model from a few lines of Python: activations by name, and what a unit sees, as arrays.

The model may be plain or fused. Its images are those that it takes: floats (N, H, W, C). The drawing commands use the
same functions for a whole data set.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import ArrayLike

from minidl.engine import unfuse
from minidl.errors import ShapeError, UsageError
from minidl.kernels.shapes import require_float
from minidl.layers.base import INFER, Context, Layer, Rule, Shape
from minidl.layers.context import join
from minidl.layers.heads import spine
from minidl.layers.tree import rebuilt
from minidl.visual.projection import RULE_SEEDS, Projector
from minidl.visual.truncate import Keys, layer_table, truncate, walk


def activations(model: Layer, x: np.ndarray, names: str | Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The outputs of the layers `names` for images x (N, H, W, C): {name: array (N, H, W, C) or (N, K)}.

    names    such as "stem" or "inception2.b5", or deeper "inception2.b5.conv"; None: all blocks

    The arrays are the caller's: none shares memory with x or another one.
    Of a layer that its container runs more than once it is the last output. Raises UsageError for an unknown name,
    with the nearest names, and for a layer that only training runs.
    """
    plain, x = _ready(model, x)
    if names is None:
        names = [row.name for row in layer_table(plain, x.shape[1:])]
    single = isinstance(names, str | Layer) or not isinstance(names, Iterable)
    names = [names] if single else list(names)
    for name in names:
        _require_name(name)
        truncate(plain, name)  # raises the error of a name that there isn't
    seen = dict.fromkeys(names)
    stops = all(_once(plain, place.keys) for place in walk(plain) if place.name in seen)
    with suppress(_AllSeen):
        seen[""], _ = _watched(plain, "", seen, stops).forward(x, INFER)
    for name in names:
        if seen[name] is None:
            raise UsageError(f"layer {name!r}: the container around it doesn't run it in INFER mode")
    found: dict[str, np.ndarray] = {}
    for name in names:  # a layer may give its input, or a view of it
        shared = any(np.may_share_memory(seen[name], a) for a in (x, *found.values()))
        found[name] = seen[name].copy() if shared else seen[name]
    return found


def gradient(
    model: Layer, x: np.ndarray, layer: str, unit: int | ArrayLike, *, norm: str = "l2", seed: str | None = None
) -> np.ndarray:
    """How the activation of a unit changes with each pixel, (N, H, W, C), for images x (N, H, W, C).

    layer    a name such as "inception2.b5"; "fc" or "" for the scores of the classes
    unit     a channel of the layer's map, or one of its features; or one for each image
    seed     the signal at the unit, whose map is a: "map" is a itself (the result is then the gradient of the sum of
             a^2 / 2), "ones" gives the gradient of the sum of a, "norm" that of the norm `norm` of a ("l2" or "inf"),
             and "max" is only the largest value. Default "map", as in the paper; "ones" if a is a single number

    Source: Simonyan et al., Deep inside convolutional networks, 2014, section 3.
    Raises UsageError for an unknown layer, unit, norm or seed.
    """
    return _project(model, x, layer, unit, Rule("gradient"), norm, seed)


def guided(
    model: Layer, x: np.ndarray, layer: str, unit: int | ArrayLike, *, norm: str = "l2", seed: str | None = None
) -> np.ndarray:
    """Guided backpropagation: like `gradient`, but a ReLU passes back only positive signals, and only where its input
    is positive.

    Source: Springenberg et al., Striving for simplicity, 2015, section 3.4.
    """
    return _project(model, x, layer, unit, Rule("guided"), norm, seed)


def deconv(
    model: Layer,
    x: np.ndarray,
    layer: str,
    unit: int | ArrayLike,
    *,
    norm: str = "l2",
    seed: str | None = None,
    bn: str = "skip",
    unpool: str = "sum",
) -> np.ndarray:
    """The deconvnet: like `gradient`, but a ReLU passes back all positive signals, whatever its input.

    seed     as in `gradient`; default "norm", as in the paper
    bn       "skip" batch normalization on the way back, or "scale" by it as the gradient does
    unpool   what a maximum that several windows share receives: the "sum" of their signals, the "last", or the "max"

    Source: Zeiler & Fergus, Visualizing and understanding convolutional networks, 2013, section 2.1.
    """
    return _project(model, x, layer, unit, Rule("deconv", bn, unpool), norm, seed)


def _project(
    model: Layer, x: np.ndarray, layer: str, unit: int | ArrayLike, rule: Rule, norm: str, seed: str | None
) -> np.ndarray:
    plain, x = _ready(model, x)
    _require_name(layer)
    shape = truncate(plain, layer).out_shape(x.shape)
    units = np.asarray(unit)
    if units.dtype.kind not in "iu" or units.shape not in ((), (len(x),)):
        raise UsageError(f"unit {unit!r}: give a whole number from 0 to {shape[-1] - 1}, or one for each image")
    if seed is None:
        seed = RULE_SEEDS[rule.name] if len(shape) == 4 else "ones"
    projector = Projector(plain, layer, rule, norm=norm, seed_map=seed)
    return projector(x, np.arange(len(x)), np.broadcast_to(units, len(x)))


def _require_name(layer: str) -> None:
    if not isinstance(layer, str):
        raise UsageError(f'{layer!r:.60} is no name of a layer, which follows the images, as in (model, x, "layer")')


class _AllSeen(Exception):
    """Ends the forward pass: no layer after the last one that is asked for is run."""


class _Watched(Layer):
    """In the place of a layer, it notes what the layer gives, and `stops` the pass if nothing is left to note."""

    def __init__(self, inner: Layer, name: str, seen: dict[str, np.ndarray | None], stops: bool) -> None:
        self.inner, self.name, self.seen, self.stops = inner, name, seen, stops

    def children(self) -> dict[str, Layer]:
        return {}

    def out_shape(self, in_shape: Shape) -> Shape:
        return self.inner.out_shape(in_shape)

    def forward(self, x: np.ndarray, ctx: Context) -> tuple[np.ndarray, None]:
        self.seen[self.name], _ = ctx.run("", self.inner, x)
        if self.stops and not any(y is None for y in self.seen.values()):
            raise _AllSeen
        return self.seen[self.name], None


def _once(layer: Layer, keys: Keys) -> bool:
    """Whether all containers around the layer at `keys` are known to run it once."""
    for key in keys:
        if layer.wiring is None and not spine(layer):
            return False
        layer = layer.children()[key]
    return True


def _watched(layer: Layer, path: str, seen: dict[str, np.ndarray | None], stops: bool) -> Layer:
    """`layer` at `path` with those in it watched whose names are in `seen`."""
    new = {}
    for key, child in layer.children().items():
        new[key] = _watched(child, join(path, layer.level(key)), seen, stops)
        if key not in layer.unnamed and join(path, key) in seen:
            new[key] = _Watched(new[key], join(path, key), seen, stops)
    return layer if list(new.values()) == list(layer.children().values()) else rebuilt(layer, new)


def _ready(model: Layer, x: np.ndarray) -> tuple[Layer, np.ndarray]:
    """The plain layers of `model`, and its images as floats of its dtype."""
    if not isinstance(model, Layer):
        swapped = ", the other way round" if isinstance(x, Layer) else ""
        raise UsageError(
            f"got ({type(model).__name__}, {type(x).__name__}){swapped}: the model comes first, then the images x, "
            'as in (model, x, "layer")'
        )
    if isinstance(x, str):
        raise UsageError(f"got {x!r} for the images: they come before the name, as in (model, x, {x!r})")
    plain, x = unfuse(model), np.asarray(x)
    if x.ndim != 4:
        hint = ": one image is x[None]" if x.ndim == 3 else ""
        raise ShapeError(f"images have the shape {x.shape}, and must be (N, H, W, C){hint}")
    require_float("the model", x)
    if not all(isinstance(p.value, np.ndarray) for p in plain.named_parameters().values()):
        raise UsageError("looking inside needs a model of NumPy arrays: convert(model, xp=numpy) gives one")
    types = {p.dtype for p in plain.named_parameters().values()}
    return plain, x.astype(types.pop(), copy=False) if len(types) == 1 else x
