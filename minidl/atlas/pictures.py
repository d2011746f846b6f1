"""The pictures of all units: what each sees in its images, and what a network with random weights sees there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from minidl.atlas.records import Layout, Tiles
from minidl.atlas.sheets import BACKGROUND, PROJECTIONS, Sheets
from minidl.atlas.viewed import Viewed, shown
from minidl.atlas.work import Arrays
from minidl.layers import Layer, Rule
from minidl.layers.base import Shape
from minidl.visual.control import likeness, null
from minidl.visual.probe import TOP
from minidl.visual.projection import RULE_SEEDS, Projector
from minidl.visual.screen import to_screen

RULES = ("deconv", "gradient", "guided")
SAYS = {
    "deconv": "deconvnet, BN skipped, from the derivative of the norm; mid-gray is zero",
    "gradient": "input gradient, from the unit's map; mid-gray is zero",
    "guided": "guided backpropagation, from the unit's map; mid-gray is zero",
}
CONTROLLED = 3  # of a unit's nine images also go through the network with random weights
UNITS_AT_ONCE, PIXELS_AT_ONCE = 32, 32 * 64 * 64


def layout(images: int, deciles: int) -> Layout:
    """Which pictures a unit has if there are this many images, and deciles."""
    parts, width = {}, 0
    for name, count in (
        *((rule, min(TOP, images)) for rule in RULES),
        *((f"random {rule}", min(CONTROLLED, images)) for rule in RULES),
        ("deciles", deciles),
    ):
        parts[name] = (width, count)
        width += count
    return Layout(width, parts)


class Pictures:
    """Draws the units of a layer. `random` is the network with random weights."""

    def __init__(self, viewed: Viewed, random: Layer, layer: str, norm: str, plan: Layout) -> None:
        self.viewed, self.plan = viewed, plan
        self.trained, self.random = (_projector(viewed, m, layer, norm, RULES) for m in (viewed.model, random))
        self.deconv = _projector(viewed, viewed.model, layer, norm, ("deconv",))

    def draw(
        self,
        units: np.ndarray,
        tops: np.ndarray,
        deciles: np.ndarray,
        sheets: tuple[Sheets, Sheets],
        on_unit: Callable[[int], None],
    ) -> Arrays:
        """Draws `units`, int (u,), into the sheets of a layer and of its wall, and returns what is known about them.

        tops, deciles    images of all units of the layer, int (units, n); those that are not drawn get gray tiles,
                         and on the wall the best image itself

        blank            bool (units, width): pictures of zeros alone
        likeness         (rules, units) to the same pictures of the network with random weights: mean over its images,
                         NaN without pictures
        null             (rules, units) the same to the pictures of another of the unit's images
        """
        count, few = len(tops), self.plan.parts["random deconv"][1]
        found = {
            "drawn": np.isin(np.arange(count), units),
            "blank": np.zeros((count, self.plan.width), bool),
            "likeness": np.full((len(RULES), count), np.nan, np.float32),
            "null": np.full((len(RULES), count), np.nan, np.float32),
        }
        at_once = units_at_once(self.viewed.image_shape)
        for start in range(0, count, at_once):
            block = np.arange(start, min(start + at_once, count))
            chosen = block[found["drawn"][block]]
            signals = ()
            if len(chosen):
                trained = self._signals(self.trained, chosen, tops[chosen])
                random = self._signals(self.random, chosen, tops[chosen, :few])
                signals = (trained, random, self._signals(self.deconv, chosen, deciles[chosen]))
            rest = block[~found["drawn"][block]]
            photos = self.viewed.pictures(tops[rest, 0]) if len(rest) else ()
            on_unit(self._put(found, block, chosen, signals, photos, sheets))
        for series in sheets:
            series.close()
        return found

    def _put(
        self, found: Arrays, block: np.ndarray, chosen: np.ndarray, signals: Sequence[np.ndarray],
        photos: Sequence[np.ndarray], sheets: tuple[Sheets, Sheets],
    ) -> int:  # fmt: skip
        """Puts the pictures of a block of units on the sheets, and adds what is known of them to `found`."""
        tiles = np.full((len(block), self.plan.width, *self.viewed.image_shape[:2], 3), BACKGROUND, np.uint8)
        if signals:
            trained, random, tenths = signals
            for i, (ours, theirs) in enumerate(zip(trained, random, strict=True)):
                few = ours[:, : theirs.shape[1]]
                found["likeness"][i, chosen] = _mean(likeness(few, theirs))
                found["null"][i, chosen] = _mean(null(few, theirs))
            pictures, blanks = zip(*map(_drawn, (*trained, *random, *tenths)), strict=True)
            tiles[chosen - block[0]] = np.concatenate(pictures, axis=1)
            found["blank"][chosen] = np.concatenate(blanks, axis=1)
        sheets[0].add(tiles.reshape(-1, *tiles.shape[2:]))  # (units, width, H, W, 3) -> (units width, H, W, 3)
        wall, rest = tiles[:, 0], ~found["drawn"][block]
        if rest.any():
            wall[rest] = photos
        sheets[1].add(wall)
        return len(chosen)

    def _signals(self, projector: Projector, units: np.ndarray, images: np.ndarray) -> np.ndarray:
        """The projections of the units on their images (units, n) by each rule, (rules, units, n, H, W, C)."""
        positions, image = np.unique(images, return_inverse=True)
        signals = projector(self.viewed.images(positions), image.ravel(), np.repeat(units, images.shape[1]))
        return signals.reshape(len(signals), *images.shape, *signals.shape[2:])  # (rules, units n, H, W, C)


def series(folder: Path, number: int, tiles: Tiles) -> tuple[Sheets, Sheets]:
    """The sheets of a layer's units and of its wall."""
    units, wall = (Sheets(folder, f"{what}-{number:03}", tiles, PROJECTIONS) for what in ("units", "wall"))
    return units, wall


