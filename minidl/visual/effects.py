"""What a score loses without a unit: to first order for all units at once, and in truth for a few of them.

To set a unit to zero means to replace its map a by zeros. A score s then changes by

    s(0) - s(a)  ~  - sum over the map of  a ds/da

One forward pass and one way back give this for every unit of every layer.

Sources: Molchanov et al., Pruning convolutional neural networks for resource efficient inference, 2017, section 2.2
(first order); Zhou et al., Revisiting the importance of individual units in CNNs via ablation, 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any

import numpy as np

from minidl.backend.arrays import Array, array_module, to_device, to_host
from minidl.engine import prepare
from minidl.engine.tile_layer import TileLayer
from minidl.errors import UsageError
from minidl.layers import Sequential
from minidl.layers.base import INFER, PROBE, Context, Layer, Rule, Shape
from minidl.layers.tree import rebuilt
from minidl.visual.truncate import Keys, truncate, walk

RUNS = 50  # images that are run without a unit at a time
BATCH = 16  # images at a time in plain layers, which keep all maps of the forward pass


def first_order(
    model: Layer, layers: Sequence[str], x: np.ndarray, signals: Sequence[np.ndarray], *, xp: ModuleType = np
) -> dict[str, np.ndarray]:
    """How scores change without each unit of the `layers`, to first order: {layer: (S, n, units)}, on the host.

        change[j,i,u] = - sum over the map of unit u on image i of  a da,    da = d (signals[j][i] . logits[i]) / da

    model      plain layers with arrays of module `xp`
    x          (n, H, W, C) images
    signals    S arrays (n, K), each of them a score as the factors of the logits: a row with 1 at a class and 0
               elsewhere is the logit of the class. All go back over the same forward pass.

    It is exact if the rest of the network is linear. Raises UsageError for an unknown layer.
    """
    notes = _Notes(model, layers)
    _, cache = notes.model.forward(to_device(x, xp), PROBE)
    ways = [notes.back(to_device(np.asarray(s, x.dtype), xp), cache) for s in signals]
    return {name: np.stack([way[name] for way in ways]) for name in layers}


def ablated(
    model: Layer,
    layer: str,
    units: Sequence[int],
    x: np.ndarray,
    *,
    engine: str = "fused",
    threads: int = 0,
    xp: ModuleType = np,
) -> np.ndarray:
    """How the logits of images x (n, H, W, C) change if the map of a unit of `layer` is set to zero, for each of the
    `units` alone: (U, n, K), on the host.

    `model` has plain layers with arrays of module `xp`; NumPy's may run on the "fused" `engine`. The part of the
    network before the layer is run once for all units. Raises UsageError for an unknown layer or unit.
    """
    keys = _places(model, [layer])[layer]
    channels = truncate(model, layer).out_shape(x.shape)[-1]
    if wrong := [u for u in units if not 0 <= u < channels]:
        raise UsageError(f"unit {wrong[0]}: {layer} has units 0 to {channels - 1}")
    mask = xp.ones(channels, x.dtype)
    before, rest = _split(model, keys)
    rest = _with(rest, {keys: lambda inner: Sequential({"inner": inner, "mask": _Mask(mask)})})
    if engine == "fused" and xp is np:
        before, rest = prepare(before, threads), prepare(rest, threads)
    batches = []
    for start in range(0, len(x), RUNS):
        a, _ = before.forward(to_device(x[start : start + RUNS], xp), INFER)
        whole, changes = rest.forward(a, INFER)[0], []
        for unit in units:
            mask[unit] = 0
            changes.append(to_host(rest.forward(a, INFER)[0] - whole))
            mask[unit] = 1
        batches.append(np.stack(changes))
    return np.concatenate(batches, axis=1)


def estimated_and_real(
    model: Layer,
    units: Mapping[str, Sequence[int]],
    x: np.ndarray,
    scores: np.ndarray,
    *,
    engine: str = "fused",
    threads: int = 0,
    xp: ModuleType = np,
    on_layer: Callable[[], object] = lambda: None,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """How a score of each image changes without each of the `units`, {layer: units}: {layer: the estimate of
    `first_order` and the real change of `ablated`, each (units, n)}.

    scores (n, K) are factors of the logits, like one of the signals of `first_order`; the rest is as in `ablated`.
    `on_layer` is called after each layer.
    """
    parts = [slice(start, start + BATCH) for start in range(0, len(x), BATCH)]
    estimates = [first_order(model, list(units), x[part], [scores[part]], xp=xp) for part in parts]
    found = {}
    for layer, some in units.items():
        estimated = np.concatenate([estimate[layer][0][:, some] for estimate in estimates])  # (n, units)
        changes = ablated(model, layer, some, x, engine=engine, threads=threads, xp=xp)
        found[layer] = estimated.T, (changes * scores).sum(axis=2)  # (units, n, K) -> (units, n)
        on_layer()
    return found


# ------------------------------------------------------------------------------- layers in other layers' places


class _Notes:
    """`model` with its `layers` watched on the way back."""

    def __init__(self, model: Layer, layers: Sequence[str]) -> None:
        self.changes: dict[str, Array] = {}
        self.runs: dict[str, int] = dict.fromkeys(layers, 0)  # of the layer on the way up: a container may repeat it
        self.left: dict[str, int] = {}  # runs that the way back hasn't reached
        places = _places(model, layers)
        self.model = _with(
            model, {keys: lambda layer, n=name: _Noted(layer, n, self) for name, keys in places.items()}
        )

    def back(self, s: Array, cache: Any) -> dict[str, np.ndarray]:
        """-(a da) summed over the map, (n, units) for each layer; s is the signal at the model's output."""
        self.changes, self.left = {}, dict(self.runs)
        with suppress(_AllNoted):
            self.model.project(s, cache, Rule("gradient"))
        for name in self.runs:
            if name not in self.changes:
                raise UsageError(f"{name}: the container around it never goes back through it")
        return {name: to_host(change) for name, change in self.changes.items()}


