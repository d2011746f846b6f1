"""The figures of `python -m benchmarks.parallel` in words and tables."""

from __future__ import annotations

from typing import Any

from benchmarks.cli import conditions, table
from benchmarks.cluster import ASSUMPTIONS, GLOBAL, PER_RANK, UNKNOWN, Link, strong, summing, weak

SHOWN = (2, 8, 64, 1024)  # ranks


def efficiencies(speeds: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Of two ranks, against one process of as many threads: weak with 32 images a rank, strong with 64 in all."""
    _, two, *_, whole, half = (of["img_s"] for of in speeds.values())
    return {"weak": two / (2 * half), "strong": two / (2 * whole)}


def speed_part(figures: dict[str, Any]) -> str:
    chosen, speeds, measured = figures["settings"], figures["speeds"], efficiencies(figures["speeds"])
    rows = [
        [name, f"{of['img_s']:.1f}", f"{of['ratio']:.3f}", f"{of['peak_rss_mb']:,} MB"] for name, of in speeds.items()
    ]
    return f"""\
## Training steps, measured

The refined net, 64x64 random images, float32, a batch of 64 over all ranks unless said otherwise; medians of
{chosen["rounds"]} alternating rounds of {chosen["steps"]} steps; the ratio is to the first setting in the same round.

{table(["setting", "images/s", "ratio", "peak RSS of all processes"], rows)}

Against one process with the threads of one rank, two ranks have an efficiency of {measured["strong"]:.2f} with 64
images in all (strong scaling), and of {measured["weak"]:.2f} with 32 images each (weak scaling). They share the
caches, the memory and the clock of one machine."""


def same_part(same: list[dict[str, Any]]) -> str:
    (one,) = [s["loss"] for s in same if s["mode"] == "default" and s["ranks"] == 1]
    exact, synced = ([s for s in same if s["mode"] == mode] for mode in ("exact", "sync-bn"))
    equal = "the same bits" if len({s["digest"] for s in exact}) == 1 else "DIFFERENT BITS"
    worst = max(abs(s["loss"] - one) for s in synced)
    agree = "all ranks of a setting have" if all(s["agree"] for s in same) else "NOT ALL RANKS of a setting have"
    return f"""\
## The same weights, measured

After three steps {agree} the same weights. With --exact the weights on {_ranks(exact)} ranks have {equal}. With
--sync-bn on {_ranks(synced)} ranks, the loss of the third step is that of one process ({one:.4f}) to {worst:.0e}."""


def _ranks(runs: list[dict[str, Any]]) -> str:
    return " and ".join(", ".join(str(run["ranks"]) for run in runs).rsplit(", ", 1))


def message_part(messages: dict[str, dict[str, dict[str, float]]], cores: int) -> str:
    columns = {f"{call}, {ranks} ranks": by for ranks, of in messages.items() for call, by in of.items()}
    sizes = next(iter(columns.values()))
    rows = [[f"{int(size):,}", *(f"{by[size] * 1e6:,.0f} us" for by in columns.values())] for size in sizes]
    crowded = [ranks for ranks in messages if int(ranks) > cores]
    note = f" {' and '.join(crowded)} ranks are more than the {cores} cores, and wait for time slices." * bool(
        crowded
    )
    return f"""\
## Sums and gatherings over ranks, measured

The time of one call of the communicator for arrays of float32, through the memory of this machine. Bytes are those of
the result.{note}

{table(["bytes", *columns], rows)}"""


def prediction_part(figures: dict[str, Any]) -> str:
    links = [Link(**link) for link in figures["links"]]
    sums, scaling = [], []
    for name, times in figures["computing"].items():
        seconds, size = {int(n): s for n, s in times.items()}, figures["bytes"][name]
        for link in links:
            ranks = [r if r <= link.most else None for r in SHOWN]
            head = [name, link.name]
            sums.append(head + [f"{summing(size, r, link) * 1e3:.2f} ms" if r else "" for r in ranks])
            cells = [f"{how(seconds, size, r, link):.2f}" if r else "" for how in (weak, strong) for r in ranks]
            scaling.append(head + cells)
    steps = "; ".join(
        f"{name} {', '.join(f'{n}: {1e3 * s:,.0f} ms' for n, s in times.items())}"
        for name, times in figures["computing"].items()
    )
    about = [[link.name, f"{link.latency * 1e6:.1f} us", f"{link.bandwidth / 1e9:.1f} GB/s"] for link in links]
    kinds = [f"{what}, {r:,}" for what in ("weak", "strong") for r in SHOWN]
    return f"""\
## Many machines, predicted

**This is a prediction. Nothing of it was run.** A step is what a rank computes for its images, and then the sum of
the gradients: latency x rounds + bytes / bandwidth. `benchmarks/cluster.py` has the formulas, and the sources of the
figures that are not of this machine.

{table(["link", "latency", "bandwidth in each direction"], about)}

A rank's step by its number of images, measured here: {steps}.

The time of one sum, by the number of ranks:

{table(["network", "link", *(f"{r:,}" for r in SHOWN)], sums)}

Efficiency: weak with {PER_RANK} images a rank, strong with {GLOBAL:,} in all. It can exceed 1 where a step of fewer
images takes less time for each.

{table(["network", "link", *kinds], scaling)}

What it assumes:

{ASSUMPTIONS}

What it can't know:

{UNKNOWN}"""


def report(figures: dict[str, Any]) -> str:
    """Of all parts that have been measured so far."""
    parts = [speed_part(figures), same_part(figures["same"])]
    if "messages" in figures:
        parts.append(message_part(figures["messages"], figures["machine"]["cores"]))
    if "links" in figures:
        parts.append(prediction_part(figures))
    return "\n\n".join([*parts, conditions(figures)])
