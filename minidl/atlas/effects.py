"""What scores lose without a unit, for every class, and which units lead to which mistake."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minidl.atlas.places import modules
from minidl.atlas.records import Agreement, Effects, Group, Pair
from minidl.atlas.viewed import Viewed
from minidl.atlas.work import Arrays, Work
from minidl.text.progress import Progress
from minidl.visual.effects import estimated_and_real
from minidl.visual.mean_effects import mean_effects
from minidl.visual.truncate import LayerInfo

IMAGES = 600  # that the estimates come from
MISTAKES = 1  # images of each of a class's most frequent mistakes that are among them
FREQUENT = 5  # mistakes of a class
TRIED_UNITS, TRIED_IMAGES = 8, 40  # of each layer, on which the estimate is compared with setting units to zero


@dataclass
class EffectsFound:
    """Mean changes of scores.

    by_class    by layer, (classes, units): of the class that is predicted; NaN where it never is
    mistakes    (true, predicted) -> row of `raised`
    raised    by layer of the last module before the scores, (mistakes, units): by how much a unit raises the score of
              the predicted class above that of the true one
    """

    agreement: Effects
    by_class: dict[str, np.ndarray]
    mistakes: dict[tuple[int, int], int]
    raised: dict[str, np.ndarray]

    def of_unit(self, layer: str, unit: int, most: int) -> list[Pair]:
        """The classes whose score loses most without it."""
        changes = np.nan_to_num(self.by_class[layer][:, unit])
        return [
            (int(c), float(f"{changes[c]:.4g}")) for c in np.argsort(changes, kind="stable")[:most] if changes[c] < 0
        ]

    def of_mistake(self, true: int, predicted: int, most: int) -> list[tuple[str, int, float]]:
        """The units that lead to this mistake most; none if no image with it was looked at."""
        row = self.mistakes.get((true, predicted))
        if row is None:
            return []
        units = [(name, u) for name, raised in self.raised.items() for u in range(raised.shape[1])]
        values = np.concatenate([raised[row] for raised in self.raised.values()])
        return [(*units[i], float(values[i])) for i in np.argsort(-values, kind="stable")[:most] if values[i] > 0]


def find_effects(
    viewed: Viewed, layers: list[LayerInfo], groups: list[Group], said: Arrays, work: Work
) -> EffectsFound:
    """The first-order effects on some images, and how well they agree with the real ones."""
    names = [info.name for info in layers]
    before = without_scores(layers, groups, len(viewed.classes))
    _, last = modules(before, groups)[-1]
    found = work.stage("effects", lambda: _measure(viewed, layers, before, last, said))
    pairs = {(int(t), int(p)): row for row, (t, p) in enumerate(found["mistakes"])}
    by_layer = [_agreement(r, units) for r, units in zip(found["correlations"], found["tried"], strict=True)]
    every = _agreement(found["correlation"], found["tried"].sum())
    return EffectsFound(
        Effects(every, by_layer, int(found["tried_images"]), int(found["images"])),
        {name: found[f"{i:03}_by_class"] for i, name in enumerate(names)},
        pairs,
        {names[i]: found[f"{i:03}_raised"] for i in last},
    )


def _agreement(r: np.ndarray, units: np.ndarray) -> Agreement:
    return Agreement(None if np.isnan(r) else round(float(r), 3), int(units))


def without_scores(layers: list[LayerInfo], groups: list[Group], classes: int) -> list[LayerInfo]:
    """The layers before the scores: all but the last one, if it has a unit for each class; all if it is the only one.

    For a unit that is a score, or a map whose mean is the score, the estimate is exact and says nothing new.
    """
    grouped = any(len(layers) - 1 in group.layers for group in groups)
    return layers[:-1] if len(layers) > 1 and not grouped and layers[-1].units == classes else layers


def _measure(
    viewed: Viewed, layers: list[LayerInfo], before: list[LayerInfo], last: list[int], said: Arrays
) -> Arrays:
    names, model = [info.name for info in layers], viewed.placed(viewed.model)
    predicted, labels, classes = said["best"][:, 0], said["labels"], len(viewed.classes)
    some = sample(predicted, labels, classes)
    with Progress("effects of units", len(some), "image") as bar:
        means = mean_effects(
            model, names, lambda positions: viewed.images(some[positions]), predicted[some], labels[some], classes,
            mistaken_in=[names[i] for i in last], xp=viewed.xp, threads=viewed.execution.threads, on_batch=bar.add,
        )  # fmt: skip
    pairs = sorted(means.mistakes)
    arrays = {"images": np.array(len(some)), "mistakes": np.array(pairs, np.int32).reshape(-1, 2)}
    for i, info in enumerate(layers):
        arrays[f"{i:03}_by_class"] = means.predicted[info.name].astype(np.float32)
    for i in last:
        rows = [means.mistakes[pair][names[i]] for pair in pairs]
        arrays[f"{i:03}_raised"] = np.stack(rows) if rows else np.zeros((0, layers[i].units), np.float32)
    positions = _spread(some, TRIED_IMAGES)
    changes = _compare(viewed, before, positions, predicted)
    everything = map(np.concatenate, zip(*changes.values(), strict=True))
    return {
        **arrays,
        "correlation": np.array(_correlation(*everything)),
        "correlations": np.array([_correlation(*changes[n]) if n in changes else np.nan for n in names]),
        "tried": np.array([len(changes[n][0]) if n in changes else 0 for n in names]),
        "tried_images": np.array(len(positions)),
    }


def sample(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Images of every predicted class, about as many of each, and some of each frequent mistake: their positions."""
    chosen, most = [], max(IMAGES // classes, 2)
    for c in range(classes):
        here = np.flatnonzero(predicted == c)
        chosen.append(_spread(here, most))
        wrong = predicted[(labels == c) & (predicted != c)]
        frequent = np.argsort(-np.bincount(wrong, minlength=classes), kind="stable")[:FREQUENT]
        chosen += [np.flatnonzero((labels == c) & (predicted == d) & (d != c))[:MISTAKES] for d in frequent]
    return np.unique(np.concatenate(chosen))


def _spread(positions: np.ndarray, most: int) -> np.ndarray:
    """At most so many of them, at equal distances."""
    return positions[np.linspace(0, len(positions) - 1, min(most, len(positions))).astype(int)]


def _compare(
    viewed: Viewed, layers: list[LayerInfo], positions: np.ndarray, predicted: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The estimated and the real change of the predicted class's score for some units of each layer: (units, n)."""
    x, run = viewed.images(positions), viewed.execution
    scores = np.eye(len(viewed.classes), dtype=x.dtype)[predicted[positions]]
    units = {
        info.name: np.unique(np.linspace(0, info.units - 1, min(TRIED_UNITS, info.units)).astype(int)).tolist()
        for info in layers
    }
    with Progress("trying without units", len(layers), "layer") as bar:
        return estimated_and_real(
            viewed.placed(viewed.model), units, x, scores,
            engine=run.engine, threads=run.threads, xp=viewed.xp, on_layer=lambda: bar.add(1),
        )  # fmt: skip


def _correlation(estimate: np.ndarray, real: np.ndarray) -> float:
    """NaN if either never changes."""
    a, b = (values.astype(np.float64).ravel() for values in (estimate, real))
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else np.nan