class _AllNoted(Exception):
    """Ends the way back: no layer below the last one that is asked for gets a signal."""


class _Noted(Layer):
    """In the place of a layer, it notes what goes back through it."""

    def __init__(self, inner: Layer, name: str, notes: _Notes) -> None:
        self.inner, self.name, self.notes = inner, name, notes

    def out_shape(self, in_shape: Shape) -> Shape:
        return self.inner.out_shape(in_shape)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Any]:
        y, cache = ctx.run("", self.inner, x)
        self.notes.runs[self.name] += 1
        return y, (y, cache)

    def input_grad(self, dy: Array, cache: Any) -> Array:
        return self.project(dy, cache, Rule())

    def project(self, s: Array, cache: Any, rule: Rule) -> Array:
        y, inner = cache
        n, units = len(y), y.shape[-1]
        a, da = y.reshape(n, -1, units), s.reshape(n, -1, units)  # (N, H, W, C) -> (N, H W, C)
        notes, name = self.notes, self.name
        notes.changes[name] = notes.changes.get(name, 0) - array_module(a).einsum("npc,npc->nc", a, da)
        notes.left[name] -= 1
        if not any(notes.left.values()):
            raise _AllNoted
        return self.inner.project(s, inner, rule)


class _Mask(TileLayer):
    """y = x m, with m (C,) of ones and zeros."""

    def __init__(self, mask: Array) -> None:
        self.buffers["mask"] = mask

    def forward(self, x: Array, ctx: Context) -> tuple[Array, None]:
        return x * self.buffers["mask"], None

    def infer_tile(self, x: Array, folded: None, scratch: Any) -> Array:
        """y of some images: the threads of the fused engine take the images of a batch a few at a time."""
        return x * self.buffers["mask"]


def _places(model: Layer, layers: Sequence[str]) -> dict[str, Keys]:
    """Where the layers stand. Raises UsageError if there is no such layer."""
    for name in layers:
        if name == "":
            raise UsageError("'' is the whole model, which is in no place: name its last layer")
        truncate(model, name)  # raises the error of a name that there isn't
    found = {place.name: place.keys for place in walk(model)}
    return {name: found[name] for name in layers}


def _with(layer: Layer, changes: Mapping[Keys, Callable[[Layer], Layer]], keys: Keys = ()) -> Layer:
    """The tree `layer`, which stands at `keys`, with changes at some places in it."""
    children = layer.children()
    new = {key: _with(child, changes, (*keys, key)) for key, child in children.items()}
    if any(new[key] is not child for key, child in children.items()):
        layer = rebuilt(layer, new)
    return changes[keys](layer) if keys in changes else layer


def _split(model: Layer, keys: Keys) -> tuple[Layer, Layer]:
    """The layers of a chain before the one that contains the place `keys`, and the others."""
    if model.wiring != "chain":
        return Sequential({}), model
    layers = list(model.children().items())
    first = [key for key, _ in layers].index(keys[0])
    return Sequential(dict(layers[:first])), Sequential(dict(layers[first:]))
