"""Speed of whole nets by batch size: minidl against other frameworks, as a table and a picture.

    python -m benchmarks.batches [--quick] [--json PATH] [--batch-sizes 1 2 4 8 16 32 64 128 256]
                                 [--only NAME [NAME ...]] [--threads N] [--rounds 5] [--images 64]
                                 [--results FOLDER]

The refined net, and the contenders and steps of `python -m benchmarks`. A measurement takes about as many images at
every batch size (at least one batch). A full run takes about 20 minutes on two cores; figures are written after every
batch size. To save time, contenders that compile take part at batch sizes 1, 8 and 64 only, a contender that has
taken some seconds at a batch size takes part in no further round there, and one whose step has taken long takes part
at no larger batch size. --only NAME ... has these contenders at all batch sizes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.chart import save_curves
from benchmarks.cli import as_json, conditions, flags, results_folder, run, settings, table, write
from benchmarks.compare import OURS, SPEEDS, best_other, compare, least_of_torch, times
from benchmarks.contenders import CONTENDERS, choose
from benchmarks.machine import describe
from benchmarks.report import WORDS
from minidl.text.progress import Progress

NETWORK = "refined"
BATCH_SIZES, QUICK_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256), (1, 8, 64)
COMPILED = (1, 8, 64)
BUDGET = 6.0  # seconds of a contender at one batch size, in training and in inference
LONG = 3.0  # seconds of a training step


def sweep(
    names: list[str], batch_sizes: list[int], everywhere: bool, threads: int, rounds: int, images: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(batch size, figures), from the smallest. `everywhere`: the contenders that compile take part at all sizes."""
    slow: set[str] = set()
    with Progress("batch sizes", sum(2 * rounds * max(images, size) for size in batch_sizes), "image") as progress:
        for batch_size in sorted(batch_sizes):
            steps = max(1, images // batch_size)
            out = {name for name in names if CONTENDERS[NETWORK][name].compiles}
            out = slow if everywhere or batch_size in COMPILED else slow | out
            taking_part = [name for name in names if name not in out]
            if not taking_part:
                break
            tell = partial(progress.add, batch_size * steps)
            figures = compare(NETWORK, taking_part, batch_size, threads, rounds, steps, BUDGET, tell)
            slow |= {n for n, speed in figures["train_img_s"].items() if batch_size / speed > LONG and n != OURS}
            yield batch_size, figures


# ---------------------------------------------------------------------- report


def speed_table(by_batch: dict[int, dict[str, Any]], what: str) -> str:
    """Images per second, a row for each batch size, with minidl's ratios to the best others, and of memory."""
    names = list(dict.fromkeys(name for figures in by_batch.values() for name in figures[SPEEDS[what]]))
    memory = what == "train"
    ratio_names = ["minidl / best other fp32", "minidl / bf16", *["peak RSS / least of torch"] * memory]
    rows = []
    for batch_size, figures in by_batch.items():
        speeds = figures[SPEEDS[what]]
        ratios = [times(speeds, best_other(speeds, bf16)) for bf16 in (False, True)]
        ratios += [memory_ratio(figures["peak_rss_mb"])] * memory
        cells = [f"{speeds[name]:.0f}" if name in speeds else "" for name in names]
        rows.append([batch_size, *cells, *("" if ratio is None else f"{ratio:.2f}" for ratio in ratios)])
    return table(["batch size", *names, *ratio_names], rows)


def memory_ratio(peaks: dict[str, int]) -> float | None:
    least = least_of_torch(peaks)
    return peaks[OURS] / least if least and OURS in peaks else None


def report(figures: dict[str, Any]) -> str:
    chosen = figures["settings"]
    head = (
        f"The refined net, 64x64 images, float32 unless named bf16; {chosen['threads']} threads each, medians of "
        f"{chosen['rounds']} alternating rounds of {chosen['images']} images (at least one batch), of fewer for slow "
        "contenders. Images per second."
    )
    by_batch = {int(size): of for size, of in figures["batches"].items()}
    parts = [f"## {WORDS[what].capitalize()}\n\n{speed_table(by_batch, what)}\n" for what in SPEEDS]
    return "\n".join([head, "", *parts, conditions(figures)])


def save(figures: dict[str, Any], json: Path | None, folder: Path | None) -> None:
    if json:
        write(json, as_json(figures))
    if folder:
        write(folder / "batches.json", as_json(figures))
        head = (
            "# Speed by batch size\n\nWritten by `python -m benchmarks.batches`; every round is in "
            "`batches.json`.\n\n![Images per second over the batch size](batches.png)\n\n"
        )
        save_curves(folder / "batches.png", figures)
        write(folder / "batches.md", f"{head}{report(figures)}\n")


def main() -> None:
    parser = flags("benchmarks.batches", __doc__, rounds=(5, 1), images=(64, 16))
    sizes = " ".join(map(str, BATCH_SIZES))
    quick = " ".join(map(str, QUICK_BATCH_SIZES))
    about = f"default {sizes}, {quick} with --quick"
    parser.add_argument("--batch-sizes", type=int, nargs="+", metavar="N", help=about)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these contenders alone, at all batch sizes")
    args = parser.parse_args()
    batch_sizes = args.batch_sizes or list(QUICK_BATCH_SIZES if args.quick else BATCH_SIZES)
    if min(batch_sizes) < 1:
        parser.error("batch sizes must be at least 1")
    names, chosen, folder = choose(NETWORK, args.only, args.quick), settings(parser, args), results_folder(args)
    names = [name for name in names if name != "minidl_plain" or args.only]
    figures: dict[str, Any] = {"machine": describe(), "settings": chosen, "batches": {}}
    sizes = (chosen[name] for name in ("threads", "rounds", "images"))
    for batch_size, of in sweep(names, batch_sizes, bool(args.only), *sizes):
        figures["batches"][str(batch_size)] = of
        save(figures, args.json, folder)
    print(report(figures))


if __name__ == "__main__":
    run(main)
