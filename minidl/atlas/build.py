"""Makes an atlas, stage by stage."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from minidl.atlas.effects import find_effects
from minidl.atlas.embedding import Beside, embedding, embedding_record
from minidl.atlas.index import make_index
from minidl.atlas.pages import Found, class_records, image_records, short, unit_records
from minidl.atlas.pictures import Pictures, layout, series
from minidl.atlas.places import choose
from minidl.atlas.records import (
    FORMAT,
    ActivityRecord,
    Group,
    ImageList,
    Index,
    LayerRecord,
    Layout,
)
from minidl.atlas.scan import Scan, deciles, histograms, scan_and_predict, scores_and_features
from minidl.atlas.sheets import PHOTOS, Sheets, tiles_for
from minidl.atlas.versions import State, add_other, add_snapshot
from minidl.atlas.viewed import BATCH, Viewed
from minidl.atlas.work import Arrays, Work
from minidl.atlas.write import activity, add_page, put, put_chunks
from minidl.errors import UsageError, require_whole
from minidl.storage.weights import model_arrays
from minidl.text.progress import Progress
from minidl.training.execution import one_blas_thread
from minidl.version import __version__
from minidl.visual.connections import connections
from minidl.visual.probe import LayerProbe
from minidl.visual.taps import NORMS
from minidl.visual.truncate import LayerInfo
from minidl.visual.units import by_selectivity

FEATURES, SCORES = "the input of the last layer", "the scores, as no linear layer is known to be the last"
MANY = 1000  # images


@dataclass(frozen=True)
class Settings:
    """What an atlas is to contain.

    layers    names; empty: all that have units of their own
    units    of each layer, the most selective ones are drawn; 0: all
    """

    layers: tuple[str, ...] = ()
    units: int = 0
    projections: bool = True
    norm: str = "l2"

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise UsageError(f"norm {self.norm!r}: choose {' or '.join(NORMS)}")
        object.__setattr__(self, "units", require_whole("units", self.units))  # an int, which JSON takes


def make_atlas(
    viewed: Viewed,
    output: Path,
    settings: Settings = Settings(),
    *,
    snapshots: Sequence[State] = (),
    other: Viewed | None = None,
) -> Path:
    """Writes the atlas of `viewed` into the folder `output`, and returns the page to open.

    snapshots    earlier states of the same network
    other        a second network to compare, with the same images

    Interrupted, it leaves its work in `<output>.unfinished`, and goes on from there when it is started again. Raises
    UsageError if `output` exists and is no atlas.
    """
    started = time.monotonic()
    layers, groups = choose(viewed.model, viewed.image_shape, settings.layers)
    work = Work(output)
    with work.owned(_plan(viewed, settings, snapshots, other)), one_blas_thread():
        seen, said = scan_and_predict(viewed, layers, settings.norm, work)
        # t-SNE of many images takes a minute on one thread. For few, two threads only keep each other waiting.
        points = Beside(lambda: embedding(work)) if len(viewed.split) >= MANY else None
        found = _find(viewed, settings, layers, groups, seen, said, work)
        placed = points.result() if points else embedding(work)
        tiles, drawn = tiles_for(viewed.image_shape), [p["drawn"] for p in found.pictures]
        states = [add_snapshot(viewed, s, layers, settings.norm, drawn, tiles, work) for s in snapshots]
        beside_it = other and add_other(viewed, other, layers, seen, settings.norm, drawn, tiles, work)
        index = make_index(viewed, found, placed)
        index.snapshots, index.other = states, beside_it
        index.facts.append(("made in", f"{(time.monotonic() - started) / 60:.1f} minutes"))
        _write(viewed, found, placed, index, work)
        add_page(work.folder)
        put(work.folder, "atlas", index)
        work.finish()
    return output / "index.html"


def _plan(viewed: Viewed, settings: Settings, snapshots: Sequence[State], other: Viewed | None) -> dict:
    """What determines an atlas: an unfinished one goes on only if all of it is the same."""
    run = viewed.execution
    return {
        "format": FORMAT,
        "minidl": __version__,
        "network": _digest(viewed),
        "other": _digest(other) if other else None,
        "snapshots": [state.epoch for state in snapshots],
        **{**asdict(settings), "layers": list(settings.layers)},
        "backend": run.backend,
        "engine": run.engine,
    }


def _digest(viewed: Viewed) -> str:
    """Of the weights, the classes, the labels, and some of the images."""
    digest, count = hashlib.sha256(), len(viewed.split)
    for name, a in model_arrays(viewed.model).items():
        digest.update(ascii(name).encode() + np.ascontiguousarray(a).tobytes())
    some = viewed.split.images(np.unique(np.linspace(0, count - 1, min(count, 100)).astype(int)))
    for a in (some, viewed.mean, viewed.std, viewed.split.labels):
        digest.update(b"" if a is None else np.ascontiguousarray(a).tobytes())
    digest.update(ascii((count, list(viewed.classes), list(viewed.words), viewed.title, viewed.facts)).encode())
    return digest.hexdigest()


def _find(
    viewed: Viewed, settings: Settings, layers: list[LayerInfo], groups: list[Group], seen: Scan, said: Arrays,
    work: Work,
) -> Found:  # fmt: skip
    tenths, bins = [], []
    with Progress("ranking images", sum(info.units for info in layers), "unit") as bar:
        for info in layers:
            tenths.append(deciles(seen.of(info.name)))
            bins.append(histograms(seen.of(info.name)))
            bar.add(info.units)
    shape = viewed.image_shape
    plan = layout(len(viewed.split), tenths[0].shape[1]) if settings.projections else Layout(0, {})
    effects = find_effects(viewed, layers, groups, said, work)
    pictures = _draw(viewed, settings, layers, seen, tenths, plan, work) if settings.projections else []
    return Found(
        layers=layers,
        groups=groups,
        scan=seen,
        norm=settings.norm,
        predictions=said,
        deciles=tenths,
        histograms=bins,
        pictures=pictures,
        layout=plan,
        connections=connections(viewed.model, shape, [info.name for info in layers]),
        effects=effects,
    )


def _draw(
    viewed: Viewed, settings: Settings, layers: list[LayerInfo], seen: Scan, tenths: list[np.ndarray], plan: Layout,
    work: Work,
) -> list[Arrays]:  # fmt: skip
    tiles, made, random = tiles_for(viewed.image_shape), [], None
    units = [_drawn_units(seen.probes[info.name], settings.units) for info in layers]
    with Progress("drawing", sum(map(len, units)), "unit") as bar:
        for number, info in enumerate(layers):
            stage = f"pictures-{number:03}"
            if (found := work.load(stage)) is not None:
                bar.add(len(units[number]))
                made.append(found)
                continue
            random = random or viewed.randomised()
            tops = seen.probes[info.name].images[settings.norm][:, : plan.parts["deconv"][1]]
            drawing = Pictures(viewed, random, info.name, settings.norm, plan)
            files = series(work.folder / "sheets", number, tiles)
            found = drawing.draw(units[number], tops, tenths[number], files, bar.add)
            made.append(work.save(stage, found))
    return made


def _drawn_units(found: LayerProbe, most: int) -> np.ndarray:
    """The `most` most selective units, or all."""
    return np.sort(by_selectivity(found)[:most]) if most else np.arange(found.units)


def _write(viewed: Viewed, found: Found, placed: Arrays, index: Index, work: Work) -> None:
    """All files but the index: what is in memory as records, and the images."""
    with Progress("writing units", sum(info.units for info in found.layers), "unit") as bar:
        for number, info in enumerate(found.layers):
            put(work.folder, f"layer-{number:03}", LayerRecord(unit_records(found, number)))
            norms = found.scan.of(info.name)
            record = ActivityRecord([short(v) for v in norms.max(axis=1)], [activity(row) for row in norms])
            put(work.folder, f"activity-{number:03}", record)
            bar.add(info.units)
    with Progress("writing classes", len(viewed.classes), "class") as bar:
        put_chunks(work.folder, "classes", class_records(found, len(viewed.classes)), bar.add)
    names, said = getattr(viewed.split, "names", None), found.predictions
    with Progress("writing what is known of images", len(viewed.split), "image") as bar:
        put_chunks(work.folder, "images", image_records(found, names), bar.add)
    listed = ImageList(said["labels"].tolist(), said["best"][:, 0].tolist(), list(names or ()))
    put(work.folder, "images", listed)
    if index.embedding:
        features = FEATURES if scores_and_features(viewed) else SCORES
        put(work.folder, "embedding", embedding_record(placed, found.predictions, features))
    sheets = Sheets(work.folder / "sheets", "images", index.tiles, PHOTOS)
    with Progress("writing images", len(viewed.split), "image") as bar:
        for start in range(0, len(viewed.split), BATCH):
            positions = np.arange(start, min(start + BATCH, len(viewed.split)))
            sheets.add(viewed.pictures(positions))
            bar.add(len(positions))
    sheets.close()
