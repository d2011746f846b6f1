"""From a unit back to the pixels: gradient, guided backpropagation and deconvnet for many (unit, image) pairs.

A unit is a channel of a layer's output. On an image its activation is a map a (H, W), or a single number. The way
back begins at that channel with a signal s of the shape of a, and with zero at all other channels (`seed`). It goes
down through the layers' `project` with a `Rule`. Only the part of the network between the pixels and the layer is
run.

Sources: Simonyan et al. 2014, section 3 (gradient); Springenberg et al. 2015, section 3.4 (guided); Zeiler & Fergus
2013, section 2.1 (deconvnet); Boigné & Heyse 2017, section 3.2 (which images, which norm).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import ModuleType

import numpy as np

from minidl.backend.arrays import Array, array_module, to_device, to_host
from minidl.engine import prepare
from minidl.engine.chain import FusedSequential
from minidl.engine.projection import project_pairs_by
from minidl.errors import UsageError
from minidl.layers.base import INFER, PROBE, Layer, Rule, as_rule
from minidl.layers.convert import convert
from minidl.layers.norm import BatchNorm2D
from minidl.visual.taps import NORMS, MapNorms
from minidl.visual.truncate import truncate

SEEDS = ("norm", "map", "max", "ones")
# The defaults of the commands. The paper's gradients are those "of the activation map". From the derivative of the
# norm, a gradient by `inf` is what one place of the map sees, and shows no object.
RULE_SEEDS = {"gradient": "map", "guided": "map", "deconv": "norm"}
PLAIN_PAIRS = 8  # pairs at once in plain layers, which keep all maps of the forward pass
UNITS_AT_ONCE = 128  # of `project_units`


def seed(a: Array, units: Array, norm: str, kind: str) -> Array:
    """The signal at a layer's output for unit units[n] of image n; same shape as a, (N, H, W, C) or (N, C).

    With m the map of the unit and k the first argmax of |m|:
        norm   d ||m|| / dm:   inf: sign(m[k]) at k, otherwise 0;   l2: m / ||m||_2;   zero if m is zero
        map    m itself
        max    m[k] at k, otherwise 0
        ones   1 everywhere
    """
    xp, n = array_module(a), len(a)
    rows = xp.arange(n)
    m = xp.moveaxis(a, -1, 1)[rows, units].reshape(n, -1)  # (N, H, W, C) -> (N, C, H, W) -> (N, H, W) -> (N, P)
    if kind == "ones":
        s = xp.ones_like(m)
    elif kind == "map":
        s = m
    elif kind == "norm" and norm == "l2":
        size = xp.sqrt((m * m).sum(axis=1, keepdims=True))
        s = m / xp.where(size > 0, size, 1)
    else:
        k = xp.abs(m).argmax(axis=1)
        s = xp.zeros_like(m)
        s[rows, k] = m[rows, k] if kind == "max" else xp.sign(m[rows, k])
    signal = xp.zeros_like(a)
    # Advanced indices come first in the result, and the axes between them after them: (N, H, W).
    signal[rows, ..., units] = s.reshape(n, *a.shape[1:-1])  # (N, P) -> (N, H, W)
    return signal


class Projector:
    """Projections from the units of one layer of `model` (plain layers) to the pixels.

    rule    see `layers.Rule`, or its name; for norm and seed_map see `seed`. Or {rule: its seed map} for several
            rules, such as RULE_SEEDS: they share the forward pass, and the results have one more axis, the first
    engine  "fused" takes pairs through the network tile by tile (`engine/projection.py`), "plain" takes a batch
            through one layer after the other; with unpool "last" or "max" the stem is plain in either case

    Raises UsageError for an unknown layer, norm or seed map.
    """

    def __init__(
        self,
        model: Layer,
        layer: str,
        rule: Rule | str | Mapping[Rule | str, str],
        *,
        norm: str = "l2",
        seed_map: str = "norm",
        engine: str = "fused",
        threads: int = 0,
        xp: ModuleType = np,
    ) -> None:
        self.several = isinstance(rule, Mapping)
        self.ways = [(as_rule(r), kind) for r, kind in (rule if self.several else {rule: seed_map}).items()]
        for name, value, choices in (("norm", norm, NORMS), *(("seed map", kind, SEEDS) for _, kind in self.ways)):
            if value not in choices:
                raise UsageError(f"{name} {value!r}: choose {', '.join(choices)}")
        self.norm, self.xp = norm, xp
        self.plain = truncate(model if xp is np else convert(model, xp=xp), layer)
        self.fused = prepare(self.plain, threads) if engine == "fused" and xp is np else None

    def __call__(self, x: np.ndarray, image: np.ndarray, units: np.ndarray) -> np.ndarray:
        """The signal of every pair at the pixels on the host, (P, H, W, C), or (rules, P, H, W, C) by several rules.

        x (N, H, W, C) images; image, units int (P,): the position in x and the channel of each pair.
        Raises UsageError if the layer has no such unit.
        """
        image, units = np.asarray(image), np.asarray(units)
        signals = self._signals(x, image, units)
        return signals if self.several else signals[0]

    def _signals(self, x: np.ndarray, image: np.ndarray, units: np.ndarray) -> np.ndarray:
        """(rules, P, H, W, C)."""
        if not len(image):  # x may be empty as well, which no layer takes
            return np.empty((len(self.ways), 0, *x.shape[1:]), x.dtype)
        channels = self.plain.out_shape(x.shape)[-1]
        if wrong := [u for u in units.tolist() if not 0 <= u < channels]:
            raise UsageError(f"unit {wrong[0]}: the layer has units 0 to {channels - 1}")
        if not isinstance(self.fused, FusedSequential):
            return self._plain(x, image, units)
        order = np.argsort(image, kind="stable")
        sorted_units = units[order]

        def seed_of(kind: str) -> Callable[[Array, slice], Array]:
            return lambda a, pairs: seed(a, sorted_units[pairs], self.norm, kind)

        signals = project_pairs_by(self.fused, x, image[order], [(rule, seed_of(kind)) for rule, kind in self.ways])
        out = np.empty_like(signals)
        out[:, order] = signals
        return out

    def strengths(self, x: np.ndarray) -> np.ndarray:
        """||a|| of every unit on images x (N, H, W, C): (N, units) on the host."""
        a, _ = self.plain.forward(to_device(x, self.xp), INFER)
        return to_host(MapNorms().forward(a, INFER)[0][:, NORMS.index(self.norm)])

    def _plain(self, x: np.ndarray, image: np.ndarray, units: np.ndarray) -> np.ndarray:
        out = np.empty((len(self.ways), len(image), *x.shape[1:]), x.dtype)
        for start in range(0, len(image), PLAIN_PAIRS):
            pairs = slice(start, start + PLAIN_PAIRS)
            a, cache = self.plain.forward(to_device(x[image[pairs]], self.xp), PROBE)
            for signals, (rule, kind) in zip(out, self.ways, strict=True):
                s = seed(a, to_device(units[pairs], self.xp), self.norm, kind)
                signals[pairs] = to_host(self.plain.project(s, cache, rule))
        return out


def project_units(
    projector: Projector, images: Callable[[np.ndarray], np.ndarray], tops: np.ndarray, units: np.ndarray
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (unit, its projections on its images in their order) for every unit of `units`: (n, H, W, C), or
    (rules, n, H, W, C) by several rules.

    images   gives the normalized images (n, H, W, C) at some positions of the data set
    tops     int (units, n): each unit's images; -1 if there is none

    Many units share the forward pass of the images that they have in common. The memory doesn't grow with their
    number.
    """
    for start in range(0, len(units), UNITS_AT_ONCE):
        part = slice(start, start + UNITS_AT_ONCE)
        there = tops[part] >= 0
        positions, image = np.unique(tops[part][there], return_inverse=True)
        counts = there.sum(axis=1)
        signals = projector(images(positions), image, np.repeat(units[part], counts))
        yield from zip(units[part].tolist(), np.split(signals, np.cumsum(counts)[:-1], axis=-4), strict=True)


def negative_gammas(model: Layer, layer: str) -> tuple[int, int]:
    """(how many, of how many) channels of the batch normalizations up to `layer` have gamma < 0.

    A deconvnet that skips BN brings their signal back with the wrong sign.
    """
    gammas = [n.params["gamma"].value for n in truncate(model, layer).leaves() if isinstance(n, BatchNorm2D)]
    return sum(int((g < 0).sum()) for g in gammas), sum(g.size for g in gammas)
