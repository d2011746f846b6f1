"""The pictures of units: a sheet for each, a poster of a layer, and units of a layer on a photo."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minidl.cli.pictures import Pictures, photo_name, refuse_data_flags, save_raw
from minidl.parallel.communicator import Communicator
from minidl.storage.tables import csv_file
from minidl.text.console import print_lines
from minidl.text.progress import Progress
from minidl.training.together import same_data
from minidl.visual import sheets
from minidl.visual.probe import LayerProbe, probe
from minidl.visual.projection import Projector, project_units
from minidl.visual.screen import to_screen
from minidl.visual.subject import Subject
from minidl.visual.units import by_selectivity, choose_units, table

NORM_NAMES = {"inf": "L∞", "l2": "L2"}


def scan(args: Namespace, subject: Subject, layer: str, comm: Communicator) -> LayerProbe:
    """Which images of the split excite the units of a layer most. The ranks of `comm` share the images."""
    same_data(comm, lambda: subject.data)
    with Progress(f"scanning {args.split}", len(subject.split), "image") as bar:
        return probe(
            subject.plain, [layer], subject.data.loader(subject.split), len(subject.about.classes), xp=subject.xp,
            engine=args.engine, threads=args.threads, on_batch=bar.add, comm=comm,
        )[layer]  # fmt: skip


def save_units(pictures: Pictures, layer: str, projector: Projector | None, comm: Communicator) -> list[Path]:
    """Saves sheets of the units, on the images of the split that excite them most, and a table of all units."""
    args, subject = pictures.args, pictures.subject
    units = subject.layer(layer).units
    choose_units(args.unit, units, np.arange(units))  # a wrong request is answered before the scan
    found = scan(args, subject, layer, comm)
    chosen = choose_units(args.unit, units, by_selectivity(found))
    labelled = (found.best_class >= 0).any()
    middle = f"median selectivity {np.median(found.selectivity):.2f}"
    unknown = f"selectivity unknown, as the images of {args.split} have no labels"
    print_lines(f"{layer}: {found.units} units, {found.dead.sum()} dead, {middle if labelled else unknown}")
    where = {**pictures.which_data, **pictures.changed("split")}
    asked = pictures.changed("seed_map", "scale", "deconv_bn", "unpool")
    written = [_save_table(pictures, found, where)]
    tops = found.images[args.norm][chosen]
    positions = np.unique(tops[tops >= 0])
    said = dict(zip(positions.tolist(), subject.words(subject.predicted_at(positions)), strict=True))
    best, blanks = [], []
    with Progress("drawing", len(chosen), "sheet") as bar:
        for (unit, signals), top in zip(_signals(subject, projector, tops, chosen), tops, strict=True):
            here = top[top >= 0]
            originals = subject.pictures(here)
            shades, blank = (None, None) if signals is None else to_screen(signals, args.scale)
            true, predicted = subject.words(subject.labels(here)), [said[i] for i in here.tolist()]
            footer = _footer(args, subject)
            if labelled:
                footer += f" · selectivity {found.selectivity[unit]:.2f}"
            path = pictures.path(args.command, layer, unit, args.norm, **where, **asked)
            sheets.save_sheet(
                path, originals, shades, true, predicted, _title(args, f"{layer}[{unit}]"), footer, blank
            )
            written += [path, *save_raw(args, path, signals)]
            best.append((originals if shades is None else shades)[0])
            blanks.append(found.dead[unit])
            bar.add(1)
    if args.unit == "all":
        path = pictures.path(args.command, layer, "all", args.norm, **where, **asked)
        numbers = [str(unit) for unit in chosen]
        sheets.save_poster(
            path, np.stack(best), numbers, _title(args, layer), _footer(args, subject), np.array(blanks)
        )
        written.append(path)
    return written


def save_photo(pictures: Pictures, layer: str, projector: Projector) -> list[Path]:
    """Saves the units' projections on the photo --image; "top" means the units that it excites most."""
    args, subject = pictures.args, pictures.subject
    refuse_data_flags(args)
    photo = subject.photo(args.image)
    x = subject.normalised(photo[None])
    strength = projector.strengths(x)[0]
    chosen = choose_units(args.unit, len(strength), np.argsort(-strength, kind="stable"))
    signals = projector(x, np.zeros(len(chosen), np.intp), np.array(chosen))
    shades, blank = to_screen(signals, args.scale)
    labels, probability = subject.predicted(x)
    footer = f"{_footer(args, subject)} · predicted: {subject.words(labels)[0]}, {100 * probability[0]:.0f} %"
    title = _title(args, f"{layer} · {Path(args.image).name}")
    asked = pictures.changed("unit", "seed_map", "scale", "deconv_bn", "unpool")
    if args.unit[0].isdecimal():  # 3, 17 and 3,17 are the same
        asked["unit"] = ",".join(map(str, chosen))
    path = pictures.path(args.command, layer, photo_name(args.image), args.norm, **asked)
    captions = [f"[{unit}]  {strength[unit]:.3g}" for unit in chosen]
    sheets.save_photo_sheet(path, photo, shades, captions, title, footer, blank)
    return [path, *save_raw(args, path, signals)]


def _signals(
    subject: Subject, projector: Projector | None, tops: np.ndarray, chosen: list[int]
) -> Iterator[tuple[int, np.ndarray | None]]:
    if projector is None:
        return ((unit, None) for unit in chosen)
    return project_units(projector, subject.images, tops, np.array(chosen))


def _title(args: Namespace, what: str) -> str:
    return f"{what} · {args.command} · {NORM_NAMES[args.norm]}"


def _footer(args: Namespace, subject: Subject) -> str:
    parts = [subject.source, "photo" if getattr(args, "image", None) else args.split]
    if args.command != "top":
        parts += [f"scale {args.scale}", f"seed {args.seed_map}"]
    if args.command == "deconv":
        parts += [f"BN {args.deconv_bn}", f"unpool {args.unpool}"]
    return " · ".join(parts)


def _save_table(pictures: Pictures, found: LayerProbe, where: dict[str, Any]) -> Path:
    subject = pictures.subject
    path = pictures.file("csv", "units", found.layer, **where)
    names = getattr(subject.split, "names", None)
    with csv_file(path) as write:
        for row in table(found, subject.about.words, names):
            write(row)
    return path
