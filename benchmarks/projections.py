"""Deconvnet projections per second: minidl against Captum, for the same units, images and weights.

    python -m benchmarks.projections [--quick] [--json PATH] [--layer inception4] [--data DATA] [--run RUN]
                                     [--threads N] [--units 128] [--rounds 5] [--sweep-pairs 128] [--results FOLDER]

A pair is a unit of one layer of the refined net, and one of the nine images of the validation split that excite it
most. The deconvnet brings the unit's map back to the pixels, with BN as in the gradient, because Captum has no other
rule. Each contender runs in a process of its own, in alternating rounds. Captum's speed depends on its batch size: a
first comparison finds the best one for each of torch's layouts, and a second one compares these with minidl on all
pairs. Without --run the weights are random and the running statistics are those of one batch.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

import models
from benchmarks.cli import as_json, conditions, flags, results_folder, run, settings, write
from benchmarks.contenders import choose
from benchmarks.machine import describe
from benchmarks.rounds import Task, alternate, working
from minidl.errors import UsageError
from minidl.layers import TRAIN, BatchNorm2D, Layer, Rule
from minidl.storage.weights import load_arrays, load_weights, save_arrays, save_weights
from minidl.training import run_data
from minidl.training.checkpoints import load_checkpoint
from minidl.training.config import Config
from minidl.training.run_data import Data
from minidl.training.runs import find_checkpoint
from minidl.visual.probe import probe

MODEL = "refined"  # which torch has too
RULE = Rule("deconv", bn="scale", unpool="sum")  # Captum's
BATCH_SIZES, QUICK_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64), (4, 16)
STATISTICS_IMAGES = 100


class Pairs(NamedTuple):
    """Units of one layer of a network, and their images; the contenders read them from a folder."""

    model: Layer
    layer: str
    classes: int
    x: np.ndarray  # float32 (N, H, W, 3): all images of the units, each once
    tops: np.ndarray  # int (units, n): each unit's, as positions in x
    units: np.ndarray  # int (units,)

    def save(self, folder: Path) -> None:
        save_weights(folder / "weights", self.model, {"layer": self.layer, "classes": str(self.classes)})
        save_arrays(folder / "pairs", {"x": self.x, "tops": self.tops, "units": self.units})

    @staticmethod
    def load(folder: Path) -> Pairs:
        arrays, (_, about) = load_arrays(folder / "pairs")[0], load_arrays(folder / "weights")
        model = models.build(MODEL, int(about["classes"]))
        load_weights(folder / "weights", model)
        return Pairs(model, about["layer"], int(about["classes"]), **arrays)


def network(checkpoint: Path | None, data: str | None) -> tuple[Layer, Data, str]:
    """The network of a run, or an untrained one; its data set; and both in words."""
    if checkpoint:
        saved = load_checkpoint(find_checkpoint(checkpoint))
        if saved.about.model != MODEL:
            raise UsageError(f"{checkpoint}: a {saved.about.model} net; only {MODEL} has a twin in torch")
        images = run_data.saved_data(saved, data)
        return saved.build(models.build), images, f"trained weights, epoch {saved.state.epoch}"
    images = run_data.load_data(Config(data=data or "shapes"))
    model = models.build(MODEL, len(images.dataset.classes))
    for layer in model.leaves():
        if isinstance(layer, BatchNorm2D):
            layer.momentum = 1.0  # running statistics are those of the last batch
    x, _ = next(images.loader(images.val, STATISTICS_IMAGES).epoch(0))
    model.forward(x, TRAIN)
    return model, images, "random weights"


def find_pairs(model: Layer, data: Data, layer: str, units: int, threads: int) -> Pairs:
    """Some units that aren't dead, from all over the layer, each with the images of the largest l2 norm."""
    classes = len(data.dataset.classes)
    found = probe(model, [layer], data.loader(data.val), classes, norms=("l2",), threads=threads)[layer]
    living = np.flatnonzero(~found.dead)
    if not len(living):
        raise UsageError(f"{layer}: all its units are 0 on all images")
    chosen = living[np.linspace(0, len(living) - 1, min(units, len(living))).astype(int)]
    positions, tops = np.unique(found.images["l2"][chosen, : len(data.val)], return_inverse=True)
    x, _ = data.loader(data.val).batch(positions, 0)
    return Pairs(model, layer, classes, x, tops.reshape(len(chosen), -1), chosen)


