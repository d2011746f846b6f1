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
from minidl.atlas.sheets import BACKGROUND, PROJECTIONS, Sheets
from minidl.atlas.viewed import Viewed
from minidl.atlas.work import Work
from minidl.atlas.write import put
from minidl.layers import Layer
from minidl.text.progress import Progress
from minidl.visual.truncate import LayerInfo


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
    """Looks at all images with an earlier state of the network, and draws the units `drawn` of each layer, (u,)."""
    name = f"epoch-{state.epoch:03}"
    earlier = replace(viewed, model=state.load())
    seen = scan(earlier, layers, norm, work, name)
    with Progress(f"drawing epoch {state.epoch}", sum(map(len, drawn)), "unit") as bar:
        for number, info in enumerate(layers):
            probe = seen.probes[info.name]
            tops, values, units = probe.images[norm], probe.values[norm], np.arange(info.units)
            if drawn:
                series = f"{name}-{number:03}"
                own = [(info.name, u) for u in units]
                draw = partial(_draw, earlier, own, series, norm, drawn[number], tops, tiles, work, bar.add)
                work.once(series, draw)
            there = tops >= 0
            put(
                work.folder,
                f"{name}-{number:03}",
                [Seen(pairs(tops[u][there[u]], values[u][there[u]]), short(probe.selectivity[u])) for u in units],
            )
    return Snapshot(state.epoch, state.top1)


def add_other(
    viewed: Viewed, other: Viewed, layers: list[LayerInfo], seen: Scan, norm: str, drawn: Sequence[np.ndarray],
    tiles: Tiles, work: Work,
) -> Other:  # fmt: skip
    """For every unit of `viewed` the unit of `other` that responds to the same images.

    Among the units of the layer of the same name, if there is one, or else among all. r is the correlation of the
    norms of the two units' maps over all images. The matches of the units `drawn` of each layer, (u,), are drawn.
    """
    theirs, _ = choose(other.model, other.image_shape)
    found = scan(other, theirs, norm, work, "other")
    names = [info.name for info in theirs]
    correlations = []
    with Progress("drawing the matches", sum(map(len, drawn)), "unit") as bar:
        for number, info in enumerate(layers):
            among = [info.name] if info.name in names else names
            units = [(name, u) for name in among for u in range(found.probes[name].units)]
            best, r = best_matches(seen.of(info.name), np.concatenate([found.of(name) for name in among]))
            matches = [units[b] for b in best]
            probes = [found.probes[name] for name, _ in matches]
            tops = np.stack([p.images[norm][u] for p, (_, u) in zip(probes, matches, strict=True)])
            values = np.stack([p.values[norm][u] for p, (_, u) in zip(probes, matches, strict=True)])
            if drawn:
                series, units = f"other-{number:03}", drawn[number]
                draw = partial(_draw, other, matches, series, norm, units, tops, tiles, work, bar.add)
                work.once(series, draw)
            put(
                work.folder,
                f"other-{number:03}",
                [
                    Match(name, u, short(c), pairs(t[t >= 0], v[t >= 0]), short(p.selectivity[u]))
                    for (name, u), c, t, v, p in zip(matches, r, tops, values, probes, strict=True)
                ],
            )
            correlations.append(r)
    return Other(other.title, other.top1, short(np.median(np.concatenate(correlations))))


def best_matches(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row of a (units, images) the row of b with the largest correlation, and that correlation."""
    a, b = (_standardised(x) for x in (a, b))
    r = a @ b.T
    best = r.argmax(axis=1)
    return best, r[np.arange(len(r)), best]


def _standardised(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    x -= x.mean(axis=1, keepdims=True)
    size = np.sqrt((x * x).sum(axis=1, keepdims=True))
    return x / np.where(size > 0, size, 1)  # a unit that never changes is like none


def _draw(
    viewed: Viewed, shown: list[tuple[str, int]], name: str, norm: str, units: np.ndarray, tops: np.ndarray,
    tiles: Tiles, work: Work, on_unit: Callable[[int], None],
) -> None:  # fmt: skip
    """Draws into a series what unit `shown[u]` (layer and number) sees, for u in `units`; other places stay gray."""
    there = tops[:, : int((tops[0] >= 0).sum())]  # with fewer than nine images all units have them all
    pictures = np.full((*there.shape, *viewed.image_shape[:2], 3), BACKGROUND, np.uint8)
    for layer in sorted({shown[i][0] for i in units}):
        rows = [i for i in units if shown[i][0] == layer]
        kept = _Kept()
        draw_deconvs(viewed, layer, norm, np.array([shown[i][1] for i in rows]), there[rows], kept, on_unit)
        pictures[rows] = np.concatenate(kept.parts).reshape(len(rows), *pictures.shape[1:])
    sheets = Sheets(work.folder / "sheets", name, tiles, PROJECTIONS)
    sheets.add(pictures.reshape(-1, *pictures.shape[2:]))  # (units, n, H, W, 3) -> (units n, H, W, 3)
    sheets.close()


class _Kept:
    """Takes tiles as Sheets do, and keeps them."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []

    def add(self, images: np.ndarray) -> None:
        self.parts.append(images)
