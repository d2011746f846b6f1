"""What each part of the preset `best` is worth: short trainings that differ from it in one thing.

    python -m benchmarks.recipe --data DATA [--only ROW ...] [--seeds 0 1 ...] [--threads N] [--results FOLDER]

They train on a part of the training set of Tiny ImageNet, and the accuracy is that on other images of the training
set. The official validation set isn't read. A finished training is one line of `recipe.jsonl` and isn't repeated;
`recipe.md` is written anew after each. The number of threads doesn't change the figures.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import models
from benchmarks.cli import RESULTS, run, table, write
from benchmarks.machine import cores
from benchmarks.techniques import Technique, cutmix, fast_betas, independent_flips, mixup, stretched, whitened
from minidl.text.progress import Progress
from minidl.training import run_data, session
from minidl.training.config import Config, make_config
from minidl.training.evaluation import evaluate
from minidl.training.execution import one_blas_thread
from minidl.training.network import make_model
from minidl.training.trainer import Callback, Trainer

# The average covers the same share of the steps as in 70 epochs of all images, about 2,000 of 54,670.
SHORT = {"subset": 0.3, "val_split": 0.5, "epochs": 8, "ema": 0.97}


class Row(NamedTuple):
    """The recipe with one change: other settings of `train`, or a technique that it doesn't offer."""

    words: str
    settings: dict[str, Any] = {}
    technique: Technique | None = None


ROWS = {
    "recipe": Row("no change"),
    "adamw": Row("AdamW in place of SGD", {"optimizer": "adamw", "lr": 4e-3, "weight_decay": 0.02}),
    "peak-0.1": Row("half the learning rate", {"lr": 0.1}),
    "peak-0.4": Row("twice the learning rate", {"lr": 0.4}),
    "decay-1e-4": Row("a fifth of the weight decay", {"weight_decay": 1e-4}),
    "decay-1e-3": Row("twice the weight decay", {"weight_decay": 1e-3}),
    "no-decay": Row("no weight decay of biases and batch normalization", {"decay_all": False}),
    "batch-64": Row("batches of 64, half the learning rate", {"batch_size": 64, "lr": 0.1}),
    "batch-256": Row("batches of 256, twice the learning rate", {"batch_size": 256, "lr": 0.4}),
    "hard-labels": Row("no label smoothing", {"label_smoothing": 0.0}),
    "no-average": Row("the last weights, not their average", {"ema": 0.0}),
    "full-size": Row("64 pixels from the start", {"start_size": 0}),
    "shifts": Row("flips and shifts by 4 pixels; 64 pixels from the start", {"augment": "online", "start_size": 0}),
    "small-crops": Row("crops of a quarter of the image or more", {"crop_area": 0.25}),
    "large-crops": Row("crops of three quarters of the image or more", {"crop_area": 0.75}),
    "stretch-50": Row("stretched in the first 50 % of the epochs, not 85 %", {}, partial(stretched, share=0.5)),
    "stretch-100": Row("stretched in all epochs", {}, partial(stretched, share=1.0)),
    "dropout": Row("dropout of 0.2 before the last layer", {"dropout": 0.2}),
    "flips": Row("an image is mirrored by chance, not in every second epoch", {}, independent_flips),
    "whitened": Row("first filters that whiten the patches of images", {}, whitened),
    "fast-betas": Row("biases of batch normalization learn 8 times as fast", {}, fast_betas),
    "mixup": Row("mixup, alpha 0.2", {}, mixup),
    "cutmix": Row("cutmix, alpha 1, in every batch", {}, cutmix),
}


class Result(NamedTuple):
    """One training; accuracies are shares of the images held out."""

    row: str
    seed: int
    top1: float
    top5: float
    loss: float
    train_loss: float  # of the last epoch
    images: int  # held out
    minutes: float


class Bar(Callback):
    def __init__(self, bar: Progress) -> None:
        self.bar = bar

    def on_step(self, trainer: Trainer) -> None:
        self.bar.add(1)