def best_batches(
    names: list[str], sizes: tuple[int, ...], pairs: int, threads: int, rounds: int, folder: str
) -> dict[str, dict[int, float]]:
    """Projections per second of each of Captum's layouts at every batch size."""
    tasks = {
        (name, size): Task("projections", name, size, threads, -(-pairs // size), f"{name}, batch {size}", (folder,))
        for name in names
        for size in sizes
    }
    with working(tasks.values()) as workers:
        seen = alternate(workers, "project", rounds)
    return {name: {size: rate(tasks[name, size], seen) for size in sizes} for name in names}


def compare(batch_sizes: dict[str, int], pairs: int, threads: int, rounds: int, folder: str) -> list[dict[str, Any]]:
    """A row of figures for every contender; `batch_sizes` are Captum's, minidl takes all pairs at once."""
    tasks = []
    for name in choose("projections"):
        size = batch_sizes.get(name, pairs)
        tasks.append(Task("projections", name, size, threads, -(-pairs // size), extra=(folder,)))
    with working(tasks) as workers:
        seen = alternate(workers, "project", rounds)
    return [
        {
            "contender": task.name,
            "batch_size": batch_sizes.get(task.name),
            "projections_s": rate(task, seen),
            "peak_rss_mb": round(seen[str(task)][-1]["peak_rss_mb"]),
        }
        for task in tasks
    ]


def rate(task: Task, seen: dict[str, list[dict[str, float]]]) -> float:
    return round(median(task.batch_size * task.steps / measured["seconds"] for measured in seen[str(task)]), 2)


def table(rows: list[dict[str, Any]]) -> str:
    best = max((row["projections_s"] for row in rows if row["batch_size"]), default=None)
    lines = ["| | batch size | projections/s | ratio to Captum's best | peak RSS |", "|---|---:|---:|---:|---:|"]
    for row in rows:
        speed, ratio = row["projections_s"], f"{row['projections_s'] / best:.2f}" if best else ""
        lines.append(
            f"| {row['contender']} | {row['batch_size'] or ''} | {speed:.1f} | {ratio} | {row['peak_rss_mb']:,} MB |"
        )
    return "\n".join(lines)


def batch_table(speeds: dict[str, dict[int, float]]) -> str:
    sizes = list(next(iter(speeds.values())))
    lines = [f"| projections/s at batch size | {' | '.join(map(str, sizes))} |", f"|---|{'---:|' * len(sizes)}"]
    lines += [f"| {name} | {' | '.join(f'{v:.1f}' for v in by.values())} |" for name, by in speeds.items()]
    return "\n".join(lines)


def report(figures: dict[str, Any]) -> str:
    chosen, p = figures["settings"], figures["pairs"]
    head = (
        f"Deconvnet from {p['layer']} of the {MODEL} net to the pixels ({RULE.bn} BN, {RULE.unpool} unpooling, seed "
        f"a/||a||), 64x64 images, float32; {p['weights']}. {p['pairs']:,} pairs: {p['units']} units with the "
        f"{p['pairs'] // p['units']} images of {p['data']} (val) that excite each most, {p['images']:,} different "
        f"images. {chosen['threads']} threads each, medians of {chosen['rounds']} alternating rounds of all pairs. "
        "Of pairs with the same image minidl computes the way up once; in the row own_images every pair has an image "
        "of its own."
    )
    sweep = f"How Captum's batch sizes were chosen, in rounds of {chosen['sweep_pairs']} pairs:"
    tables = [table(figures["projections"]), "", sweep, "", batch_table(figures["captum_batches"])]
    return "\n".join([head, "", *tables, "", conditions(figures)])


def main() -> None:
    parser = flags("benchmarks.projections", __doc__, units=(128, 4), rounds=(5, 1), sweep_pairs=(128, 16))
    parser.add_argument("--layer", default="inception4", help="default inception4")
    parser.add_argument("--data", help="as train.py's (default: that of the run, else shapes)")
    parser.add_argument("--run", type=Path, metavar="RUN", help="run folder or checkpoint (default: random weights)")
    args = parser.parse_args()
    captum = [name for name in choose("projections") if name.startswith("captum")]
    chosen = settings(parser, args)
    threads, rounds = chosen["threads"], chosen["rounds"]
    model, data, weights = network(args.run, args.data)
    pairs = find_pairs(model, data, args.layer, chosen["units"], threads)
    about = {
        "layer": pairs.layer,
        "weights": weights,
        "data": data.dataset.name,
        "units": len(pairs.units),
        "pairs": pairs.tops.size,
        "images": len(pairs.x),
    }
    with tempfile.TemporaryDirectory() as folder:
        pairs.save(Path(folder))
        sizes = QUICK_BATCH_SIZES if args.quick else BATCH_SIZES
        speeds = best_batches(captum, sizes, chosen["sweep_pairs"], threads, rounds, folder)
        best = {name: max(by, key=by.get) for name, by in speeds.items()}
        rows = compare(best, pairs.tops.size, threads, rounds, folder)
    figures = {
        "machine": describe(),
        "settings": chosen,
        "pairs": about,
        "captum_batches": speeds,
        "projections": rows,
    }
    print(report(figures))
    if args.json:
        write(args.json, as_json(figures))
    if folder := results_folder(args):
        head = "# Projections\n\nWritten by `python -m benchmarks.projections`.\n\n"
        write(folder / "projections.md", f"{head}{report(figures)}\n")


if __name__ == "__main__":
    run(main)
