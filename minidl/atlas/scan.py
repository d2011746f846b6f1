"""One pass over all images: how strongly each unit responds to each of them, and what the network predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from minidl.atlas.viewed import Viewed
from minidl.atlas.work import Arrays, Work
from minidl.backend.arrays import to_host
from minidl.errors import DivergedError
from minidl.losses import softmax
from minidl.text.progress import Progress
from minidl.training.evaluation import predict
from minidl.visual.embedding import ends
from minidl.visual.probe import LayerProbe, probe
from minidl.visual.taps import NORMS
from minidl.visual.truncate import LayerInfo, truncate

BEST = 5  # likeliest classes of an image
DECILES = 10
BINS = 20  # of a histogram
IMAGES_AT_ONCE = 2000  # whose scores are in memory


@dataclass
class Scan:
    """The results for all layers; `norms` of a layer are (units, images)."""

    probes: dict[str, LayerProbe]
    norms: np.ndarray  # float32 (all units, images), of the norm that the atlas uses
    start: dict[str, int]  # a layer's first row

    def of(self, layer: str) -> np.ndarray:
        return self.norms[self.start[layer] : self.start[layer] + self.probes[layer].units]


def scan(
    viewed: Viewed,
    layers: list[LayerInfo],
    norm: str,
    work: Work,
    name: str = "scan",
    kept: Mapping[str, str] | None = None,
) -> Scan:
    """The norms of all units' maps over all images. `name` is that of the stage.

    kept    by layer of single numbers, the name in large/ under which its values (images, units) are kept
    """
    kept = kept or {}
    names, sizes = [info.name for info in layers], [info.units for info in layers]
    start = dict(zip(names, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))
    path, images = work.large(name), len(viewed.split)

    def make() -> Arrays:
        norms = work.new_large(name, (sum(sizes), images))
        values: dict[str, np.ndarray] = {}

        def keep(layer: str, first: int, found: np.ndarray) -> None:
            if layer in start:
                rows = slice(start[layer], start[layer] + found.shape[2])
                norms[rows, first : first + len(found)] = found[:, NORMS.index(norm)].T  # (n, units) -> (units, n)
            if layer in kept:
                if layer not in values:
                    values[layer] = work.new_large(kept[layer], (images, found.shape[2]))
                values[layer][first : first + len(found)] = found[:, 0]

        with Progress("looking at all images", images, "image") as bar:
            probes = probe(
                viewed.placed(viewed.model), [*names, *(layer for layer in kept if layer not in start)],
                viewed.loader(), len(viewed.classes), xp=viewed.xp, engine=viewed.execution.engine,
                threads=viewed.execution.threads, on_batch=bar.add, on_norms=keep,
            )  # fmt: skip
        for array in (norms, *values.values()):
            array.flush()
        return {key: value for i, layer in enumerate(names) for key, value in _packed(i, probes[layer]).items()}

    found = work.stage(name, make, path, *(work.large(what) for what in kept.values()))
    probes = {info.name: _unpacked(found, i, info) for i, info in enumerate(layers)}
    return Scan(probes, np.load(path, mmap_mode="r"), start)


def _packed(number: int, found: LayerProbe) -> Arrays:
    arrays = {f"{number:03}_class_mean": found.class_mean.astype(np.float32)}
    for norm in NORMS:
        arrays |= {f"{number:03}_{norm}_images": found.images[norm], f"{number:03}_{norm}_values": found.values[norm]}
    return arrays


def _unpacked(arrays: Arrays, number: int, info: LayerInfo) -> LayerProbe:
    images, values = ({norm: arrays[f"{number:03}_{norm}_{what}"] for norm in NORMS} for what in ("images", "values"))
    mean = arrays[f"{number:03}_class_mean"].astype(np.float64)
    return LayerProbe(info.name, info.shape, images, values, mean)


def scores_and_features(viewed: Viewed) -> tuple[str, ...]:
    """The names of the layers that give the scores and the input of the last layer; none if that isn't linear."""
    names = ends(viewed.model)
    flat = all(name and len(truncate(viewed.model, name).out_shape((1, *viewed.image_shape))) == 2 for name in names)
    return names if flat else ()


def scan_and_predict(viewed: Viewed, layers: list[LayerInfo], norm: str, work: Work) -> tuple[Scan, Arrays]:
    """`scan`, and what the network says about each image. Its features are kept for the embedding, in large/.

    best, probability    (images, BEST) the likeliest classes
    loss    (images,) cross-entropy; NaN where the label is unknown
    labels    (images,) the true classes
    """
    names = scores_and_features(viewed)
    kept = dict(zip(names, ("scores", "features"), strict=True)) if names else {}
    seen = scan(viewed, layers, norm, work, kept=kept)

    def make() -> Arrays:
        if not names:  # the features are the scores
            with Progress("predicting", len(viewed.split), "image") as bar:
                scores = []
                for logits, _ in predict(viewed.running(viewed.model), viewed.loader(), viewed.xp):
                    scores.append(to_host(logits))
                    bar.add(len(logits))
            for what in ("scores", "features"):
                np.save(work.large(what), np.concatenate(scores))
        return _answers(np.load(work.large("scores"), mmap_mode="r"), viewed.split.labels)

    return seen, work.stage("predictions", make, work.large("features"))


def _answers(scores: np.ndarray, labels: np.ndarray | None) -> Arrays:
    """See `scan_and_predict`; a few images at a time, for the memory."""
    labels = np.full(len(scores), -1) if labels is None else np.asarray(labels)
    parts = range(0, len(scores), IMAGES_AT_ONCE)
    rows = [_answers_of(*(np.asarray(a[i : i + IMAGES_AT_ONCE]) for a in (scores, labels))) for i in parts]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _answers_of(scores: np.ndarray, labels: np.ndarray) -> Arrays:
    if not np.isfinite(scores).all():
        raise DivergedError("the scores of the network are not finite numbers, so it has diverged")
    logits = scores.astype(np.float64)
    p = softmax(logits)
    best = np.argsort(-p, axis=1, kind="stable")[:, :BEST]
    rows, known = np.arange(len(p)), labels >= 0
    loss = np.log(np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)) + logits.max(axis=1)
    loss = np.where(known, loss - logits[rows, np.maximum(labels, 0)], np.nan)
    return {
        "best": best.astype(np.int32),
        "probability": np.take_along_axis(p, best, axis=1).astype(np.float32),
        "loss": loss.astype(np.float32),
        "labels": labels.astype(np.int32),
    }


def deciles(norms: np.ndarray) -> np.ndarray:
    """One image from each tenth of all images, by the norms (units, images), strongest first: int (units, n).

    With N images, those of rank floor((k + 1/2) N / 10), k = 0, ..., 9. Equal ones keep the order of the split.
    """
    images = norms.shape[1]
    ranks = np.unique(((np.arange(DECILES) + 0.5) * images / DECILES).astype(int))
    return np.stack([np.argsort(-row, kind="stable")[ranks] for row in norms])


def histograms(norms: np.ndarray) -> np.ndarray:
    """How many images lie in each of BINS equal bins from 0 to a unit's largest norm, (units, BINS).

    Scores below 0 count as 0.
    """
    rows = np.maximum(norms, 0)
    return np.stack([np.histogram(row, BINS, (0, row.max() or 1))[0] for row in rows])