def _projector(viewed: Viewed, model: Layer, layer: str, norm: str, rules: Sequence[str]) -> Projector:
    run, seeds = viewed.execution, {Rule(rule): RULE_SEEDS[rule] for rule in rules}
    return Projector(model, layer, seeds, norm=norm, engine=run.engine, threads=run.threads, xp=viewed.xp)


def _drawn(signals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Projections (units, n, H, W, C) for the screen, (units, n, H, W, 3), and which are zero, (units, n)."""
    pictures, blank = to_screen(signals.reshape(-1, *signals.shape[2:]))
    pictures = shown(pictures)
    return pictures.reshape(*signals.shape[:2], *pictures.shape[1:]), blank.reshape(signals.shape[:2])


def _mean(values: np.ndarray) -> np.ndarray:
    """The means of rows (units, n) without NaN; NaN where there is no number."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=1)
    return np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)


def draw_deconvs(
    viewed: Viewed, units: Sequence[tuple[str, int] | None], norm: str, tops: np.ndarray, sheets: Sheets,
    on_unit: Callable[[int], None],
) -> None:  # fmt: skip
    """Adds the deconvnets of units (layer, unit) of the model of `viewed` on their images (units, n) to sheets.

    In the place of a unit None the tiles are gray.
    """
    projectors: dict[str, Projector] = {}
    height, width = viewed.image_shape[:2]
    at_once = units_at_once(viewed.image_shape)
    for start in range(0, len(units), at_once):
        block, images = units[start : start + at_once], tops[start : start + at_once]
        pictures = np.full((*images.shape, height, width, 3), BACKGROUND, np.uint8)
        for layer in dict.fromkeys(unit[0] for unit in block if unit):
            if layer not in projectors:
                projectors[layer] = _projector(viewed, viewed.model, layer, norm, ("deconv",))
            rows = [i for i, unit in enumerate(block) if unit and unit[0] == layer]
            positions, image = np.unique(images[rows], return_inverse=True)
            numbers = np.repeat([block[i][1] for i in rows], images.shape[1])
            signals = projectors[layer](viewed.images(positions), image.ravel(), numbers)
            drawn = shown(to_screen(signals[0])[0])  # (rows n, H, W, 3)
            pictures[rows] = drawn.reshape(len(rows), *pictures.shape[1:])
        sheets.add(pictures.reshape(-1, *pictures.shape[2:]))  # (units, n, H, W, 3) -> (units n, H, W, 3)
        on_unit(sum(unit is not None for unit in block))


def units_at_once(image_shape: Shape) -> int:
    """How many units are drawn at once: fewer if the images are large, for the memory."""
    return max(1, min(UNITS_AT_ONCE, PIXELS_AT_ONCE // (image_shape[0] * image_shape[1])))
