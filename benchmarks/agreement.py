"""Two estimates that the pictures rest on, beside what they stand for, on the shipped network and real images.

    python -m benchmarks.agreement --data DATA [--quick] [--seeds 0 1] [--results FOLDER]

Effects: what the predicted class's score loses without a unit, by `first_order` and by really setting the unit's
map to zero (`ablated`), for 15 random units of each layer before the scores, on 200 random images of val.
Projections: the deconvnet from 400 random units of the last module, each on its own image of val, by the fused and by
the plain engine.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

import models
from benchmarks.cli import RESULTS, run, table, write_page
from minidl.engine import prepare
from minidl.layers import INFER, Layer, Rule
from minidl.text.progress import Progress
from minidl.training import run_data
from minidl.training.checkpoints import load_checkpoint
from minidl.visual.effects import BATCH, estimated_and_real
from minidl.visual.projection import Projector
from minidl.visual.truncate import layer_table

MODULE = "inception4"  # the last one
UNITS, IMAGES, PAIRS = 15, 200, 400
SAME = 1e-3  # a projection that differs by less, relative to its norm, differs by rounding
ALL = "all of these"


class Changes(NamedTuple):
    """Of the predicted class's score without a unit: the estimated and the real ones, each (units, images)."""

    estimated: np.ndarray
    real: np.ndarray

    def correlations(self, predicted: np.ndarray) -> tuple[float, float, float]:
        """Over each pair of a unit and an image; over each unit and predicted class, as means over the images of the
        class; over each unit, as means over all images. predicted (images,) are the classes.
        """
        by_class = [
            np.stack([changes[:, predicted == c].mean(axis=1) for c in np.unique(predicted)]) for changes in self
        ]
        means = [changes.mean(axis=1) for changes in self]
        return tuple(float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for a, b in (self, by_class, means))


def effects(model: Layer, units: Mapping[str, list[int]], x: np.ndarray, predicted: np.ndarray) -> dict[str, Changes]:
    """The changes without each of the `units`, {layer: units}, on images x whose predicted classes are given; by the
    module of the layer, which is the first part of its name, and of all of them.
    """
    scores = np.eye(model.out_shape(x.shape)[-1], dtype=x.dtype)[predicted]
    with Progress("setting units to zero", len(units), "layer") as bar:
        changes = estimated_and_real(model, units, x, scores, on_layer=lambda: bar.add(1))
    found: dict[str, list[Changes]] = {ALL: []}
    for layer, (estimated, real) in changes.items():
        for name in (layer.split(".")[0], ALL):
            found.setdefault(name, []).append(Changes(estimated, real))
    found[ALL] = found.pop(ALL)  # the last row
    return {name: Changes(*map(np.concatenate, zip(*some, strict=True))) for name, some in found.items()}


def differences(model: Layer, units: np.ndarray, x: np.ndarray) -> np.ndarray:
    """|fused - plain| / |plain| of the projection of units[n] on image n: (N,). Where |plain| is 0, 1 replaces it."""
    fused, plain = (Projector(model, MODULE, Rule("deconv"), engine=engine) for engine in ("fused", "plain"))
    found = []
    with Progress("projecting", len(x), "image") as bar:
        for start in range(0, len(x), BATCH):
            part = slice(start, start + BATCH)
            here = np.arange(len(x[part]))
            a, b = (way(x[part], here, units[part]).reshape(len(here), -1) for way in (fused, plain))
            norm = np.linalg.norm(b, axis=1)
            found.append(np.linalg.norm(a - b, axis=1) / np.where(norm > 0, norm, 1))
            bar.add(len(here))
    return np.concatenate(found)


def measure(model: Layer, x: np.ndarray, seed: int, share: int) -> tuple[dict[str, tuple[float, ...]], list[str]]:
    """The correlations by module, and the row of the second table; of 1 / `share` of the units and images."""
    rng, layers = np.random.default_rng(seed), layer_table(model, x.shape[1:])

    def some(array: np.ndarray, n: int) -> np.ndarray:
        return array[rng.choice(len(array), min(n // share, len(array)), replace=False)]

    units = {layer.name: some(np.arange(layer.units), UNITS).tolist() for layer in layers[:-1]}
    seen, projected = some(x, IMAGES), some(x, PAIRS)
    predicted = prepare(model).forward(seen, INFER)[0].argmax(axis=1)
    found = effects(model, units, seen, predicted)
    channels = next(layer.units for layer in layers if layer.name == MODULE)
    by = differences(model, rng.integers(channels, size=len(projected)), projected)
    return (
        {name: changes.correlations(predicted) for name, changes in found.items()},
        [str(seed), f"{(by > SAME).mean():.1%}", f"{by.max():.1%}"],
    )


def report(correlations: list[dict[str, tuple[float, ...]]], projections: list[list[str]]) -> str:
    """Both tables; one entry for each seed."""
    rows = [
        [name, *(", ".join(f"{found[name][k]:.2f}" for found in correlations) for k in range(3))]
        for name in correlations[0]
    ]
    head = ["module", "each unit and image", "each unit and predicted class", "each unit, mean over all images"]
    return "\n\n".join(
        (
            "Correlation of the estimated with the real change of the predicted class's score, for each seed:",
            table(head, rows),
            f"Projections by the fused and the plain engine, {MODULE}, deconv:",
            table(["seed", f"differ by more than {SAME:g} of the norm", "largest difference"], projections),
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agreement", description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="Tiny ImageNet, as train.py's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="one random choice each (default: 0 1)")
    parser.add_argument("--quick", action="store_true", help="a fifth of the units and images; writes nothing")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="default: benchmarks/results")
    args = parser.parse_args()
    checkpoint = load_checkpoint(models.weights_file("refined"))
    model = checkpoint.build(models.build)
    images = run_data.saved_data(checkpoint, args.data)
    x, _ = next(iter(images.loader(images.val, batch_size=len(images.val)).epoch(0)))
    found = [measure(model, x, seed, 5 if args.quick else 1) for seed in args.seeds]
    text = report(*map(list, zip(*found, strict=True)))
    print(text)
    if not args.quick:
        command = " ".join(["python -m benchmarks.agreement --data DATA --seeds", *map(str, args.seeds)])
        write_page(args.results / "agreement.md", "Agreement of estimates", command, text)


if __name__ == "__main__":
    run(main)
