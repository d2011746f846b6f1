"""Train, evaluate and use the networks: `python train.py`, `python train.py --help`."""

from __future__ import annotations

import argparse
import sys

import models
from minidl.cli.data import check, download_data, export_shapes, show_batch
from minidl.cli.machine import doctor
from minidl.cli.parser import Commands, add_trained_flags, add_use_flags
from minidl.cli.search import find_lr, search_settings
from minidl.cli.train import fit
from minidl.cli.use import evaluate_run, export_weights, predict_images
from minidl.data import tiny_imagenet
from minidl.training import search
from minidl.training.config import PRESETS, add_flags, count, folder_name, pixels, positive, seed64, whole

KEPT_BY_RUNS = ("checkpoint_minutes", "snapshot_epochs", "keep")
NOT_OF_A_TRIAL = ("lr", "weight_decay", *KEPT_BY_RUNS)
NOT_OF_A_RANGE_TEST = ("epochs", "lr", "schedule", "drop_epoch", "warmup_epochs", "patience", *KEPT_BY_RUNS)


def make_commands() -> Commands:
    commands = Commands("train.py", __doc__, models)

    def presets(sub: argparse.ArgumentParser) -> None:
        about = "quick: the defaults below; paper: the report's settings; modern, best: ours, for 10 and 80 epochs"
        sub.add_argument("--preset", choices=list(PRESETS), help=about)

    def add_settings(sub: argparse.ArgumentParser) -> None:
        presets(sub)
        add_flags(sub, list(models.REGISTRY))

    sub = commands.add("fit", fit)
    add_settings(sub)
    sub.add_argument("--output", default="runs", metavar="DIR", help="where run folders go (default runs)")
    sub.add_argument("--name", type=folder_name, help="name of the run folder (default: time and model)")
    sub.add_argument(
        "--resume", nargs="?", const="auto", metavar="RUN", help="go on with this run (auto: the newest in --output)"
    )
    sub.add_argument("--dry-run", action="store_true", help="print what would be done, and stop")

    sub = commands.add("search", search_settings)
    add_flags(sub, list(models.REGISTRY), NOT_OF_A_TRIAL, search.DEFAULTS)
    for name, what in (("lr", "learning rates"), ("weight_decay", "weight decays")):
        low, high = search.RANGES[name]
        sub.add_argument(
            "--" + name.replace("_", "-"), nargs=2, metavar=("LOW", "HIGH"), type=positive, default=argparse.SUPPRESS,
            help=f"{what}, drawn log-uniformly between these (default {low:g} {high:g}, ours: the paper gives none)",
        )  # fmt: skip
    sub.add_argument(
        "--trials", type=count, default=argparse.SUPPRESS, help=f"how many, in all (default {search.TRIALS})"
    )
    sub.add_argument(
        "--sampler", choices=search.SAMPLERS, default=argparse.SUPPRESS,
        help="how settings are drawn: random, tpe (Bayesian), qmc (evenly spread) (default random)",
    )  # fmt: skip
    sub.add_argument("--output", default="runs", metavar="DIR", help="where search folders go (default runs)")
    sub.add_argument("--name", type=folder_name, help="name of the search folder (default: time and `search`)")
    sub.add_argument("--resume", metavar="FOLDER", help="go on with this search, or join in while it runs")

    sub = commands.add("find-lr", find_lr)
    presets(sub)
    add_flags(sub, list(models.REGISTRY), NOT_OF_A_RANGE_TEST)
    sub.add_argument("--from", dest="low", type=positive, default=1e-6, help="first learning rate (default 1e-06)")
    sub.add_argument("--to", dest="high", type=positive, default=10.0, help="last learning rate (default 10)")
    sub.add_argument("--steps", type=count, default=200, help="at most, within one epoch (default 200)")
    sub.add_argument(
        "--picture", default="find-lr.png", metavar="FILE",
        help="what to write, with a CSV beside it (default find-lr.png)",
    )  # fmt: skip

    sub = commands.add("eval", evaluate_run)
    add_trained_flags(sub, models.pretrained())
    add_use_flags(sub)
    sub.add_argument("--split", default="val", choices=("train", "val"), help="part of the data set (default val)")
    sub.add_argument("--json", action="store_true", help="print JSON")

    sub = commands.add("predict", predict_images)
    add_trained_flags(sub, models.pretrained(), photos=True)
    add_use_flags(sub)
    sub.add_argument("--split", choices=("train", "val", "test"), help="predict this part of the data set instead")
    sub.add_argument(
        "--output", metavar="DIR",
        help="write .csv and .txt files there (default: photos to the screen, a split to predictions/ of the run)",
    )  # fmt: skip

    sub = commands.add("export", export_weights)
    add_trained_flags(sub, models.pretrained())
    sub.add_argument("--output", metavar="FILE", help="what to write (default: MODEL.safetensors)")

    sub = commands.add("show-batch", show_batch)
    add_settings(sub)
    sub.add_argument("--epoch", type=whole, default=0, help="which epoch's first batch (default 0)")
    sub.add_argument("--picture", default="batch.png", metavar="FILE", help="what to write (default batch.png)")

    sub = commands.add("check-data", check)
    sub.add_argument("folder", metavar="DATA", help="a Tiny ImageNet zip or folder, or a folder of images")
    sub.add_argument("--image-size", type=pixels, default=64, help="expected size (default 64)")

    sub = commands.add("download", download_data)
    sub.add_argument("folder", nargs="?", default=".", metavar="DIR", help="where to (default: here)")
    sub.add_argument("--url", default=tiny_imagenet.URL, help="another address (default %(default)s)")
    sub.add_argument("--md5", metavar="HEX", help="checksum of the file at another address")
    sub.add_argument("--sha256", metavar="HEX", help="the same, by a better method")

    sub = commands.add("export-shapes", export_shapes)
    sub.add_argument("folder", metavar="DIR", help="a new or empty folder")
    sub.add_argument("--train", type=count, default=4000, help="training images (default 4000)")
    sub.add_argument("--val", type=count, default=1000, help="validation images (default 1000)")
    sub.add_argument("--seed", type=seed64, default=0, help="which images (default 0)")
    commands.add("doctor", doctor)
    return commands


def main(argv: list[str]) -> int:
    """Runs one command; without its name, `fit`."""
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help")):
        argv = ["fit", *argv]
    return make_commands().run(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