def measure(name: str, config: Config) -> Result:
    """Trains the row `name` with `config` from nothing, and evaluates it on all images held out."""
    data = run_data.load_data(config)
    with one_blas_thread():
        trainer = session.make_trainer(config, data, make_model(config, data, models.build))
        trainer.val.limit = 1  # one batch after each epoch, which takes no time; all of them at the end
        if ROWS[name].technique is not None:
            ROWS[name].technique(trainer)
        with Progress(f"{name}, seed {config.seed}", config.epochs * len(trainer.train), "step") as bar:
            trainer.callbacks.append(Bar(bar))
            state = trainer.fit()
        trainer.val.limit = None
        with nullcontext() if trainer.average is None else trainer.average.used():
            found = evaluate(trainer.model, trainer.val)
    return Result(
        name,
        config.seed,
        found.top1,
        found.top5,
        found.loss,
        state.history[-1]["train_loss"],
        found.images,
        round(state.seconds / 60, 1),
    )


def read(path: Path) -> list[Result]:
    """The trainings that are done."""
    if not path.exists():
        return []
    return [Result(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]


def report(results: list[Result]) -> str:
    """A table of the rows that are done, each with its difference from the recipe over the same seeds."""
    base = {r.seed: r for r in results if r.row == "recipe"}
    lines = [list(_line(name, [r for r in results if r.row == name], base)) for name in ROWS]
    head = ["row", "the recipe, but", "top-1", "top-5", "loss", "seeds", "difference of top-1", "minutes"]
    return table(head, [line for line in lines if line])


def _line(name: str, found: list[Result], base: dict[int, Result]) -> Iterator[object]:
    if not found:
        return
    yield from (f"`{name}`", ROWS[name].words)
    yield f"{100 * mean(r.top1 for r in found):.1f} %"
    yield f"{100 * mean(r.top5 for r in found):.1f} %"
    yield f"{mean(r.loss for r in found):.3f}"
    yield len(found)
    pairs = [(r, base[r.seed]) for r in found if r.seed in base and name != "recipe"]
    yield difference(pairs) if pairs else ""
    yield f"{mean(r.minutes for r in found):.0f}"


def difference(pairs: list[tuple[Result, Result]]) -> str:
    """The mean difference of (row, recipe) in points, with its standard error.

    Of one seed the error is that of two shares of n images, sqrt((p (1 - p) + q (1 - q)) / n). Of several it is the
    larger of that, divided by the root of the number of seeds, and what the seeds themselves show.
    """
    apart = [a.top1 - b.top1 for a, b in pairs]
    drawn = mean((a.top1 * (1 - a.top1) + b.top1 * (1 - b.top1)) / a.images for a, b in pairs)
    error = math.sqrt(max(drawn, stdev(apart) ** 2 if len(apart) > 1 else 0) / len(apart))
    points = round(100 * mean(apart), 1) + 0.0  # without the sign of -0.0
    return f"{points:+.1f} ± {100 * error:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipe", description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="Tiny ImageNet, as train.py's")
    parser.add_argument("--only", nargs="+", choices=tuple(ROWS), metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="SEED", help="default: 0")
    parser.add_argument("--threads", type=int, default=cores(), help="default: all cores")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="default: benchmarks/results")
    args = parser.parse_args()
    args.results.mkdir(parents=True, exist_ok=True)
    lines = args.results / "recipe.jsonl"
    for seed in args.seeds:
        for name in args.only or ROWS:
            if any((r.row, r.seed) == (name, seed) for r in read(lines)):
                print(f"{name}, seed {seed}: in {lines} already; another --results repeats it", file=sys.stderr)
                continue
            own = {**ROWS[name].settings, "data": args.data, "seed": seed, "threads": args.threads}
            result = measure(name, make_config("best", {**SHORT, **own}))
            with lines.open("a", encoding="utf-8") as file:
                file.write(json.dumps(result._asdict()) + "\n")
            print(f"{name}, seed {seed}: top-1 {100 * result.top1:.1f} %, {result.minutes} min", file=sys.stderr)
            write(args.results / "recipe.md", f"# Parts of the recipe\n\n{HEAD}\n\n{report(read(lines))}\n")


HEAD = """Written by `python -m benchmarks.recipe --data DATA`; `--only ROW --results FOLDER` repeats a row elsewhere.

Each row is a training of 8 epochs on 15,000 images of the training set; the accuracy is that on 15,000 others of
the training set. The preset is `best` with its average shortened to the length (`--ema 0.97`). The difference is
the mean over the seeds that both have, with its standard error."""


if __name__ == "__main__":
    run(main)
