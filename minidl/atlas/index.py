"""The index of an atlas: what its first page needs."""

from __future__ import annotations

import time

import numpy as np

from minidl.atlas.pages import Found, short
from minidl.atlas.pictures import CONTROLLED, RULES, SAYS
from minidl.atlas.places import graph
from minidl.atlas.records import FORMAT, ClassSummary, Index, LayerSummary, Null
from minidl.atlas.sheets import tiles_for
from minidl.atlas.viewed import Viewed
from minidl.atlas.work import Arrays
from minidl.version import __version__

NORM_NAMES = {"inf": "the largest |value| of the unit's map", "l2": "the L2 norm of the unit's map"}
MEASURE = (
    "Spearman's rank correlation of the magnitudes of two projections of one image, averaged over the unit's first "
    f"{CONTROLLED} images; 1: alike, 0: unrelated"
)


def make_index(viewed: Viewed, found: Found, placed: Arrays) -> Index:
    """The index, without the states and the network beside it."""
    p, classes = found.predictions, len(viewed.classes)
    known = p["labels"] >= 0
    right = p["best"] == p["labels"][:, None]  # (images, BEST)
    shown = [info.name for info in found.layers]
    return Index(
        format=FORMAT,
        title=viewed.title,
        facts=[
            *viewed.facts,
            ("images", f"{len(viewed.split):,}" + (f" of {viewed.split_name}" if viewed.split_name else "")),
            ("images ranked by", NORM_NAMES[found.norm]),
            ("made with", f"minidl {__version__}, {time.strftime('%Y-%m-%d')}"),
        ],
        history=viewed.history,
        top1=short(right[known, 0].mean()) if known.any() else None,
        top5=short(right[known].any(axis=1).mean()) if known.any() else None,
        norm=found.norm,
        rules={rule: SAYS[rule] for rule in RULES} if found.pictures else {},
        measure=MEASURE,
        tiles=tiles_for(viewed.image_shape),
        layout=found.layout,
        network=graph(viewed.model, viewed.image_shape, shown, found.groups),
        layers=[_layer(found, number, classes) for number in range(len(shown))],
        groups=found.groups,
        classes=_classes(viewed, p),
        images=len(viewed.split),
        split=viewed.split_name,
        labelled=bool(known.any()),
        effects=found.effects.agreement,
        embedding=len(placed["pca"]) > 0,
    )


def _layer(found: Found, number: int, classes: int) -> LayerSummary:
    info, probe = found.layers[number], found.scan.probes[found.layers[number].name]
    group, start = -1, 0
    for g, of in enumerate(found.groups):
        if number in of.layers:
            before = of.layers[: of.layers.index(number)]
            group, start = g, sum(found.layers[i].units for i in before)
    likeness, null = {}, {}
    if found.pictures:
        drawn = found.pictures[number]
        for rule, alike, unlike in zip(RULES, drawn["likeness"], drawn["null"], strict=True):
            alike, unlike = (values[~np.isnan(values)] for values in (alike, unlike))
            if len(alike):
                likeness[rule] = short(np.median(alike))
            if len(unlike):
                null[rule] = Null(short(np.median(unlike)), short(np.quantile(unlike, 0.95)))
    return LayerSummary(
        name=info.name,
        kind=info.layer,
        shape=list(info.shape),
        units=info.units,
        group=group,
        start=start,
        dead=int(probe.dead.sum()),
        selectivity=short(np.median(probe.selectivity)),
        likeness=likeness,
        null=null,
        logits=number == len(found.layers) - 1 and info.shape == (classes,),
    )


def _classes(viewed: Viewed, p: Arrays) -> list[ClassSummary]:
    predicted, labels, count = p["best"][:, 0], p["labels"], len(viewed.classes)
    known = labels >= 0
    there = np.bincount(labels[known], minlength=count)
    right = np.bincount(labels[known & (labels == predicted)], minlength=count)
    taken = np.bincount(predicted, minlength=count)
    accuracy = [short(r / n) if n else None for r, n in zip(right, there, strict=True)]
    rows = zip(viewed.classes, viewed.words, there.tolist(), accuracy, taken.tolist(), strict=True)
    return [ClassSummary(*row) for row in rows]
