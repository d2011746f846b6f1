"""kill -9 at random moments of a run, packing and checkpoints included: resumed, it must end in the same bits.

    python -m tests.kills [--kills 20] [--seed 0]

Every trial starts with an empty cache, is killed, and is then resumed. Half of the kills come at a moment drawn from
the whole length of an undisturbed run, a quarter while the data is packed, a quarter while a checkpoint is written.
In every second trial another process looks at the run all the time.
Weights, optimizer state and metrics (but for the two time columns) are held against those of an undisturbed run.
Checkpoints are written after every step.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from minidl.data.export import export_tiny_imagenet_layout
from minidl.data.shapes import load_shapes
from minidl.storage.weights import load_arrays

ROOT = Path(__file__).parents[1]
TRAIN = [sys.executable, str(ROOT / "train.py")]
SETTINGS = ["--model", "convnet", "--batch-size", "50", "--epochs", "2", "--dropout", "0.2", "--ema", "0.99"]
SETTINGS += ["--augment", "crops", "--start-size", "40", "--threads", "1", "--checkpoint-minutes", "1e-9"]


def start(data: Path, folder: Path, flags: Sequence[str] = ()) -> subprocess.Popen:
    """The run in `folder`, new (with `flags`) or resumed, with its packed cache beside it."""
    settings = ["--resume", str(folder)]
    if not folder.exists():
        settings = ["--data", str(data), *SETTINGS, "--output", str(folder.parent), "--name", folder.name, *flags]
    env = {**os.environ, "MINIDL_CACHE": str(folder.parent / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*TRAIN, *settings], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen) -> None:
    _, errors = process.communicate()
    if process.returncode:
        sys.exit(f"the resumed run failed with exit code {process.returncode}: {errors}")


def look(folder: Path) -> subprocess.Popen:
    """Looks at the run in `folder` until it is killed; writes a line for each look that saw something."""
    commands = [
        f"train.main(['eval', {str(folder)!r}, '--threads', '1'])",
        f"visualize.main(['layers', {str(folder)!r}])",
    ]
    commands += [f"visualize.main(['history', {str(folder)!r}])"]
    commands += [f"visualize.main(['deconv', {str(folder)!r}, '--unit', '0', '--threads', '1'])"]
    code = f"""
import itertools, os, sys, train, visualize
screen = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
for look in itertools.cycle([{", ".join(f"lambda: {command}" for command in commands)}]):
    if look() == 0:
        print("seen", file=screen)
"""
    env = {**os.environ, "MINIDL_CACHE": str(folder.parent / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def result(folder: Path) -> tuple[dict[str, np.ndarray], list[dict[str, str]]]:
    """All arrays of the last checkpoint, and metrics.csv without its time columns."""
    with (folder / "metrics.csv").open() as file:
        rows = [{k: v for k, v in r.items() if k not in ("images_per_s", "seconds")} for r in csv.DictReader(file)]
    return load_arrays(folder / "checkpoints" / "last.safetensors")[0], rows


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.0002)


def moment(folder: Path) -> str:
    """What the kill met."""
    if not folder.exists():
        return "while packing" if (folder.parent / "cache").exists() else "before packing"
    writing = any(folder.glob("**/.tmp-*"))
    return "while a file was being written" if writing else "between two files"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        data = export_tiny_imagenet_layout(load_shapes(1000, 200), root / "data", progress=False)
        begun = time.monotonic()
        finish(start(data, root / "whole" / "run"))
        seconds = time.monotonic() - begun
        arrays, rows = result(root / "whole" / "run")
        print(f"an undisturbed run takes {seconds:.1f} s")
        for kill in range(args.kills):
            folder = root / f"trial{kill}" / "run"
            folder.parent.mkdir()
            process, begun = start(data, folder), time.monotonic()
            looker = look(folder) if kill % 2 else None
            if kill % 4 == 0:
                wait_for(lambda folder=folder: (folder.parent / "cache").exists())
                time.sleep(rng.uniform(0, 0.05) * seconds)
            elif kill % 4 == 1:
                time.sleep(rng.uniform(0.3, 0.9) * seconds)
                wait_for(lambda folder=folder: any(folder.glob("checkpoints/.tmp-*")))
            else:
                time.sleep(rng.uniform(0.1, 1) * seconds)
            process.kill()
            wait = time.monotonic() - begun
            process.communicate()
            met = moment(folder)
            finish(start(data, folder))
            if looker is not None:
                looker.kill()
                met += f", looked at {len(looker.communicate()[0].splitlines())} times"
            again, rows_again = result(folder)
            same = again.keys() == arrays.keys() and all(np.array_equal(again[n], a) for n, a in arrays.items())
            print(
                f"kill {kill + 1:2} after {wait:4.1f} s, {met}: {'same bits' if same else 'OTHER BITS'}", flush=True
            )
            if not same or rows_again != rows:
                sys.exit("the resumed run differs from the undisturbed one")
            shutil.rmtree(folder.parent)
    print(f"{args.kills} kills, {args.kills} resumed to the same bits")


if __name__ == "__main__":
    main()
