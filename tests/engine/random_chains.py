"""Random networks on the fused engine and on plain layers: the same numbers in float64, the same bits on any threads.

    python -m tests.engine.random_chains [--minutes 1] [--seed 0] [--only SEED]

Each case is a network of convolutions, residual blocks, branches, pools and activations (`chains.py`), with random
parameters, and images of one of `IMAGES`. Everything that comes out is compared: the output, its gradients and the
running statistics of a training step, inference, and a projection. A failure is printed, made as short as it still
fails; the exit code is then 1. `--only SEED` runs one case again.

Where a rounding error decides, both answers are right: a ReLU at 0, two pixels of a pool that are equal but for
rounding, a variance that is next to zero. So the plain layers of a case that fails are asked again, with every sum
rounded differently. If they then differ from themselves as much, the case says nothing; these are counted.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from contextlib import ExitStack
from typing import NamedTuple
from unittest.mock import patch

import numpy as np

from minidl.engine import fuse, prepare
from minidl.engine.blocks.fused import Fused
from minidl.engine.projection import project_pairs
from minidl.engine.tiles.scratch import Scratch
from minidl.layers import INFER, PROBE, AvgPool2D, BatchNorm2D, Conv2D, Layer, Linear, Rule
from tests.engine.chains import Row, fits, network, random_rows, random_shape
from tests.engine.test_fused import RULES, fused_on_nan, not_a_number, step, tiles_of
from tests.strategies import LAYOUTS, arranged, randomized

TOLERANCE = 1e-12  # of the largest number
EPSILON = 2e-16  # a rounding error
THREADS = (1, 2, 3)
IMAGES = ("normal", "normal", "normal", "normal", "whole numbers", "constant", "zero", "far from zero")
GAMMAS = ("any", "any", "any", "any", "some zero", "all zero", "negative")  # of the last BN; of the others any

Results = dict[str, np.ndarray]


class Case(NamedTuple):
    rows: tuple[Row, ...]
    shape: tuple[int, int, int, int]
    classes: int  # of a linear layer at the end, or 0
    images: str
    gamma: str
    layouts: tuple[str, str]  # of x and dy
    need_dx: bool
    tile: int  # numbers in a tile
    rule: Rule
    seed: int


def random_case(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    shape = random_shape(rng)
    rows = random_rows(rng, shape)
    pick = lambda options: options[rng.integers(len(options))]  # noqa: E731
    layouts = (pick(LAYOUTS), pick(LAYOUTS)) if rng.random() < 0.3 else ("C", "C")
    classes, need_dx, tile = pick((0, 0, 4)), pick((True, False)), pick((1, 1000, 1 << 18))
    return Case(rows, shape, classes, pick(IMAGES), pick(GAMMAS), layouts, need_dx, tile, pick(RULES), seed)


class Inputs(NamedTuple):
    x: np.ndarray
    dy: np.ndarray
    image: np.ndarray  # of each pair to project
    signals: np.ndarray


def prepared(case: Case) -> tuple[Layer, Inputs]:
    """The plain network with its numbers, and what goes into it."""
    rng = np.random.default_rng(case.seed)
    model = randomized(network(case.rows, case.shape[3], case.classes), rng)
    x = rng.normal(size=case.shape)
    if case.images == "whole numbers":
        x = rng.integers(-1, 2, case.shape).astype(float)
    elif case.images in ("constant", "zero"):
        x = np.full(case.shape, 2.0 if case.images == "constant" else 0.0)
    elif case.images == "far from zero":
        x += 30
    if case.images in ("whole numbers", "constant"):  # then the first convolution is exact, and pixels tie
        for p in [p for p in model.named_parameters().values() if p.value.ndim == 4][:1]:
            p.value[...] = rng.integers(-1, 2, p.value.shape)
    for norm in [leaf for leaf in model.leaves() if isinstance(leaf, BatchNorm2D)][-1:]:
        gamma = norm.params["gamma"].value
        if case.gamma == "some zero":
            gamma[::2] = 0
        elif case.gamma == "all zero":  # as a residual network may begin
            gamma[...] = 0
        elif case.gamma == "negative":
            gamma[...] = -np.abs(gamma)
    out = model.out_shape(case.shape)
    image, signals = np.sort(rng.integers(0, len(x), 5)), rng.normal(size=(5, *out[1:]))
    dy = arranged(rng.normal(size=out), case.layouts[1])
    inputs = Inputs(arranged(x, case.layouts[0]), dy, image, signals)
    for a in inputs:
        a.flags.writeable = False
    return model, inputs


# ------------------------------------------------------------------ what comes out


def trained(model: Layer, inputs: Inputs, need_dx: bool) -> Results:
    y, dx, grads, buffers = step(model, inputs.x, inputs.dy, need_dx)
    found = {"y": y} | ({"dx": dx} if need_dx else {})
    found |= {f"gradient of {name}": g for name, g in grads.items()}
    return found | buffers | {"y of inference": model.forward(inputs.x, INFER)[0]}


def of_plain(model: Layer, inputs: Inputs, case: Case) -> Results:
    found = trained(model, inputs, case.need_dx)
    a, cache = model.forward(inputs.x[inputs.image], PROBE)
    found["projection"] = model.project(inputs.signals + a, cache, case.rule)
    return found | {"y of prepared inference": found["y of inference"]}


def of_fused(model: Layer, inputs: Inputs, case: Case, threads: int) -> Results:
    fused = fused_on_nan(model, threads)
    found = trained(fused, inputs, case.need_dx)
    found["projection"] = project_pairs(fused, inputs.x, inputs.image, lambda a, p: a + inputs.signals[p], case.rule)
    return found | {"y of prepared inference": prepare(fused).forward(inputs.x, INFER)[0]}


def rubbish_in_scratch_memory() -> patch:
    """`with rubbish_in_scratch_memory():` what a task reads before it writes it shows."""
    ask = Scratch.__call__

    def on_rubbish(scratch, name, shape, dtype):
        array = ask(scratch, name, shape, dtype)
        array[...] = not_a_number(None, shape, dtype)
        return array

    return patch.object(Scratch, "__call__", on_rubbish)


# --------------------------------------------------------------------- comparison


def sizes(results: Results) -> dict[str, float]:
    """What errors are measured by: the largest number; of all gradients together, because some cancel to zero."""
    largest = {name: np.abs(a).max(initial=0) for name, a in results.items()}
    together = max((size for name, size in largest.items() if name.startswith("gradient")), default=0)
    return {name: together if name.startswith("gradient") else size for name, size in largest.items()}


def errors(got: Results, want: Results) -> dict[str, float]:
    """By name, how far `got` is from `want`, as a share of the largest number; inf where one is not finite."""
    found, size = {}, sizes(want)
    for name, a in want.items():
        assert got[name].shape == a.shape and got[name].dtype == a.dtype, name
        error = np.abs(got[name] - a).max(initial=0)
        found[name] = 0.0 if error == 0 else np.nan_to_num(error / max(size[name], 1e-300), nan=np.inf)
    return found


def is_exact(x: np.ndarray, w: np.ndarray) -> bool:
    """Whether both are whole numbers, and are summed without fractions: Winograd's trick takes 8 channels or more."""
    return x.shape[-1] < 8 and all((a == np.round(a)).all() for a in (x, w))


