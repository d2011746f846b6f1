"""Other states of a network beside it: the snapshots of its run, and a second network to compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from minidl.atlas.pages import pairs, short
from minidl.atlas.pictures import draw_deconvs
from minidl.atlas.places import choose
from minidl.atlas.records import Match, Other, Seen, Snapshot, Tiles
from minidl.atlas.scan import Scan, scan
from minidl.atlas.sheets import PROJECTIONS, Sheets
from minidl.atlas.viewed import Viewed
from minidl.atlas.work import Work
from minidl.atlas.write import put
from minidl.errors import DivergedError
from minidl.layers import Layer
from minidl.text.progress import Progress
from minidl.visual.truncate import LayerInfo

ROWS = 256  # units whose norms are in memory, twice


@dataclass
class State:
    """An earlier state of the network; `load` reads it."""

    epoch: int
    top1: float | None
    load: Callable[[], Layer]


def add_snapshot(
    viewed: Viewed, state: State, layers: list[LayerInfo], norm: str, drawn: Sequence[np.ndarray], tiles: Tiles,
    work: Work,
) -> Snapshot:  # fmt: skip
    """Looks at all images with an earlier state of the network, and draws its units.

    drawn    of each layer, bool (units,): which ones; nothing: none
    """
    name = f"epoch-{state.epoch:03}"
    earlier = replace(viewed, model=state.load())
    seen = _seen(f"epoch {state.epoch}", earlier, layers, norm, work, name)
    with Progress(f"drawing epoch {state.epoch}", int(sum(map(np.sum, drawn))), "unit") as bar:
        for number, info in enumerate(layers):
            probe = seen.probes[info.name]
            tops, values, units = probe.images[norm], probe.values[norm], np.arange(info.units)
            selectivity = probe.selectivity
            if drawn:
                series = f"{name}-{number:03}"
                named = [(info.name, u) if drawn[number][u] else None for u in units]
                work.once(series, partial(_draw, earlier, named, series, norm, tops, tiles, work, bar.add))
            there = tops >= 0
            put(
                work.folder,
                f"{name}-{number:03}",
                [Seen(pairs(tops[u][there[u]], values[u][there[u]]), short(selectivity[u])) for u in units],
            )
    return Snapshot(state.epoch, state.top1)


def add_other(
    viewed: Viewed, other: Viewed, layers: list[LayerInfo], seen: Scan, norm: str, drawn: Sequence[np.ndarray],
    tiles: Tiles, work: Work,
) -> Other:  # fmt: skip
    """For every unit of `viewed` the unit of `other` that responds to the same images.

    Among the units of the layer of the same name, if there is one, or else among all. r is the correlation of the
    norms of the two units' maps over all images. The matches of the units `drawn` are drawn (see add_snapshot).
    """
    theirs, _ = choose(other.model, other.image_shape)
    found = _seen(other.title, other, theirs, norm, work, "other")
    names, matched = [info.name for info in theirs], []
    selectivity = {name: probe.selectivity for name, probe in found.probes.items()}
    with Progress("matching units", sum(info.units for info in layers), "unit") as bar:
        for info in layers:
            among = found.of(info.name) if info.name in names else found.norms
            matched.append(best_matches(seen.of(info.name), among))
            bar.add(info.units)
    with Progress("drawing the matches", int(sum(map(np.sum, drawn))), "unit") as bar:
        for number, (info, (best, r)) in enumerate(zip(layers, matched, strict=True)):
            among = [info.name] if info.name in names else names
            units = [(name, u) for name in among for u in range(found.probes[name].units)]
            matches = [units[b] for b in best]
            probes = [found.probes[name] for name, _ in matches]
            tops = np.stack([p.images[norm][u] for p, (_, u) in zip(probes, matches, strict=True)])
            values = np.stack([p.values[norm][u] for p, (_, u) in zip(probes, matches, strict=True)])
            if drawn:
                series = f"other-{number:03}"
                named = [match if here else None for match, here in zip(matches, drawn[number], strict=True)]
                work.once(series, partial(_draw, other, named, series, norm, tops, tiles, work, bar.add))
            put(
                work.folder,
                f"other-{number:03}",
                [
                    Match(name, u, short(c), pairs(t[t >= 0], v[t >= 0]), short(selectivity[name][u]))
                    for (name, u), c, t, v in zip(matches, r, tops, values, strict=True)
                ],
            )
    return Other(other.title, other.top1, short(np.median(np.concatenate([r for _, r in matched]))))


def _seen(title: str, viewed: Viewed, layers: list[LayerInfo], norm: str, work: Work, name: str) -> Scan:
    """`scan`; its errors say which network has diverged."""
    try:
        return scan(viewed, layers, norm, work, name)
    except DivergedError as error:
        raise DivergedError(f"{title}: {error}") from None


def best_matches(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row of a (units, images) the row of b with the largest correlation, and that correlation."""
    best, r = np.zeros(len(a), int), np.full(len(a), -np.inf)
    for i in range(0, len(a), ROWS):
        ours, rows = _standardised(a[i : i + ROWS]), np.arange(i, min(i + ROWS, len(a)))
        for j in range(0, len(b), ROWS):
            found = ours @ _standardised(b[j : j + ROWS]).T
            nearest = found.argmax(axis=1)
            found = found[np.arange(len(ours)), nearest]
            better = rows[found > r[rows]]
            best[better], r[better] = nearest[better - i] + j, found[better - i]
    return best, r


def _standardised(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    x -= x.mean(axis=1, keepdims=True)
    size = np.sqrt((x * x).sum(axis=1, keepdims=True))
    return x / np.where(size > 0, size, 1)  # a unit that never changes is like none


def _draw(
    viewed: Viewed, units: Sequence[tuple[str, int] | None], name: str, norm: str, tops: np.ndarray, tiles: Tiles,
    work: Work, on_unit: Callable[[int], None],
) -> None:  # fmt: skip
    """Draws the deconvnets of units (layer, unit) on their images (units, n) into the series `name`; None: gray."""
    sheets = Sheets(work.folder / "sheets", name, tiles, PROJECTIONS)
    there = tops[:, : int((tops[0] >= 0).sum())]  # with fewer than nine images all units have them all
    draw_deconvs(viewed, units, norm, there, sheets, on_unit)
    sheets.close()
