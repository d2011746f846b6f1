"""Atlases of networks that don't exist: records full of random numbers, and sheets with a color for each tile.

They are made in a moment and have any number of classes and any names. The color of a tile on the screen says which
tile it is.
"""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import numpy as np

from minidl.atlas.records import (
    FORMAT,
    PER_CHUNK,
    ActivityRecord,
    Agreement,
    Block,
    ClassRecord,
    ClassSummary,
    Effects,
    EmbeddingRecord,
    Group,
    ImageList,
    ImageRecord,
    Index,
    LayerRecord,
    LayerSummary,
    Layout,
    Match,
    Mistake,
    Null,
    Other,
    Seen,
    Snapshot,
    Tiles,
    UnitRecord,
)
from minidl.atlas.sheets import Sheets
from minidl.atlas.write import activity, add_page, put

TILES = Tiles(size=24, step=32, across=16, each=256)  # small sheets, so that a few tiles fill several of them
RULES = {
    "deconv": "deconvnet, batch norm skipped; mid-gray is zero",
    "gradient": "gradient; mid-gray is zero",
    "guided": "guided backpropagation; mid-gray is zero",
}
PARTS = {
    **{rule: (9 * k, 9) for k, rule in enumerate(RULES)},
    **{f"random {rule}": (27 + 3 * k, 3) for k, rule in enumerate(RULES)},
    "deciles": (36, 10),
}
WIDTH = 46

HOSTILE = (
    '<img src=x onerror="window.xss=1">',
    "</script><script>window.xss=1</script>",
    "\"'`&amp;&lt;${window.xss=1}",
    "]]><!-- --><svg onload=window.xss=1>",
    "javascript:window.xss=1",
    "مرحبا بالعالم \u202egnp.exe",
    "👩‍🔬 a cat 🐈‍⬛",
    "w" * 300,
    "two\u2028lines\u2029and\na\ttab",
    "\x01\x07\x7f\x00",
    "a/b:c%20d%zz e#f?g&h=1+2",
    "__proto__",
    "constructor",
    "not UTF-8: \udcff",
    " ",
    "",
)


def colors(series: str, tiles: np.ndarray) -> np.ndarray:
    """The colors of tiles (n,), another one for (almost) every tile of every series: (n, 3)."""
    number = (crc32(series.encode()) + tiles.astype(np.uint64) * 2654435761) >> 8  # Knuth's multiplier spreads them
    return np.stack([number & 255, number >> 8 & 255, number >> 16 & 255], axis=-1).astype(np.uint8)


def pairs(numbers: np.ndarray, count: int) -> list[tuple[int, float]]:
    """The largest numbers and where they stand."""
    order = np.argsort(-numbers, kind="stable")[:count]
    return [(int(k), round(float(numbers[k]), 3)) for k in order]


