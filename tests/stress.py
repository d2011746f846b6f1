"""The fused engine with many users, for as long as you like: every answer must be, bit for bit, the one given alone.

    python -m tests.stress [--seconds 60] [--seed 0]

Round after round, one of these with 1, 2 or 4 engine threads: two or three callers of one model, or of several, with
batches of changing sizes; training beside evaluation; Ctrl-C once, twice or three times in a row at random moments;
a forked and a spawned child, started while others are at work; deep copies. Ends with exit code 1 at the first
difference, and says which round it was.
"""

from __future__ import annotations

import argparse
import copy
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing import get_context

import numpy as np

from minidl.engine import fuse
from minidl.engine.tiles.runner import ONE_BLAS_THREAD
from minidl.layers import INFER, TRAIN, BatchNorm2D, Layer
from models import build
from tests.engine.test_runner import blas_threads

SIZES = [(4, 32), (1, 64), (7, 40), (3, 33), (16, 32)]  # images, height and width
PASSES = 4  # of every caller in a round


class Model:
    """A fused model with the answers and gradients it gives alone; its running statistics stand still."""

    def __init__(self, name: str, threads: int) -> None:
        plain = build(name, classes=20, seed=1)
        for leaf in plain.leaves():
            if isinstance(leaf, BatchNorm2D):
                leaf.momentum = 0.0
        self.layer, rng = fuse(plain, threads), np.random.default_rng(0)
        self.xs = [rng.standard_normal((n, size, size, 3)).astype(np.float32) for n, size in SIZES]
        self.answers = [self.layer.forward(x, INFER)[0] for x in self.xs]
        self.gradients = {i: gradients(self.layer, self.xs[i]) for i in (0, 2)}

    def ask(self, rng: random.Random, layer: Layer | None = None) -> None:
        i = rng.randrange(len(self.xs))
        y = (layer or self.layer).forward(self.xs[i], INFER)[0]
        assert np.array_equal(y, self.answers[i]), f"wrong answer for a batch of shape {self.xs[i].shape}"

    def train(self, rng: random.Random, layer: Layer | None = None) -> None:
        i = rng.choice(list(self.gradients))
        for name, grad in gradients(layer or self.layer, self.xs[i]).items():
            assert np.array_equal(grad, self.gradients[i][name]), f"wrong gradient of {name}"


def gradients(model: Layer, x: np.ndarray) -> dict[str, np.ndarray]:
    model.zero_grad()
    y, cache = model.forward(x, TRAIN.at_step(0))
    model.backward(np.cos(np.arange(y.size, dtype=y.dtype)).reshape(y.shape), cache, need_dx=False)
    return {name: p.grad.copy() for name, p in model.named_parameters().items()}


def at_once(
    rng: random.Random, works: list[Callable[[random.Random], None]], meanwhile: Callable = lambda: None
) -> None:
    """Every work again and again in a thread of its own."""
    errors: list[BaseException] = []

    def again(work: Callable[[random.Random], None], own: random.Random) -> None:
        try:
            for _ in range(PASSES):
                work(own)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=again, args=(work, random.Random(rng.random()))) for work in works]
    for thread in threads:
        thread.start()
    try:
        meanwhile()
    finally:
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


# -------------------------------------------------------------------- the rounds


def callers_of_one_model(models: list[Model], rng: random.Random) -> None:
    at_once(rng, [rng.choice(models).ask] * rng.choice((2, 3)))


def callers_of_several_models(models: list[Model], rng: random.Random) -> None:
    at_once(rng, [model.ask for model in models])


def training_beside_evaluation(models: list[Model], rng: random.Random) -> None:
    model = rng.choice(models)
    at_once(rng, [model.train, *[model.ask] * rng.choice((1, 2))])


def interrupts(models: list[Model], rng: random.Random) -> None:
    model, number = rng.choice(models), blas_threads()
    work, left = rng.choice((model.ask, model.train)), rng.choice((1, 2, 3))
    begun = time.perf_counter()
    work(rng)
    took = time.perf_counter() - begun

    def interrupt(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if left >= 0:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(1e-5, rng.random() * took), rng.uniform(5e-4, 0.01))
        work(rng)
    except KeyboardInterrupt:
        pass
    finally:
        left = 0
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not ONE_BLAS_THREAD._inside and blas_threads() == number, "BLAS has not got its threads back"
    work(rng)


def a_forked_child(models: list[Model], rng: random.Random) -> None:
    _child(get_context("fork"), models, rng)


def a_spawned_child(models: list[Model], rng: random.Random) -> None:
    _child(get_context("spawn"), models, rng)


def _child(context: object, models: list[Model], rng: random.Random) -> None:
    model, queue = rng.choice(models), context.Queue()
    process = context.Process(target=_answer, args=(model, rng.random(), queue), daemon=True)

    def wait() -> None:
        process.start()
        try:
            problem = queue.get(timeout=120)
        finally:
            process.kill()
        assert problem is None, f"in the child: {problem}"

    at_once(rng, [model.ask], wait)


def _answer(model: Model, seed: float, queue: object) -> None:
    try:
        for work in (model.ask, model.train, model.ask):
            work(random.Random(seed))
        queue.put(None)
    except BaseException as error:
        queue.put(repr(error))


def deep_copies(models: list[Model], rng: random.Random) -> None:
    model = rng.choice(models)
    layer = copy.deepcopy(model.layer)
    at_once(rng, [lambda r: model.train(r, layer), model.train, model.ask])


ROUNDS = {"spawn": a_spawned_child, "fork": a_forked_child, "copies": deep_copies, "interrupts": interrupts,
          "one model": callers_of_one_model, "several models": callers_of_several_models,
          "training beside evaluation": training_beside_evaluation}  # fmt: skip
OFTEN = [name for name in ROUNDS if name != "spawn"] + 4 * ["interrupts"]  # a new interpreter takes seconds


def rounds(seconds: float, rng: random.Random) -> Iterator[str]:
    """The names of the rounds: each once, then at random until the time is over."""
    end = time.monotonic() + seconds
    yield from ROUNDS
    while time.monotonic() < end:
        yield rng.choice(OFTEN)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="how long (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="of the rounds and sizes (default 0)")
    args = parser.parse_args(argv)
    rng, done = random.Random(args.seed), Counter()
    sets = [[Model("refined", threads), Model("convnet", threads)] for threads in (1, 2, 4)]
    for name in rounds(args.seconds, rng):
        models = rng.choice(sets)
        try:
            ROUNDS[name](models, rng)
        except Exception as error:
            print(f"{name}, {models[0].layer.runner.threads} engine threads: {error}", file=sys.stderr)
            return 1
        done[name] += 1
    print("all answers equal, to the bit: " + ", ".join(f"{name} {n}" for name, n in done.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