def rounded_differently(model: Layer, inputs: Inputs, case: Case, seed: int) -> Results:
    """The plain results with one rounding error more in every sum that isn't exact."""
    rng = np.random.default_rng(seed)

    def errors_of(size: float | np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        return EPSILON * size * rng.normal(size=shape)

    def of_sums(leaf: Layer) -> dict:
        forward = leaf.forward

        def jittered(x, ctx):
            y, cache = forward(x, ctx)
            if ctx.training and isinstance(leaf, Conv2D) and is_exact(x, leaf.params["weight"].value):
                return y, cache  # not so in the other modes, because BN's factor is in the fused engine's filters
            return y + errors_of(np.abs(y).max(initial=0), y.shape), cache

        return {"forward": jittered}

    def of_norm(leaf: BatchNorm2D) -> dict:
        forward, backward = leaf.forward, leaf.backward

        def jittered(x, ctx):  # by channel: equal pixels stay equal
            y, cache = forward(x, ctx)
            std = np.sqrt(x.reshape(-1, x.shape[-1]).var(axis=0) + leaf.eps)
            size = np.abs(y).max() + np.abs(x).max() * np.abs(leaf.params["gamma"].value) / std
            return y + errors_of(size, y.shape[-1:]), cache

        def jittered_back(dy, cache, need_dx=True):
            dx = backward(dy, cache, need_dx)
            size = np.abs(dy).max() * np.abs(leaf.params["gamma"].value) * cache.inv_std
            return dx if dx is None else dx + errors_of(size, dx.shape)

        return {"forward": jittered, "backward": jittered_back}

    with ExitStack() as stack:
        for leaf in {id(leaf): leaf for leaf in model.leaves()}.values():
            if isinstance(leaf, Conv2D | BatchNorm2D | AvgPool2D | Linear):
                changed = of_norm(leaf) if isinstance(leaf, BatchNorm2D) else of_sums(leaf)
                stack.enter_context(patch.multiple(leaf, **changed))
        return of_plain(model, inputs, case)


class Outcome(NamedTuple):
    kind: str  # "equal", "rounding decides" or "different"
    wrong: dict[str, str]  # what is not equal, and how far off
    worst: float  # error, if all is equal
    composites: Counter  # how often each class of composite took part


def outcome(case: Case) -> Outcome:
    """Compares both engines."""
    model, inputs = prepared(case)
    want, composites = of_plain(model, inputs, case), composites_of(fuse(model))
    with tiles_of(case.tile):
        with rubbish_in_scratch_memory():
            got = of_fused(model, inputs, case, THREADS[0])
        for threads in THREADS[1:]:
            for name, a in of_fused(model, inputs, case, threads).items():
                if not np.array_equal(a, got[name], equal_nan=True):
                    return Outcome("different", {name: f"other bits on {threads} threads"}, 0, composites)
    far = errors(got, want)
    wrong = {name: error for name, error in far.items() if error > TOLERANCE}
    if not wrong:
        return Outcome("equal", {}, max(far.values()), composites)
    moved = Counter()
    for seed in range(3):
        for name, error in errors(rounded_differently(model, inputs, case, seed), want).items():
            moved[name] = max(moved[name], error)
    excused = all(moved[name] > 1e-9 or error < 100 * moved[name] for name, error in wrong.items())
    wrong = {name: f"off by {error:.1e}" for name, error in wrong.items()}
    return Outcome("rounding decides" if excused else "different", wrong, 0, composites)


def composites_of(fused: Layer) -> Counter:
    return Counter(type(layer).__name__ for _, layer in fused.places() if isinstance(layer, Fused))


# ---------------------------------------------------------------- a long random run


def tried(case: Case) -> Outcome:
    """`outcome`, also where one of the engines raises an error."""
    try:
        return outcome(case)
    except Exception as error:
        return Outcome("different", {type(error).__name__: str(error)}, 0, Counter())


def shortest(case: Case) -> Case:
    """The case with as few rows and images as it takes to fail."""
    for i in range(len(case.rows)):
        shorter = case._replace(rows=case.rows[:i] + case.rows[i + 1 :])
        if shorter.rows and fits(shorter.rows, case.shape) and tried(shorter).kind == "different":
            return shortest(shorter)
    for n in range(1, case.shape[0]):
        smaller = case._replace(shape=(n, *case.shape[1:]))
        if fits(case.rows, smaller.shape) and tried(smaller).kind == "different":
            return smaller
    return case


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1, help="how long (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first case (default %(default)s)")
    parser.add_argument("--only", type=int, metavar="SEED", help="run this case, and no other")
    args = parser.parse_args(argv)
    seed, end = args.seed if args.only is None else args.only, time.monotonic() + 60 * args.minutes
    kinds, composites, worst = Counter(), Counter(), 0.0
    while True:
        case = random_case(seed)
        found = tried(case)
        if found.kind == "different":
            short = shortest(case)
            print(f"seed {seed}: {found.wrong}\nshortest: {short}\n{tried(short).wrong}", file=sys.stderr)
            return 1
        kinds[found.kind] += 1
        composites += found.composites
        worst, seed = max(worst, found.worst), seed + 1
        if args.only is not None or time.monotonic() > end:
            break
    print(f"{kinds.total()} networks: " + ", ".join(f"{kind} {n}" for kind, n in kinds.most_common()))
    print(f"largest error {worst:.1e}; composites: " + ", ".join(f"{k} {n}" for k, n in composites.most_common()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
