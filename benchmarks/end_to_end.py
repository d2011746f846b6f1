"""What the training loop costs: a bare training step on random images against the same step inside `train.py`.

    python -m benchmarks.end_to_end [--data DATA] [--batch-size 64] [--rounds 7] [--steps 10] [--engine fused]

The loop is that of `train.py --augment online --dropout 0.4` for the refined net: loader, augmentation, count of
right answers, progress, checkpoints (five a minute here, one in three minutes there). A round is `--steps` steps of
the loop and then as many bare ones, in one process. The report has medians over rounds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

import models
from minidl.cli.flags import count
from minidl.errors import MinidlError
from minidl.layers import TRAIN
from minidl.losses import softmax_cross_entropy
from minidl.training import run_data, session
from minidl.training.callbacks import Checkpointer, StopRequested
from minidl.training.config import ENGINES, Config
from minidl.training.execution import one_blas_thread
from minidl.training.network import make_model
from minidl.training.reports import ProgressBar
from minidl.training.runs import Run
from minidl.training.trainer import Callback, Trainer


class Alternate(Callback):
    """Stops the trainer after every `steps` steps for as many bare steps; the first round warms up."""

    def __init__(self, bare_step: Callable[[int], None], steps: int, rounds: int) -> None:
        self.bare_step, self.steps, self.rounds = bare_step, steps, rounds
        self.loop: list[float] = []  # seconds of each round
        self.bare: list[float] = []

    def on_step(self, trainer: Trainer) -> None:
        step = trainer.state.step
        if step % self.steps:
            return
        begun = time.perf_counter()
        for i in range(self.steps):
            self.bare_step(step + i)
        if step > self.steps:
            self.loop.append(begun - self.resumed)
            self.bare.append(time.perf_counter() - begun)
        if len(self.bare) == self.rounds:
            raise StopRequested
        self.resumed = time.perf_counter()


def measure(config: Config, steps: int, rounds: int) -> Alternate:
    """The seconds of all rounds."""
    data = run_data.load_data(config)
    trainer, other = (session.make_trainer(config, data, make_model(config, data, models.build)) for _ in range(2))
    model, optimizer, rng = other.model, other.optimizer, np.random.default_rng(0)
    x = rng.standard_normal((config.batch_size, *data.dataset.image_shape), np.float32)
    y = rng.integers(0, len(data.dataset.classes), config.batch_size)

    def bare_step(step: int) -> None:
        logits, cache = model.forward(x, TRAIN.at_step(step))
        _, dlogits = softmax_cross_entropy(logits, y)
        model.zero_grad()
        model.backward(dlogits, cache, need_dx=False)
        optimizer.step()

    alternate = Alternate(bare_step, steps, rounds)
    with tempfile.TemporaryDirectory() as output:
        run = Run.create(Path(output), "run", config)
        saver = Checkpointer(run, session.about(config, data), config.checkpoint_minutes)
        trainer.callbacks += [ProgressBar(), saver, alternate]
        try:
            trainer.fit()
        except StopRequested:
            return alternate


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.end_to_end", description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="shapes", help="as train.py's (default shapes)")
    parser.add_argument("--batch-size", type=count, default=64)
    parser.add_argument("--engine", choices=ENGINES, default="fused")
    parser.add_argument("--rounds", type=count, default=7)
    parser.add_argument("--steps", type=count, default=10, help="a round (default 10)")
    args = parser.parse_args()
    settings = {"data": args.data, "batch_size": args.batch_size, "engine": args.engine}
    config = Config(**settings, augment="online", dropout=0.4, epochs=1000, checkpoint_minutes=0.2)
    with one_blas_thread():
        seconds = measure(config, args.steps, args.rounds)
    loop, bare = (config.batch_size * args.steps / median(s) for s in (seconds.loop, seconds.bare))
    print(f"{config.engine}, batch {config.batch_size}, {args.data}: medians of {args.rounds} rounds")
    print(f"bare step {bare:.1f} images/s, in the training loop {loop:.1f} images/s: {loop / bare:.1%}")


if __name__ == "__main__":
    try:
        main()
    except MinidlError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
