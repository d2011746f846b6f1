"""From the reference kernel to the fused engine: each technique by itself, before and after, in the refined net.

    python -m benchmarks.ladder [--quick] [--json PATH] [--only RUNG [RUNG ...]] [--batch-size 64] [--threads N]
                                [--rounds 7] [--results FOLDER]

A rung is one technique. It is measured on one BLAS thread and one Python thread unless its name says otherwise, with
the batch or the tiles that the engine uses. Its two sides run alternately in one process; the report has medians over
rounds. `docs/fast-engine.md` explains each rung.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from statistics import median
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from threadpoolctl import threadpool_limits

import models
from benchmarks.cli import as_json, conditions, flags, results_folder, run, settings, write
from benchmarks.layers import CASES, Case
from benchmarks.machine import describe
from benchmarks.minidl_layers import Passes, layer_of
from benchmarks.minidl_step import MiniDL
from benchmarks.rounds import PAUSE
from minidl.engine import fuse
from minidl.engine.blocks import batchnorm
from minidl.engine.blocks.inception import InceptionBlock
from minidl.engine.blocks.maxpool import FusedMaxPool
from minidl.engine.chain import FusedSequential
from minidl.engine.convolutions.patches import PatchConv
from minidl.engine.convolutions.winograd import WinogradConv, turned
from minidl.engine.convolutions.winograd2d import Winograd2DConv
from minidl.engine.stem.parity import in_parts
from minidl.engine.tiles.recycler import Recycler, aligned
from minidl.engine.tiles.runner import Scratch, TileRunner
from minidl.errors import UsageError
from minidl.kernels import blocked, reference
from minidl.layers import INFER, Sequential

Array = np.ndarray
Side = Callable[[], Any]

SECONDS = 0.05  # a measurement takes about so long
TILE = (2, 30, 30, 56)  # two images after the 1x1s of module 1 that reduce
SIZES = {"us": 1e6, "ms": 1e3}  # of a second
RATES = {"G numbers/s": 1e9, "images/s": 1}


class Step(NamedTuple):
    """One technique on one geometry."""

    name: str
    before: Side
    after: Side
    unit: str
    work: int = 0  # numbers or images, for a unit that is a rate
    blas: int = 1  # BLAS threads


# ------------------------------------------------------------------ arrays


def normal(*shape: int) -> Array:
    x = aligned(shape, np.float32)
    x[...] = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    return x


def at_16_bytes(x: Array) -> Array:
    """A copy that starts 16 bytes after a cache line, as np.empty's large arrays do."""
    copy = aligned((x.size + 4,), x.dtype)[4:].reshape(x.shape)
    copy[...] = x
    return copy


# ------------------------------------------------------------ single operations


def reference_kernel(batch_size: int, threads: int) -> Iterator[Step]:
    x, w = normal(batch_size, 30, 30, 48), normal(3, 3, 48, 64)
    yield Step(
        "reference kernel -> blocked, 3x3 48->64 at 30x30",
        lambda: reference.conv2d(x, w, 1, 1),
        lambda: blocked.conv2d(x, w, 1, 1),
        "ms",
    )


def alignment(batch_size: int, threads: int) -> Iterator[Step]:
    a, b = normal(*TILE), normal(*TILE)
    a16, b16, out, out16 = at_16_bytes(a), at_16_bytes(b), normal(*a.shape), at_16_bytes(a)
    for name, f in (("product", np.multiply), ("sum", np.add)):
        yield Step(
            f"16 bytes after a cache line -> at one, {name}",
            lambda f=f: f(a16, b16, out=out16),
            lambda f=f: f(a, b, out=out),
            "G numbers/s",
            a.size,
        )


def long_rows(batch_size: int, threads: int) -> Iterator[Step]:
    z, out, scale = normal(*TILE), normal(*TILE), normal(TILE[-1])
    wide, wide_out, wide_scale = batchnorm.rows(z), batchnorm.rows(out), batchnorm.per_row(scale, z.shape[2])
    yield Step(
        "product with a vector over channels: rows of C = 56 -> of W C = 1,680",
        lambda: np.multiply(z, scale, out=out),
        lambda: np.multiply(wide, wide_scale, out=wide_out).reshape(TILE),
        "G numbers/s",
        z.size,
    )


