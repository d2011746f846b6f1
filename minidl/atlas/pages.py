"""Puts together the records of units, classes and images from what was computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from minidl.atlas.effects import EffectsFound
from minidl.atlas.pictures import RULES
from minidl.atlas.places import modules
from minidl.atlas.records import ClassRecord, Group, ImageRecord, Layout, Link, Mistake, Pair, UnitRecord
from minidl.atlas.scan import Scan
from minidl.atlas.work import Arrays
from minidl.visual.connections import Connections
from minidl.visual.truncate import LayerInfo

LINKS = 8  # strongest connections of a unit
CLASSES = 5  # classes of a unit, mistakes of a class
EXAMPLES = 12  # images of a class
STRONGEST = 5  # units of each module on an image or for a class
SHOWN = 24  # units whose pictures of an image its page shows
IMAGES_AT_ONCE = 2000  # whose norms are in memory


def short(value: float) -> float:
    """A number with the six digits that the page may show."""
    return float(f"{value:.6g}")


def pairs(positions: Iterable[int], values: Iterable[float]) -> list[Pair]:
    return [(int(p), short(v)) for p, v in zip(positions, values, strict=True)]


@dataclass
class Found:
    """All that was computed for one network."""

    layers: list[LayerInfo]
    groups: list[Group]
    scan: Scan
    norm: str
    predictions: Arrays
    deciles: list[np.ndarray]  # of each layer, (units, n)
    histograms: list[np.ndarray]
    pictures: list[Arrays]  # empty without projections
    layout: Layout
    connections: Connections
    effects: EffectsFound

    @property
    def modules(self) -> list[tuple[str, list[int]]]:
        return modules(self.layers, self.groups)

    def links(self, found: Sequence[tuple[str, int, float]]) -> list[Link]:
        numbers = {info.name: i for i, info in enumerate(self.layers)}
        return [(numbers.get(name, -1), int(unit), short(weight)) for name, unit, weight in found]


def unit_records(found: Found, number: int) -> list[UnitRecord]:
    """The records of one layer."""
    name = found.layers[number].name
    probe, norms = found.scan.probes[name], found.scan.of(name)
    selectivity, dead = probe.selectivity, probe.dead
    tops, values = probe.images[found.norm], probe.values[found.norm]
    incoming, outgoing = found.connections.incoming(name, LINKS), found.connections.outgoing(name, LINKS)
    records = []
    for unit in range(probe.units):
        here = tops[unit] >= 0
        tenths = found.deciles[number][unit]
        mean = np.nan_to_num(probe.class_mean[unit])
        best = [c for c in np.argsort(-mean, kind="stable")[:CLASSES] if mean[c] > 0]
        drawn = found.pictures[number] if found.pictures else None
        records.append(
            UnitRecord(
                top=pairs(tops[unit][here], values[unit][here]),
                deciles=pairs(tenths, norms[unit, tenths]),
                blank=[] if drawn is None else np.flatnonzero(drawn["blank"][unit]).tolist(),
                histogram=found.histograms[number][unit].tolist(),
                selectivity=short(selectivity[unit]),
                dead=bool(dead[unit]),
                classes=pairs(best, mean[best]),
                likeness={} if drawn is None else _by_rule(drawn["likeness"][:, unit]),
                incoming=found.links(incoming[unit]),
                outgoing=found.links(outgoing[unit]),
                effects=found.effects.of_unit(name, unit, CLASSES),
                drawn=drawn is None or bool(drawn["drawn"][unit]),
            )
        )
    return records


def _by_rule(values: np.ndarray) -> dict[str, float]:
    return {rule: short(v) for rule, v in zip(RULES, values, strict=True) if not np.isnan(v)}


def class_records(found: Found, classes: int) -> list[ClassRecord]:
    """The records of all classes."""
    p = found.predictions
    labels, predicted, probability, loss = p["labels"], p["best"][:, 0], p["probability"][:, 0], p["loss"]
    selective = _selective(found, classes)
    records = []
    for c in range(classes):
        own = np.flatnonzero(labels == c)
        right, wrong = own[predicted[own] == c], own[predicted[own] != c]
        taken = np.bincount(labels[(predicted == c) & (labels >= 0) & (labels != c)], minlength=classes)
        mistaken = np.bincount(predicted[wrong], minlength=classes)
        records.append(
            ClassRecord(
                surest=right[np.argsort(-probability[right], kind="stable")][:EXAMPLES].tolist(),
                worst=own[np.argsort(-loss[own], kind="stable")][:EXAMPLES].tolist(),
                mistakes=[
                    Mistake(d, n, found.links(found.effects.of_mistake(c, d, STRONGEST)))
                    for d, n in _largest(mistaken, CLASSES)
                ],
                taken=_largest(taken, CLASSES),
                selective=selective[c],
            )
        )
    return records


def _largest(counts: np.ndarray, most: int) -> list[tuple[int, int]]:
    return [(int(i), int(counts[i])) for i in np.argsort(-counts, kind="stable")[:most] if counts[i]]


def _selective(found: Found, classes: int) -> list[list[tuple[str, list[Link]]]]:
    """For each class and module the units that are most selective for it, and how much."""
    by_class: list[list] = [[] for _ in range(classes)]
    for name, layers in found.modules:
        units = [(i, u) for i in layers for u in range(found.layers[i].units)]
        values = np.concatenate([found.scan.probes[found.layers[i].name].class_selectivity for i in layers])
        for c in range(classes):
            best = [u for u in np.argsort(-values[:, c], kind="stable")[:STRONGEST] if values[u, c] > 0]
            by_class[c].append((name, [(*units[u], short(values[u, c])) for u in best]))
    return by_class


def image_records(found: Found, names: Sequence[str] | None) -> Iterator[ImageRecord]:
    """The records of all images."""
    p = found.predictions
    images = len(p["labels"])
    shown = _shown(found, images)
    for start in range(0, images, IMAGES_AT_ONCE):
        strongest = _strongest(found, slice(start, min(start + IMAGES_AT_ONCE, images)))
        for i in range(start, start + len(strongest)):
            yield ImageRecord(
                label=int(p["labels"][i]),
                best=pairs(p["best"][i], p["probability"][i]),
                loss=None if np.isnan(p["loss"][i]) else short(p["loss"][i]),
                name="" if names is None else names[i],
                strongest=strongest[i - start],
                shown=shown[i],
            )


def _strongest(found: Found, part: slice) -> list[list[tuple[str, list[Link]]]]:
    """For each image of a part of them, and each module, the units that are nearest to their own maximum."""
    by_image: list[list] = [[] for _ in range(part.start, part.stop)]
    for name, layers in found.modules:
        units = [(i, u) for i in layers for u in range(found.layers[i].units)]
        probes = [found.scan.probes[found.layers[i].name] for i in layers]
        largest = np.concatenate([np.maximum(probe.values[found.norm][:, 0], 0) for probe in probes])
        norms = np.concatenate([found.scan.of(probe.layer)[:, part] for probe in probes])
        shares = np.maximum(norms.T, 0) / np.where(largest > 0, largest, 1)  # (units, images) -> (images, units)
        best = np.argsort(-shares, axis=1, kind="stable")[:, :STRONGEST]
        shares = np.take_along_axis(shares, best, axis=1)
        for links, row, values in zip(by_image, best.tolist(), shares.tolist(), strict=True):
            links.append(
                (name, [(*units[u], round(share, 2)) for u, share in zip(row, values, strict=True) if share > 0])
            )
    return by_image


def _shown(found: Found, images: int) -> list[list[tuple[int, int, int]]]:
    """For each image the tiles that are deconvnets of it: among a unit's nine images first, then its deciles.

    Those of zeros alone are left out, or the first images would be full of units that are dead.
    """
    by_image: list[list] = [[] for _ in range(images)]
    if not found.pictures:
        return by_image
    numbers = range(len(found.layers))
    tops = [found.scan.probes[info.name].images[found.norm] for info in found.layers]
    for part, chosen in (("deconv", tops), ("deciles", found.deciles)):
        first = found.layout.parts[part][0]
        for layer in numbers:
            blank = found.pictures[layer]["blank"][:, first:]
            for unit in np.flatnonzero(found.pictures[layer]["drawn"]).tolist():
                for rank, image in enumerate(chosen[layer][unit].tolist()):
                    if image >= 0 and not blank[unit, rank] and len(by_image[image]) < SHOWN:
                        by_image[image].append((layer, unit, first + rank))
    return by_image
