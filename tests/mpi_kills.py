"""kill -9 of a random rank: all ranks must be gone in ten seconds, a line must say which one died, and the run,
resumed on another number of ranks, must end in the same bits.

    python -m tests.mpi_kills [--kills 20] [--seed 0] [--ranks 1 2 4]

A third of the kills come while the ranks start, a third at a moment drawn from the length of an undisturbed run, a
third while a checkpoint is written, as they are after every step. Before the ranks have met, the launcher alone can
say that one died. Weights, optimizer state and metrics, but for the two time columns, are held against those of an
undisturbed run of one process (--exact).
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from tests.kills import moment, result, wait_for
from tests.mpiexec import TINY, lines_of, processes, start

GONE = 10.0  # seconds
SETTINGS = [*TINY, "--exact", "--epochs", "2", "--dropout", "0.2", "--augment", "online", "--ema", "0.9"]
SETTINGS += ["--checkpoint-minutes", "1e-9"]


def train(folder: Path, ranks: int):
    """The run in `folder`, new or resumed."""
    if folder.exists():
        return start(ranks, "train", "--resume", str(folder))
    return start(ranks, "train", *SETTINGS, "--output", str(folder.parent), "--name", folder.name)


def finish(process) -> None:
    _, errors = process.communicate()
    if process.returncode:
        sys.exit(f"the run failed with exit code {process.returncode}: {errors}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    args = parser.parse_args()
    rng, said = random.Random(args.seed), Counter()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        begun = time.monotonic()
        finish(train(root / "whole", 1))
        seconds = time.monotonic() - begun
        arrays, rows = result(root / "whole")
        print(f"an undisturbed run of one process takes {seconds:.1f} s", flush=True)
        for kill in range(args.kills):
            folder, ranks = root / f"trial{kill}", rng.choice([n for n in args.ranks if n > 1])
            process = train(folder, ranks)
            wait_for(lambda folder=folder, ranks=ranks: len(processes(folder)) == ranks, 60)
            if kill % 3:
                wait_for(lambda folder=folder: (folder / "checkpoints").exists(), 60)
                time.sleep(rng.uniform(0, 0.5) * seconds)
            else:
                time.sleep(rng.uniform(0, 0.3) * seconds)
            if kill % 3 == 1:
                wait_for(lambda folder=folder: any(folder.glob("checkpoints/.tmp-*")))
            there = processes(folder)
            if not there:
                print(f"kill {kill + 1:2}: the run was over already", flush=True)
                finish(process)
                continue
            victim = rng.choice(sorted(there))
            os.kill(there[victim], signal.SIGKILL)
            begun = time.monotonic()
            _, errors = process.communicate()
            wait_for(lambda folder=folder: not processes(folder), 60)
            gone = time.monotonic() - begun
            lines = lines_of("minidl", errors)
            right = [text.startswith(f"minidl: rank {victim} on {socket.gethostname()} has died") for text in lines]
            known = {(True,): "one line", (False,): "one line, about another rank", (): "no line"}
            says = known.get(tuple(right), f"{len(lines)} lines")
            said[says] += 1
            met, again = moment(folder) if folder.exists() else "before the run began", rng.choice(args.ranks)
            if len(lines) != 1 and folder.exists():
                sys.exit(f"{says} about rank {victim}: {errors}")
            finish(train(folder, again))
            ended, rows_again = result(folder)
            same = ended.keys() == arrays.keys() and all(np.array_equal(ended[n], a) for n, a in arrays.items())
            print(
                f"kill {kill + 1:2} of rank {victim} of {ranks}, {met}: gone after {gone:.1f} s, "
                f"{says}, resumed on {again}: {'same bits' if same and rows_again == rows else 'OTHER BITS'}",
                flush=True,
            )
            if gone > GONE or not same or rows_again != rows:
                sys.exit("ranks live on, or the resumed run differs from the undisturbed one")
    print(f"{args.kills} kills, all ranks gone, all resumed to the same bits; {dict(said)}")


if __name__ == "__main__":
    main()