class Fake:
    """The records of an atlas, in `files` by name, and `counts`: how many tiles each series has."""

    def __init__(
        self,
        classes: int = 5,
        images: int = 70,
        labelled: bool = True,
        projections: bool = True,
        snapshots: tuple[int, ...] = (1, 4),
        other: bool = True,
        embedding: bool = True,
        layers: tuple[str, ...] = ("stem", "inception1.b1", "inception1.b3"),
        units: int = 6,
        names: tuple[str, ...] = (),
        drawn: int = 0,
    ):
        """names: what stands wherever words are a stranger's; `layers` has the names of all layers but the last.
        drawn: only so many units of each layer have pictures; 0: all."""
        self.rng = np.random.default_rng(classes * 1000 + images)
        self.files: dict[str, object] = {}
        self.counts: dict[str, int] = {"images": images}
        self.names, self.drawn = names, drawn
        self.layers = (*layers, "logits")
        self.units = [units] * len(layers) + [classes]
        self.norms = [self.rng.gamma(1.0, 2.0, (images, n)).round(3) for n in self.units]
        for norms in self.norms[:1]:
            norms[:, -1] = 0  # a dead unit
        self.images, self.classes, self.projections = images, classes, projections
        self.labels = self.rng.integers(classes, size=images) if labelled else np.full(images, -1)
        self.probabilities = self.rng.dirichlet(np.full(classes, 0.3), images)  # (images, classes)
        self.predicted = self.probabilities.argmax(axis=1)
        self.labelled = labelled
        self.shown: list[list[tuple[int, int, int]]] = [[] for _ in range(images)]
        for k in range(len(self.layers)):
            self.layer(k)
        for epoch in snapshots:
            for k, n in enumerate(self.units):
                self.files[f"epoch-{epoch:03d}-{k:03d}"] = [self.seen() for _ in range(n)]
                self.counts[f"epoch-{epoch:03d}-{k:03d}"] = 9 * n
        if other:
            for k, n in enumerate(self.units):
                self.files[f"other-{k:03d}"] = [
                    Match(self.name(k, self.layers[k]), unit, self.number(), self.seen().top, self.number())
                    for unit in range(n)
                ]
                self.counts[f"other-{k:03d}"] = 9 * n
        if not projections:
            self.counts = {"images": images}
        self.chunks("classes", [self.class_record(c) for c in range(classes)])
        self.chunks("images", [self.image_record(i) for i in range(images)])
        files = [self.name(i, f"val/{label}/{i}.png") for i, label in enumerate(self.labels)]
        self.files["images"] = ImageList(self.labels.tolist(), self.predicted.tolist(), files)
        if embedding:
            self.files["embedding"] = EmbeddingRecord(
                *self.rng.integers(4096, size=(2, 2 * images)).tolist(),
                explained=[0.31, 0.12],
                labels=self.labels.tolist(),
                predicted=self.predicted.tolist(),
                features=self.name(3, "the means of the last module's maps"),
            )
        self.index = self.files["atlas"] = self.make_index(snapshots, other, embedding)

    def name(self, k: int, otherwise: str) -> str:
        return self.names[k % len(self.names)] if self.names else otherwise

    def number(self) -> float:
        return round(float(self.rng.random()), 3)

    def link(self) -> tuple[int, int, float]:
        layer = int(self.rng.integers(len(self.layers)))
        return layer, int(self.rng.integers(self.units[layer])), round(float(self.rng.normal()), 3)

    def links(self, count: int = 5) -> list[tuple[int, int, float]]:
        return sorted((self.link() for _ in range(count)), key=lambda link: -abs(link[2]))

    def by_layer(self) -> list[tuple[str, list[tuple[int, int, float]]]]:
        return [
            (name, [(k, unit, self.number()) for unit in range(min(3, self.units[k]))])
            for k, name in enumerate(self.layers)
        ]

    def seen(self) -> Seen:
        return Seen(pairs(self.rng.random(self.images), 9), self.number())

    def chunks(self, name: str, records: list) -> None:
        for k in range(0, len(records), PER_CHUNK):
            self.files[f"{name}-{k // PER_CHUNK:03d}"] = records[k : k + PER_CHUNK]

    def layer(self, k: int) -> None:
        """Adds the files and sheets of layer k."""
        records = []
        for unit, norms in enumerate(self.norms[k].T):
            dead = not norms.any()
            top = pairs(norms, 9)
            order = np.argsort(-norms, kind="stable")
            deciles = [(int(i), round(float(norms[i]), 3)) for i in order[:: max(1, self.images // 10)][:10]]
            drawn = self.projections and (not self.drawn or unit < self.drawn)
            likeness = {rule: self.number() for rule in RULES} if drawn else {}
            records.append(
                UnitRecord(
                    top=top,
                    deciles=deciles,
                    blank=list(range(WIDTH)) if dead else [4] if unit == 1 else [],
                    histogram=np.histogram(norms, 20, (0, max(norms.max(), 1e-9)))[0].tolist(),
                    selectivity=0.0 if dead else self.number(),
                    dead=dead,
                    classes=pairs(self.rng.random(self.classes), 5) if self.labelled else [],
                    likeness=likeness,
                    incoming=self.links() if k else [(-1, 2, -0.25)],
                    outgoing=self.links(),
                    effects=[] if dead else [(c, -x) for c, x in pairs(self.rng.random(self.classes), 5)],
                    drawn=drawn or not self.projections,
                )
            )
            if drawn:
                for rank, (image, _) in enumerate(top):
                    self.shown[image].append((k, unit, PARTS["deconv"][0] + rank))
                for rank, (image, _) in enumerate(deciles):
                    self.shown[image].append((k, unit, PARTS["deciles"][0] + rank))
        self.files[f"layer-{k:03d}"] = LayerRecord(records)
        largest = self.norms[k].max(axis=0)
        self.files[f"activity-{k:03d}"] = ActivityRecord(largest.tolist(), [activity(n) for n in self.norms[k].T])
        self.counts[f"wall-{k:03d}"] = len(records)
        self.counts[f"units-{k:03d}"] = len(records) * WIDTH

    def class_record(self, c: int) -> ClassRecord:
        own = np.flatnonzero(self.labels == c)
        loss = -np.log(self.probabilities[np.arange(self.images), self.labels])
        right, wrong = own[self.predicted[own] == c], own[self.predicted[own] != c]
        others = self.labels[(self.predicted == c) & (self.labels != c) & (self.labels >= 0)]
        taken = np.bincount(others, minlength=self.classes)
        mistakes = np.bincount(self.predicted[wrong], minlength=self.classes)
        return ClassRecord(
            surest=right[np.argsort(-self.probabilities[right, c])][:12].tolist(),
            worst=own[np.argsort(-loss[own])][:12].tolist(),
            mistakes=[Mistake(p, int(n), self.links(3)) for p, n in pairs(mistakes, 5) if n],
            taken=[(p, int(n)) for p, n in pairs(taken, 5) if n],
            selective=self.by_layer() if self.labelled else [],
        )

    def image_record(self, i: int) -> ImageRecord:
        label = int(self.labels[i])
        return ImageRecord(
            label=label,
            best=pairs(self.probabilities[i], 5),
            loss=round(float(-np.log(max(self.probabilities[i, label], 1e-9))), 3) if self.labelled else None,
            name=self.name(i, f"val/{label}/{i}.png"),
            strongest=self.by_layer(),
            shown=self.shown[i],
        )

    def make_index(self, snapshots: tuple[int, ...], other: bool, embedding: bool) -> Index:
        leaves = [Block(n, self.name(k, "Conv2D 3x3, 16"), [8, 8, self.units[k]], 432 + k, "", k, -1, [])
                  for k, n in enumerate(self.layers)]  # fmt: skip
        inner = Block("inception1", "Concat", [8, 8, 2 * self.units[0]], 900, "parallel", -1, 0, leaves[1:-1])
        own = Block("own", self.name(5, "a container of the user's own"), [8, 8, 4], 0, "", -1, -1, [])
        right = self.predicted == self.labels
        return Index(
            format=FORMAT,
            title=self.name(0, "a run on shapes"),
            facts=[("Data set", self.name(7, "shapes")), (self.name(1, "Settings"), self.name(0, "defaults"))],
            history={
                "epoch": [1.0, 2.0, 3.0, 4.0, 5.0],
                "train_top1": [0.1, 0.2, 0.3, 0.35, 0.4],
                "val_top1": [0.1, 0.15, 0.2, 0.3, 0.35],
                "train_loss": [2.0, 1.5, 1.2, 1.0, 0.9],
                "val_loss": [2.1, 1.7, 1.4, 1.2, 1.1],
            },
            top1=round(float(right.mean()), 4) if self.labelled else None,
            top5=0.9 if self.labelled else None,
            norm="l2",
            rules=RULES if self.projections else {},
            measure="structural similarity (SSIM) of the two pictures",
            tiles=TILES,
            layout=Layout(WIDTH, PARTS) if self.projections else Layout(0, {}),
            network=Block("", "Sequential", [3], 4321, "chain", -1, -1, [leaves[0], inner, own, leaves[-1]]),
            layers=[self.summary(k) for k in range(len(self.layers))],
            groups=[Group("inception1", list(range(1, len(self.layers) - 1)), sum(self.units[1:-1]))],
            classes=[
                ClassSummary(
                    id=self.name(c, f"n{c:08d}"),
                    words=self.name(c + 1, f"class {c}, with words"),
                    images=int((self.labels == c).sum()),
                    accuracy=round(float(right[self.labels == c].mean()), 3) if (self.labels == c).any() else None,
                    predicted=int((self.predicted == c).sum()),
                )
                for c in range(self.classes)
            ],
            images=self.images,
            split=self.name(2, "val"),
            labelled=self.labelled,
            effects=self.agreement(),
            embedding=embedding,
            snapshots=[Snapshot(epoch, 0.1 * epoch) for epoch in snapshots],
            other=Other(self.name(4, "another run"), 0.42, 0.61) if other else None,
        )

    def agreement(self) -> Effects:
        layers = range(len(self.layers))
        if not self.labelled:
            return Effects(Agreement(None, 0), [Agreement(None, 0) for _ in layers], 0, self.images)
        inner = [Agreement(round(0.71 + 0.02 * k, 2), 4 + k) for k in layers[:-1]]
        return Effects(Agreement(0.93, 20), [*inner, Agreement(None, 0)], 50, self.images)

    def summary(self, k: int) -> LayerSummary:
        units = self.files[f"layer-{k:03d}"].units
        last = k == len(self.layers) - 1
        grouped = k > 0 and not last
        return LayerSummary(
            name=self.layers[k],
            kind="Conv2D",
            shape=[self.units[k]] if last else [8, 8, self.units[k]],
            units=self.units[k],
            group=0 if grouped else -1,
            start=sum(self.units[1:k]) if grouped else 0,
            dead=sum(unit.dead for unit in units),
            selectivity=float(np.median([unit.selectivity for unit in units])),
            likeness={rule: float(np.median([u.likeness[rule] for u in units if u.drawn])) for rule in RULES}
            if self.projections
            else {},
            null={rule: Null(0.1, 0.3) for rule in RULES} if self.projections else {},
            logits=last,
        )

    def write(self, folder: Path) -> Path:
        """Writes the folder of the atlas; returns the path of its index.html."""
        (folder / "data").mkdir()
        for name, record in self.files.items():
            put(folder, name, record)
        (folder / "sheets").mkdir()
        for series, count in self.counts.items():
            sheets = Sheets(folder / "sheets", series, TILES, quality=90)
            sheets.add(
                np.broadcast_to(colors(series, np.arange(count))[:, None, None], (count, TILES.size, TILES.size, 3))
            )
            sheets.close()
        add_page(folder)
        return folder / "index.html"
