"""What bounds a training step on a GPU: arithmetic, memory and launches, computed without one.

    python -m benchmarks.gpu_floor [--results FOLDER]

Launches and bytes are counted on the tests' stand-in for CuPy, the traffic of each kernel load by load on the CPU
(needs the test extra and g++); the GPUs are numbers from their data sheets. Nothing here is measured on a GPU.
"""

from __future__ import annotations

import argparse
from collections import Counter
from functools import reduce
from operator import add
from pathlib import Path
from textwrap import fill
from typing import NamedTuple

import models
from benchmarks.cli import RESULTS, run, table, write
from benchmarks.settings import CLASSES, DROPOUT, SIDES
from minidl.diagnostics.summary import summary
from minidl.kernels import launch
from minidl.layers import Conv2D, Layer
from tests.cuda.launches import KERNEL, Work, training_step
from tests.cuda.traffic import Traffic, counted, refined_layers

NETWORKS = ("refined", "baseline")
BATCH_SIZES = (128, 256)
LAUNCH_SECONDS = (3e-6, 5e-6)  # assumed
SIDE = SIDES["refined"]


class GPU(NamedTuple):
    """Peak rates, as NVIDIA states them (for the H100's TF32 with sparsity, which is twice as much)."""

    fp32: float  # floating-point operations a second, outside of the tensor cores
    tf32: float  # in them, dense
    bandwidth: float  # bytes a second


GPUS = {"H100 SXM": GPU(66.9e12, 494.7e12, 3.35e12), "RTX 4060": GPU(15.11e12, 15.11e12, 272e9)}


class Step(NamedTuple):
    """One training step of a network."""

    network: str
    batch_size: int
    flops: int
    parts: dict[str, Work]

    @property
    def whole(self) -> Work:
        return reduce(add, self.parts.values())


class Floor(NamedTuple):
    """Seconds of one step that each resource alone would take."""

    arithmetic: float
    memory: float
    launches: float

    @property
    def largest(self) -> str:
        return max(self._fields, key=lambda name: getattr(self, name))


def step(network: str, batch_size: int, side: int = SIDE) -> Step:
    model = models.build(network, CLASSES, dropout=DROPOUT)
    images = (batch_size, side, side, 3)
    return Step(network, batch_size, flops(model, images), training_step(model, images))


def flops(model: Layer, images: tuple[int, ...]) -> int:
    """The operations of a training step's matrix products: y, dw and dx cost the same; the first layer has no dx."""
    rows = summary(model, images).rows
    first = next(name for name, layer in model.named_layers().items() if isinstance(layer, Conv2D))
    unneeded = next(row.multiply_adds for row in rows if row.path == first)
    return 2 * images[0] * (3 * rows[0].multiply_adds - unneeded)


def floor(of: Step, rate: float, bandwidth: float, launch_seconds: float) -> Floor:
    work = of.whole
    return Floor(of.flops / rate, work.bytes.total() / bandwidth, work.launches.total() * launch_seconds)


def kind(name: str) -> str:
    if name.startswith(KERNEL):
        return "minidl's kernels"
    return "matrix products (cuBLAS)" if name == "matmul" else "CuPy's own"


# --------------------------------------------------------------------- tables