def zeros(batch_size: int, threads: int) -> Iterator[Step]:
    x, y = batchnorm.rows(normal(*TILE)), batchnorm.rows(normal(*TILE))
    zero = batchnorm.per_row(np.zeros(TILE[-1], x.dtype), TILE[2])
    yield Step(
        "maximum with 0, in place -> with a vector of zeros",
        lambda: np.maximum(x, 0, out=x),
        lambda: np.maximum(y, zero, out=y),
        "G numbers/s",
        x.size,
    )


def mask(batch_size: int, threads: int) -> Iterator[Step]:
    d, out = normal(*TILE), normal(*TILE)
    positive = d[::-1] > 0
    yield Step(
        "np.where(mask, d, 0) -> d * mask",
        lambda: np.where(positive, d, np.float32(0)),
        lambda: np.multiply(d, positive, out=out),
        "G numbers/s",
        d.size,
    )


def sums(batch_size: int, threads: int) -> Iterator[Step]:
    x, d = batchnorm.rows(normal(*TILE)), batchnorm.rows(normal(*TILE))
    ones = np.ones(len(x), x.dtype)
    yield Step("x.sum(axis=0) -> ones @ x", lambda: x.sum(axis=0), lambda: ones @ x, "G numbers/s", x.size)
    yield Step(
        "(x * d).sum(axis=0) -> einsum",
        lambda: (x * d).sum(axis=0),
        lambda: np.einsum("rc,rc->c", x, d),
        "G numbers/s",
        x.size,
    )


def memory(batch_size: int, threads: int) -> Iterator[Step]:
    shape, recycler = (batch_size, 30, 30, 128), Recycler()

    def fill(empty: Callable[..., Array]) -> None:
        held = [empty(shape, np.float32) for _ in range(4)]  # one alone the C library would keep itself
        for array in held:
            array.fill(0)

    yield Step(
        f"fresh -> recycled memory, 4 arrays of {4e-6 * np.prod(shape):.0f} MB, made and filled",
        lambda: fill(np.empty),
        lambda: fill(recycler.empty),
        "ms",
    )


# -------------------------------------------------------------- convolutions

CONVOLUTIONS = ((3, 2, 30, 48, 64), (3, 4, 16, 96, 128), (5, 2, 30, 8, 16))  # kernel, images, height, C, F