def launch_table(of: Step) -> str:
    by_part = {name: Counter[str]() for name in of.parts}
    for part, work in of.parts.items():
        for name, n in work.launches.items():
            by_part[part][kind(name)] += n
    kinds = sorted({k for by_kind in by_part.values() for k in by_kind}, reverse=True)
    rows = [[part, *(by_kind[k] for k in kinds), by_kind.total()] for part, by_kind in by_part.items()]
    rows.append(["all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])])
    return table(["part of the step", *kinds, "all"], rows)


def traffic_table(of: Step, seen: list[Traffic]) -> str:
    """Each kernel's worst layer, and what it does in a step."""
    rows = []
    for name in sorted({t.kernel for t in seen}):
        launches, size = (counter[KERNEL + name] for counter in (of.whole.launches, of.whole.bytes))
        excess, waste = (max(getattr(t, what) for t in seen if t.kernel == name) for what in ("excess", "waste"))
        rows.append([f"`{name}`", launches, f"{size / 1e6:,.1f}", f"{excess:.2f}", f"{waste:.2f}"])
    return table(["kernel", "launches", "MB it must move", "moved / must, worst", "fetched / used, worst"], rows)


def floor_table(steps: list[Step]) -> str:
    rows = []
    for gpu, rates in GPUS.items():
        for of in steps:
            for precision in ("fp32", "tf32"):
                low, high = (floor(of, getattr(rates, precision), rates.bandwidth, s) for s in LAUNCH_SECONDS)
                seconds = getattr(low, low.largest)
                cells = [gpu, of.network, of.batch_size, precision.upper(), _ms(low.arithmetic), _ms(low.memory)]
                cells += [f"{_ms(low.launches)} to {_ms(high.launches)}", low.largest]
                rows.append([*cells, f"{of.batch_size / seconds:,.0f}"])
    head = ["GPU", "network", "batch", "products in", "arithmetic, ms", "memory, ms", "launches, ms"]
    return table([*head, "largest", "images/s at most"], rows)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.2f}"


# ----------------------------------------------------------------------- page

PAGE = """\
# What bounds a training step on a GPU

Written by `python -m benchmarks.gpu_floor`. **Computed, not measured on a GPU**: launches and bytes are counted on
the tests' stand-in for CuPy, the traffic of the kernels load by load on a CPU, and the rates are those of data
sheets.

## Launches

One training step of the refined net ({side}x{side} images, dropout, label smoothing, Adam) at batch {batch}. CuPy's
own are element-wise operations, sums and copies, each taken as one launch; CuPy may make more of some.

{launches}

As single operations of CuPy the loss would be 20 launches, the running statistics of a batch normalization 14, and
Adam 13 a parameter: about 1,900 in all. So these have kernels. Dropout has none: its mask is drawn on the host, for
both backends to see the same numbers, and applying it is one product forward and one back. Of what is left, {small}
launches are small: each parameter's gradient is set to zero, added to and used on its own.

## Memory

The kernels in that step, and how far the worst of {layers} typical layers is from what each must move: every array
once in and once out. *Moved* counts a load once for all blocks that run at a time (144); *fetched / used* is what a
warp fetches in sectors of 32 bytes over what it uses of them. `tests/cuda/test_traffic.py` keeps both within 1.25
and 1.9; the largest are due to the stem's patches of 27 numbers, no whole number of sectors, and to reads of single
bytes.

{traffic}

## Floors

*Arithmetic* is that of the matrix products, {flops}, at the GPU's peak: {rates}. *Memory* is the arrays of all
launches, each once in and once out, {bytes}, at the peak bandwidth: {bandwidths}. It would be less where the
second-level cache keeps an array for the next launch. *Launches* are taken at {low:.0f} to {high:.0f} microseconds
each, which is assumed; the Python time of CuPy's calls comes on top and may well be more. At best the three
overlap, so the largest is the floor; no real step reaches the peaks.

{floors}
"""


def page(steps: list[Step], seen: list[tuple[str, list[Traffic]]]) -> str:
    first = steps[0]
    text = PAGE.format(
        side=SIDE,
        batch=first.batch_size,
        launches=launch_table(first),
        small=3 * first.parts["Adam"].launches.total(),
        layers=len(seen),
        traffic=traffic_table(first, [t for _, launches in seen for t in launches]),
        flops=f"{first.flops / 1e9:,.0f} GFLOP for {first.network} at batch {first.batch_size}",
        bytes=f"{first.whole.bytes.total() / 1e9:.1f} GB there ({memory_by_kind(first)})",
        rates=", ".join(
            f"{name} {gpu.fp32 / 1e12:.1f} TFLOP/s, in TF32 {gpu.tf32 / 1e12:.1f}" for name, gpu in GPUS.items()
        ),
        bandwidths=", ".join(f"{name} {gpu.bandwidth / 1e9:,.0f} GB/s" for name, gpu in GPUS.items()),
        low=1e6 * LAUNCH_SECONDS[0],
        high=1e6 * LAUNCH_SECONDS[1],
        floors=floor_table(steps),
    )
    parts = text.rstrip().split("\n\n")
    return "\n\n".join(part if part[0] in "#|" else fill(" ".join(part.split()), 118) for part in parts) + "\n"


def memory_by_kind(of: Step) -> str:
    by_kind: Counter[str] = Counter()
    for name, size in of.whole.bytes.items():
        by_kind[kind(name)] += size
    return ", ".join(f"{name} {size / 1e9:.1f}" for name, size in by_kind.most_common())


def traffic() -> list[tuple[str, list[Traffic]]]:
    """The launches of typical layers."""
    seen = []
    for layer, call in refined_layers():
        with counted(launch.source("float")) as launches:
            call()
        seen.append((layer, launches))
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_floor", description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, metavar="FOLDER", default=RESULTS, help="where gpu_floor.md goes")
    args = parser.parse_args()
    text = page([step(network, n) for network in NETWORKS for n in BATCH_SIZES], traffic())
    print(text, end="")
    args.results.mkdir(parents=True, exist_ok=True)
    write(args.results / "gpu_floor.md", text)


if __name__ == "__main__":
    run(main)