def winograd(batch_size: int, threads: int) -> Iterator[Step]:
    for kernel, n, size, c, f in CONVOLUTIONS:
        where = f"{kernel}x{kernel} {c}->{f} at {size}x{size}"
        geometry, scratch = (kernel, n, size, size, np.dtype(np.float32)), Scratch()
        patches = PatchConv(kernel, 1, kernel // 2)
        columns, both = WinogradConv(*geometry), Winograd2DConv(*geometry)
        h, dz, w = normal(n, size, size, c), normal(n, size, size, f), normal(kernel, kernel, c, f)
        for names, pair in (("im2col -> 1-D Winograd", (patches, columns)), ("1-D -> 2-D", (columns, both))):
            for make, name in ((forward_of, "forward"), (backward_of, "backward")):
                yield Step(f"{names}, {where}, {name}", *(make(conv, h, dz, w, scratch) for conv in pair), "us")


def forward_of(conv: Any, h: Array, dz: Array, w: Array, scratch: Scratch) -> Side:
    filters, out = conv.filters(w), np.empty_like(dz)

    def forward() -> Array:
        conv.forward(h, filters, out, scratch)
        return out

    return forward


def backward_of(conv: Any, h: Array, dz: Array, w: Array, scratch: Scratch) -> Side:
    filters, dh = conv.filters(turned(w)), np.empty_like(h)
    dw = np.matmul(*conv.backward(dz, h, filters, dh, scratch))

    def backward() -> Array:
        np.matmul(*conv.backward(dz, h, filters, dh, scratch), out=dw)
        return dh

    return backward


def small_products(batch_size: int, threads: int) -> Iterator[Step]:
    patches, filters, out = normal(27, 4, 992), normal(27, 128), normal(992, 128)
    parts = in_parts(patches, 128)[:, 0].transpose(1, 2, 0)  # (parts, pixels, K)
    name = f"{parts.shape[1]}x27x128"
    yield Step(
        f"one product 992x27x128 -> {len(parts)} of {name}",
        lambda: np.matmul(patches[:, 0].T, filters, out=out),
        lambda: np.matmul(parts, filters, out=out.reshape(*parts.shape[:2], -1)).reshape(out.shape),
        "us",
    )


# ---------------------------------------------------------------- composites


def composite(batch_size: int, threads: int) -> Iterator[Step]:
    for case, what in (
        (Case(("inception1.b1",), (30, 30, 128), ""), "1x1 128->32"),
        (CASES["conv3x3"], "3x3 48->64 (and Winograd)"),
    ):
        plain = layer_of(case)
        yield Step(
            f"convolution, BN, ReLU one by one -> fused, {what} at 30x30",
            passes(plain, case, batch_size),
            passes(fuse(plain, threads=1), case, batch_size),
            "ms",
        )


def pool(batch_size: int, threads: int) -> Iterator[Step]:
    case, runner = CASES["inception1"], TileRunner(1)
    plain = layer_of(case)
    module, last = plain.layers.values()
    behind = FusedSequential({"module": InceptionBlock(module, runner), "pool": FusedMaxPool(last, runner)}, runner)
    sides = [passes(layer, case, batch_size) for layer in (plain, behind, fuse(plain, threads=1))]
    yield Step("plain -> fused module 1, 2x2 pool after it", *sides[:2], "ms")
    yield Step("pool after BN and ReLU -> in front of them", *sides[1:], "ms")


def stem(batch_size: int, threads: int) -> Iterator[Step]:
    case = CASES["stem"]
    plain = layer_of(case)
    sides = (passes(layer, case, batch_size) for layer in (plain, fuse(plain, threads=1)))
    yield Step("plain stem and 4x4 pool -> fused", *sides, "ms")


def passes(layer: Sequential, case: Case, batch_size: int) -> Side:
    """A forward and a backward pass in training mode."""
    both = Passes(layer, case, batch_size).both
    return lambda: both(0)


# ----------------------------------------------------------------- whole nets


def threading(batch_size: int, threads: int) -> Iterator[Step]:
    many = f"{threads} BLAS thread{'s' * (threads > 1)}"
    one, both = (training(batch_size, t, fused=True) for t in (1, threads))
    yield Step(
        f"{many}, 1 of Python -> 1, {threads}; training step",
        without_limit(one, "tiles.runner", "prepare"),
        both,
        "images/s",
        batch_size,
        threads,
    )
    yield Step(
        "BLAS limit around every run of tiles -> around a pass; training step",
        without_limit(both, "prepare"),
        both,
        "images/s",
        batch_size,
        threads,
    )


def whole_step(batch_size: int, threads: int) -> Iterator[Step]:
    plain, one, both = (training(batch_size, t, fused) for t, fused in ((threads, False), (1, True), (threads, True)))
    yield Step("training step: plain -> fused, 1 thread each", plain, one, "images/s", batch_size)
    yield Step(f"training step: fused, 1 -> {threads} threads", one, both, "images/s", batch_size)
    name = f"training step: plain -> fused, {threads} threads each"
    yield Step(name, plain, both, "images/s", batch_size, threads)


def inference(batch_size: int, threads: int) -> Iterator[Step]:
    contender = MiniDL(batch_size, threads, "refined", fused=True)
    (x, _), *_ = contender.batches
    yield Step(
        f"inference: layer by layer -> whole net by tiles, {threads} threads",
        lambda: Sequential.forward(contender.model, x, INFER)[0],
        lambda: contender.model.forward(x, INFER)[0],
        "images/s",
        batch_size,
    )
    anew, image = fuse(models.build("refined"), threads=threads), x[:1]
    yield Step(
        f"inference of one image: weights folded anew -> kept (prepared), {threads} threads",
        lambda: anew.forward(image, INFER)[0],
        lambda: contender.predictor.forward(image, INFER)[0],
        "images/s",
        1,
    )


def training(batch_size: int, threads: int, fused: bool) -> Side:
    contender, numbers = MiniDL(batch_size, threads, "refined", fused), count()
    return lambda: contender.train(next(numbers))


def without_limit(side: Side, *modules: str) -> Side:
    """The same, but these modules of the engine leave BLAS its threads."""
    no_limit = SimpleNamespace(during=lambda work: work())

    def free() -> None:
        with ExitStack() as stack:
            for module in modules:
                stack.enter_context(mock.patch(f"minidl.engine.{module}.ONE_BLAS_THREAD", no_limit))
            side()

    return free


# ------------------------------------------------------------------ the ladder

LADDER: dict[str, Callable[[int, int], Iterator[Step]]] = {
    "reference": reference_kernel,
    "alignment": alignment,
    "rows": long_rows,
    "zeros": zeros,
    "mask": mask,
    "sums": sums,
    "memory": memory,
    "winograd": winograd,
    "products": small_products,
    "composite": composite,
    "pool": pool,
    "stem": stem,
    "threads": threading,
    "step": whole_step,
    "inference": inference,
}


def measure(step: Step, rounds: int, seconds: float) -> dict[str, Any]:
    """What both sides did, in the step's unit, and how many times faster the second one is."""
    taken: dict[str, list[float]] = {"before": [], "after": []}
    with threadpool_limits(step.blas, user_api="blas"):
        sides = {"before": step.before, "after": step.after}
        calls = {name: max(1, round(seconds / _seconds(side, 1, warm=True))) for name, side in sides.items()}
        for _ in range(rounds):
            for name, side in sides.items():
                if step.blas > 1:
                    time.sleep(PAUSE)
                taken[name].append(_seconds(side, calls[name]))
    middle = {name: median(times) for name, times in taken.items()}
    figures = {name: in_unit(t, step.unit, step.work) for name, t in middle.items()}
    return {"step": step.name, **figures, "unit": step.unit, "ratio": middle["before"] / middle["after"]}


def _seconds(side: Side, calls: int, warm: bool = False) -> float:
    """The seconds of one call: the mean over `calls` calls."""
    if warm:
        side()
    start = time.perf_counter()
    for _ in range(calls):
        side()
    return (time.perf_counter() - start) / calls


def in_unit(seconds: float, unit: str, work: int) -> float:
    return seconds * SIZES[unit] if unit in SIZES else work / seconds / RATES[unit]


def climb(rungs: list[str], batch_size: int, threads: int, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """All steps of these rungs, in order."""
    rows = []
    for rung in rungs:
        for step in LADDER[rung](batch_size, threads):
            print(f"\r{step.name:110}", end="", file=sys.stderr, flush=True)
            rows.append({"rung": rung, **measure(step, rounds, seconds)})
    print(file=sys.stderr)
    return rows


def table(figures: dict[str, Any]) -> str:
    lines = ["| rung | before -> after | before | after | unit | ratio |", "|---|---|---:|---:|---|---:|"]
    last = None
    for row in figures["ladder"]:
        name = "" if row["rung"] == last else row["rung"]
        last = row["rung"]
        cells = [name, row["step"], _short(row["before"]), _short(row["after"]), row["unit"]]
        lines.append(f"| {' | '.join(cells)} | {row['ratio']:.2f} |")
    return "\n".join(lines)


def _short(number: float) -> str:
    """Three digits."""
    return f"{float(f'{number:.3g}'):g}"


def report(figures: dict[str, Any]) -> str:
    chosen = figures["settings"]
    head = (
        f"The refined net, float32; batch {chosen['batch_size']}, medians of {chosen['rounds']} rounds in which both "
        "sides take turns. The ratio says how many times faster the second side is."
    )
    return "\n".join([head, "", table(figures), "", conditions(figures)])


def main() -> None:
    parser = flags("benchmarks.ladder", __doc__, batch_size=(64, 8), rounds=(7, 1))
    parser.add_argument("--only", nargs="+", metavar="RUNG", help=f"these alone: {', '.join(LADDER)}")
    args = parser.parse_args()
    rungs = args.only or list(LADDER)
    for rung in rungs:
        if rung not in LADDER:
            raise UsageError(f"unknown rung {rung!r}: choose {', '.join(LADDER)}")
    chosen = settings(parser, args)
    seconds = 0.0 if args.quick else SECONDS
    rows = climb(rungs, *(chosen[name] for name in ("batch_size", "threads", "rounds")), seconds)
    figures = {"machine": describe(), "settings": chosen, "ladder": rows}
    print(report(figures))
    if args.json:
        write(args.json, as_json(figures))
    if folder := results_folder(args):
        write(folder / "ladder.md", f"# Ladder\n\nWritten by `python -m benchmarks.ladder`.\n\n{report(figures)}\n")


if __name__ == "__main__":
    run(main)
